package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ca is a CA that speaks ACME, RFC 8555, as far as one name per order and the
// challenge TLS-ALPN-01, RFC 8737, go. Every name is at the address server.
type ca struct {
	*httptest.Server
	server string // where names are
	key    *ecdsa.PrivateKey
	root   *x509.Certificate

	mu       sync.Mutex
	refuses  bool          // orders
	lifetime time.Duration // of certificates
	nonces   map[string]bool
	accounts map[string]*jose.JSONWebKey // by URL
	contacts []string
	orders   []*order
}

// order is one, with its authorization, challenge and certificate, all of which
// have its number in their URLs.
type order struct {
	name, token, status string
	chain               []byte
}

// newCA starts one for a server at an address.
func newCA(t *testing.T, server string) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA for tests"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	c := &ca{server: server, key: key, root: root, lifetime: time.Hour, nonces: map[string]bool{}, accounts: map[string]*jose.JSONWebKey{}}
	mux := http.NewServeMux()
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	mux.HandleFunc("GET /dir", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{
			"newNonce": c.URL + "/nonce", "newAccount": c.URL + "/account", "newOrder": c.URL + "/order",
			"meta": map[string]any{"termsOfService": c.URL + "/terms"},
		})
	})
	mux.HandleFunc("HEAD /nonce", func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.nonce(w)
	})
	for pattern, fn := range map[string]func(http.ResponseWriter, *http.Request, *signed) error{
		"POST /account":         c.newAccount,
		"POST /order":           c.newOrder,
		"POST /order/{n}":       c.showOrder,
		"POST /authz/{n}":       c.authorization,
		"POST /challenge/{n}":   c.challenge,
		"POST /finalize/{n}":    c.finalize,
		"POST /certificate/{n}": c.certificate,
	} {
		mux.HandleFunc(pattern, c.signed(fn))
	}
	return c
}

// count returns how many orders there were.
func (c *ca) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.orders)
}

// nonce gives one that is good for one request.
func (c *ca) nonce(w http.ResponseWriter) {
	n := rand.Text()
	c.nonces[n] = true
	w.Header().Set("Replay-Nonce", n)
}

// signed is what a request says, and whose key says it.
type signed struct {
	payload []byte
	account *jose.JSONWebKey
}

// problem is an error with a type, and a status.
type problem struct {
	status      int
	typ, detail string
}

func (p problem) Error() string { return p.detail }

// signed makes a handler of requests that are signed as RFC 8555 wants them.
func (c *ca) signed(fn func(http.ResponseWriter, *http.Request, *signed) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.nonce(w)
		s, err := c.verify(r)
		if err == nil {
			err = fn(w, r, s)
		}
		if err != nil {
			p := problem{http.StatusBadRequest, "malformed", err.Error()}
			errors.As(err, &p)
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(p.status)
			json.NewEncoder(w).Encode(map[string]any{"type": "urn:ietf:params:acme:error:" + p.typ, "detail": p.detail, "status": p.status})
		}
	}
}

// verify checks a request's signature, nonce, and URL.
func (c *ca) verify(r *http.Request) (*signed, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	sig, err := jose.ParseSignedJSON(string(body), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, err
	}
	h := sig.Signatures[0].Protected
	if !c.nonces[h.Nonce] {
		return nil, problem{http.StatusBadRequest, "badNonce", "the nonce isn't one"}
	}
	delete(c.nonces, h.Nonce)
	if h.ExtraHeaders["url"] != c.URL+r.URL.Path {
		return nil, fmt.Errorf("signed for %v", h.ExtraHeaders["url"])
	}
	s := &signed{account: c.accounts[h.KeyID]}
	if r.URL.Path == "/account" {
		s.account = h.JSONWebKey
	}
	if s.account == nil {
		return nil, problem{http.StatusBadRequest, "accountDoesNotExist", "no such account"}
	}
	s.payload, err = sig.Verify(s.account)
	return s, err
}

func (c *ca) newAccount(w http.ResponseWriter, _ *http.Request, s *signed) error {
	var req struct {
		Contact              []string
		TermsOfServiceAgreed bool
	}
	if err := json.Unmarshal(s.payload, &req); err != nil {
		return err
	}
	print, err := s.account.Thumbprint(crypto.SHA256)
	if err != nil {
		return err
	}
	url := c.URL + "/account/" + base64.RawURLEncoding.EncodeToString(print)
	w.Header().Set("Location", url)
	if c.accounts[url] == nil {
		if !req.TermsOfServiceAgreed {
			return problem{http.StatusForbidden, "userActionRequired", "the terms"}
		}
		c.accounts[url] = s.account
		c.contacts = append(c.contacts, req.Contact...)
		w.WriteHeader(http.StatusCreated)
	}
	return json.NewEncoder(w).Encode(map[string]any{"status": "valid"})
}

func (c *ca) newOrder(w http.ResponseWriter, r *http.Request, s *signed) error {
	var req struct {
		Identifiers []struct{ Type, Value string }
	}
	if err := json.Unmarshal(s.payload, &req); err != nil {
		return err
	}
	if len(req.Identifiers) != 1 || req.Identifiers[0].Type != "dns" {
		return fmt.Errorf("identifiers %v", req.Identifiers)
	}
	c.orders = append(c.orders, &order{name: req.Identifiers[0].Value, token: rand.Text(), status: "pending"})
	if c.refuses {
		return problem{http.StatusForbidden, "rejectedIdentifier", "not this name"}
	}
	n := len(c.orders) - 1
	w.Header().Set("Location", fmt.Sprintf("%s/order/%d", c.URL, n))
	w.WriteHeader(http.StatusCreated)
	r.SetPathValue("n", strconv.Itoa(n))
	return c.showOrder(w, r, s)
}

// of returns the order that a URL is about.
func (c *ca) of(r *http.Request) (*order, error) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 0 || n >= len(c.orders) {
		return nil, problem{http.StatusNotFound, "malformed", "no order"}
	}
	return c.orders[n], nil
}

func (c *ca) showOrder(w http.ResponseWriter, r *http.Request, _ *signed) error {
	o, err := c.of(r)
	if err != nil {
		return err
	}
	n := "/" + r.PathValue("n")
	show := map[string]any{
		"status": o.status, "identifiers": []any{map[string]string{"type": "dns", "value": o.name}},
		"authorizations": []string{c.URL + "/authz" + n}, "finalize": c.URL + "/finalize" + n,
	}
	if o.status == "valid" {
		show["certificate"] = c.URL + "/certificate" + n
	}
	return json.NewEncoder(w).Encode(show)
}

func (c *ca) authorization(w http.ResponseWriter, r *http.Request, _ *signed) error {
	o, err := c.of(r)
	if err != nil {
		return err
	}
	status := o.status
	if status == "ready" {
		status = "valid"
	}
	return json.NewEncoder(w).Encode(map[string]any{
		"status": status, "identifier": map[string]string{"type": "dns", "value": o.name},
		"challenges": []any{c.shown(o, r.PathValue("n"), status)},
	})
}

func (c *ca) shown(o *order, n, status string) map[string]any {
	return map[string]any{"type": "tls-alpn-01", "url": c.URL + "/challenge/" + n, "token": o.token, "status": status}
}

// challenge asks the server for the proof at once.
func (c *ca) challenge(w http.ResponseWriter, r *http.Request, s *signed) error {
	o, err := c.of(r)
	if err != nil {
		return err
	}
	o.status = "ready"
	if err := c.validate(o, s.account); err != nil {
		o.status = "invalid"
	}
	return json.NewEncoder(w).Encode(c.shown(o, r.PathValue("n"), "processing"))
}

// validate connects to the name as RFC 8737 says, and looks for the proof.
func (c *ca) validate(o *order, account *jose.JSONWebKey) error {
	conn, err := tls.Dial("tcp", c.server, &tls.Config{
		ServerName: o.name, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true, // the certificate is self-signed
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	print, err := account.Thumbprint(crypto.SHA256)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(o.token + "." + base64.RawURLEncoding.EncodeToString(print)))
	proof, err := asn1.Marshal(sum[:])
	if err != nil {
		return err
	}
	state := conn.ConnectionState()
	leaf := state.PeerCertificates[0]
	if state.NegotiatedProtocol != "acme-tls/1" || !slices.Equal(leaf.DNSNames, []string{o.name}) {
		return fmt.Errorf("%q for %q", state.NegotiatedProtocol, leaf.DNSNames)
	}
	for _, ext := range leaf.Extensions {
		if ext.Id.String() == "1.3.6.1.5.5.7.1.31" && ext.Critical && bytes.Equal(ext.Value, proof) {
			return nil
		}
	}
	return errors.New("no proof")
}

// finalize issues the certificate of an order that is ready.
func (c *ca) finalize(w http.ResponseWriter, r *http.Request, s *signed) error {
	o, err := c.of(r)
	if err != nil {
		return err
	}
	var req struct{ CSR string }
	if err := json.Unmarshal(s.payload, &req); err != nil {
		return err
	}
	der, err := base64.RawURLEncoding.DecodeString(req.CSR)
	if err != nil {
		return err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	if err := csr.CheckSignature(); err != nil || o.status != "ready" || !slices.Equal(csr.DNSNames, []string{o.name}) {
		return problem{http.StatusForbidden, "badCSR", fmt.Sprint(err, o.status, csr.DNSNames)}
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(int64(100 + len(c.orders))), DNSNames: csr.DNSNames, NotBefore: time.Now(), NotAfter: time.Now().Add(c.lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if der, err = x509.CreateCertificate(rand.Reader, tmpl, c.root, csr.PublicKey, c.key); err != nil {
		return err
	}
	for _, der := range [][]byte{der, c.root.Raw} {
		o.chain = append(o.chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	o.status = "valid"
	w.Header().Set("Location", c.URL+"/order/"+r.PathValue("n"))
	return c.showOrder(w, r, s)
}

func (c *ca) certificate(w http.ResponseWriter, r *http.Request, _ *signed) error {
	o, err := c.of(r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/pem-certificate-chain")
	_, err = w.Write(o.chain)
	return err
}
