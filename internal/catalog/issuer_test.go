package catalog

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// provider is an identity provider.
type provider struct {
	*httptest.Server
	keys    atomic.Pointer[jose.JSONWebKeySet]
	fetched atomic.Int64
}

func newProvider(t *testing.T) *provider {
	p := &provider{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": p.URL, "jwks_uri": p.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.fetched.Add(1)
		_ = json.NewEncoder(w).Encode(p.keys.Load())
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// publish makes keys the provider's.
func (p *provider) publish(keys map[string]crypto.Signer) {
	set := &jose.JSONWebKeySet{}
	for id, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: id})
	}
	p.keys.Store(set)
}

func signAs(t *testing.T, method jwt.SigningMethod, key any, kid string, claims jwt.MapClaims) Token {
	t.Helper()
	x := jwt.NewWithClaims(method, claims)
	x.Header["kid"] = kid
	s, err := x.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return Token(s)
}

// TestIssuers: tokens of an issuer open what they name, and nothing else does.
func TestIssuers(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, foreign, _ := ed25519.GenerateKey(rand.Reader)
	p, other := newProvider(t), newProvider(t)
	p.publish(map[string]crypto.Signer{"ed": ed, "ec": ec})
	other.publish(map[string]crypto.Signer{"ed": foreign})
	now := time.Now()
	ours := testKey(t)
	v := mustVerifier(t, ours, func() time.Time { return now }, Issuer{URL: p.URL, Audience: "agentdb"})
	claims := func(change jwt.MapClaims) jwt.MapClaims {
		c := jwt.MapClaims{"iss": p.URL, "aud": "agentdb", "db": "a", "a": "read", "exp": now.Add(time.Hour).Unix(), "v": 7}
		for k, x := range change {
			if c[k] = x; x == nil {
				delete(c, k)
			}
		}
		return c
	}
	for what, good := range map[string]Token{
		"EdDSA": signAs(t, jwt.SigningMethodEdDSA, ed, "ed", claims(nil)),
		"ES256": signAs(t, jwt.SigningMethodES256, ec, "ec", claims(nil)),
	} {
		c, err := v.Verify(good)
		if err != nil || c.Database != "a" || c.Access != AccessRead || c.Epoch != 0 {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
	}
	group, err := v.Verify(signAs(t, jwt.SigningMethodEdDSA, ed, "ed", claims(jwt.MapClaims{"db": nil, "o": "org", "g": "group"})))
	if err != nil || group.Group != "group" || group.Org != "org" {
		t.Errorf("%+v, %v", group, err)
	}
	secret := []byte("the public key is no secret")
	for what, bad := range map[string]Token{
		"another's key":     signAs(t, jwt.SigningMethodEdDSA, foreign, "ed", claims(nil)),
		"another issuer":    signAs(t, jwt.SigningMethodEdDSA, foreign, "ed", claims(jwt.MapClaims{"iss": other.URL})),
		"our key, theirs":   signAs(t, jwt.SigningMethodEdDSA, ours.private, "ed", claims(nil)),
		"no end":            signAs(t, jwt.SigningMethodEdDSA, ed, "ed", claims(jwt.MapClaims{"exp": nil})),
		"its end":           signAs(t, jwt.SigningMethodEdDSA, ed, "ed", claims(jwt.MapClaims{"exp": now.Unix() - 1})),
		"another audience":  signAs(t, jwt.SigningMethodEdDSA, ed, "ed", claims(jwt.MapClaims{"aud": "x"})),
		"all databases":     signAs(t, jwt.SigningMethodEdDSA, ed, "ed", claims(jwt.MapClaims{"db": "*"})),
		"no database":       signAs(t, jwt.SigningMethodEdDSA, ed, "ed", claims(jwt.MapClaims{"db": nil})),
		"no access":         signAs(t, jwt.SigningMethodEdDSA, ed, "ed", claims(jwt.MapClaims{"a": "root"})),
		"unknown key":       signAs(t, jwt.SigningMethodEdDSA, ed, "new", claims(nil)),
		"the wrong kind":    signAs(t, jwt.SigningMethodEdDSA, ed, "ec", claims(nil)),
		"a symmetric one":   signAs(t, jwt.SigningMethodHS256, secret, "ed", claims(nil)),
		"none":              signAs(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "ed", claims(nil)),
		"theirs, as if our": signAs(t, jwt.SigningMethodEdDSA, ed, "ed", claims(jwt.MapClaims{"iss": nil})),
	} {
		if c, err := v.Verify(bad); !errors.Is(err, ErrToken) && !errors.Is(err, ErrExpired) {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
	}
	if n := p.fetched.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	if other.fetched.Load() != 0 {
		t.Error("a token made the server ask whom it doesn't know")
	}
}

// TestIssuerKeysChange: a new key is found, an old one is forgotten, and an issuer
// that is away for a while does no harm.
func TestIssuerKeysChange(t *testing.T) {
	_, a, _ := ed25519.GenerateKey(rand.Reader)
	_, b, _ := ed25519.GenerateKey(rand.Reader)
	p := newProvider(t)
	p.publish(map[string]crypto.Signer{"a": a})
	now := time.Now()
	v := mustVerifier(t, testKey(t), func() time.Time { return now }, Issuer{URL: p.URL})
	sub := 0
	verify := func(key ed25519.PrivateKey, kid string) error {
		sub++ // or it is remembered
		_, err := v.Verify(signAs(t, jwt.SigningMethodEdDSA, key, kid, jwt.MapClaims{
			"iss": p.URL, "sub": string(rune('a' + sub)), "db": "a", "a": "full", "exp": now.Add(time.Hour).Unix(),
		}))
		return err
	}
	if err := verify(a, "a"); err != nil {
		t.Fatal(err)
	}
	p.publish(map[string]crypto.Signer{"b": b})
	if err := verify(b, "b"); err == nil {
		t.Error("keys were fetched twice in a moment")
	}
	now = now.Add(keysRetry)
	if err := verify(b, "b"); err != nil {
		t.Error(err)
	}
	if err := verify(a, "a"); err == nil {
		t.Error("a key that was taken back is still good")
	}
	p.Close()
	now = now.Add(keysFresh + time.Second)
	if err := verify(b, "b"); err != nil {
		t.Errorf("while the issuer is away: %v", err)
	}
}

// TestJWKS: others can check our tokens with what we publish.
func TestJWKS(t *testing.T) {
	k := testKey(t)
	raw, err := k.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &set); err != nil || len(set.Keys) != 1 || !set.Keys[0].IsPublic() {
		t.Fatalf("%s, %v", raw, err)
	}
	tok, err := k.Sign(Claims{Database: "a", Access: AccessFull})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwt.Parse(string(tok), func(*jwt.Token) (any, error) { return set.Keys[0].Key, nil }); err != nil {
		t.Error(err)
	}
}
