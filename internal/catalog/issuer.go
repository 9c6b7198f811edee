package catalog

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// Issuer is somebody else whose tokens the server takes, such as an identity
// provider or an orchestrator. Its tokens name a database ("db") or a group of
// an organisation ("g", "o"), and an access ("a"), as ours do; they must have an
// end.
type Issuer struct {
	// URL is what its tokens have as "iss".
	URL string
	// JWKS is where its keys are; "": where the document at
	// URL/.well-known/openid-configuration says.
	JWKS string
	// Audience is what its tokens must have as "aud"; "": anything.
	Audience string
}

const (
	keysFresh   = 10 * time.Minute // keys are fetched again after it
	keysRetry   = 10 * time.Second // and not more often than this for a key that is not there
	keysTimeout = 5 * time.Second
	maxKeys     = 1 << 20 // bytes of a key set
)

// algorithms of issuers' signatures; nothing symmetric.
var algorithms = []string{"EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}

// issuer is an Issuer with its keys.
type issuer struct {
	Issuer
	parser *jwt.Parser
	client *http.Client
	now    func() time.Time

	mu      sync.Mutex // guards what follows, and lets one fetch at a time
	keys    jose.JSONWebKeySet
	fetched time.Time
	tried   time.Time
}

func newIssuer(i Issuer, now func() time.Time) (*issuer, error) {
	for _, s := range []string{i.URL, i.JWKS} {
		if u, err := url.Parse(s); s != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
			return nil, fmt.Errorf("catalog: issuer: %q is not an http or https URL", s)
		}
	}
	if i.URL == "" {
		return nil, errors.New("catalog: issuer: it has no URL")
	}
	opts := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms), jwt.WithStrictDecoding(), jwt.WithTimeFunc(now), jwt.WithExpirationRequired(), jwt.WithIssuer(i.URL),
	}
	if i.Audience != "" {
		opts = append(opts, jwt.WithAudience(i.Audience))
	}
	return &issuer{Issuer: i, parser: jwt.NewParser(opts...), client: &http.Client{Timeout: keysTimeout}, now: now}, nil
}

// verify returns what a token of the issuer says.
func (i *issuer) verify(t Token) (Claims, error) {
	var p payload
	_, err := i.parser.ParseWithClaims(string(t), &p, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		return i.key(kid, t.Method.Alg())
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return Claims{}, ErrExpired
	case err != nil:
		return Claims{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	if p.Database == AnyDatabase {
		return Claims{}, fmt.Errorf("%w: only this server's own may be for all databases", ErrToken)
	}
	p.Epoch = 0 // is ours to give
	return p.claims()
}

// key returns a public key of the issuer.
func (i *issuer) key(kid, alg string) (any, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	for {
		stale := now.Sub(i.fetched) > keysFresh
		if k := i.find(kid, alg); k != nil && (!stale || now.Sub(i.tried) < keysRetry) {
			return k, nil
		}
		if now.Sub(i.tried) < keysRetry {
			return nil, fmt.Errorf("the issuer has no key %q", kid)
		}
		i.tried = now
		keys, err := i.fetch()
		if err != nil && i.find(kid, alg) == nil {
			return nil, fmt.Errorf("the issuer's keys: %w", err)
		}
		if err == nil {
			i.keys, i.fetched = keys, now
		}
	}
}

// find returns a key that is there; one of the only kind if the token names
// none.
func (i *issuer) find(kid, alg string) any {
	for _, k := range i.keys.Keys {
		if !k.IsPublic() || !k.Valid() || k.Use == "enc" || k.Algorithm != "" && k.Algorithm != alg || !fits(k.Key, alg) {
			continue
		}
		if k.KeyID == kid || kid == "" && len(i.keys.Keys) == 1 {
			return k.Key
		}
	}
	return nil
}

// fits reports whether a key is for an algorithm.
func fits(key any, alg string) bool {
	switch key.(type) {
	case ed25519.PublicKey:
		return alg == "EdDSA"
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return strings.HasPrefix(alg, "ES")
	}
	return false
}

func (i *issuer) fetch() (keys jose.JSONWebKeySet, err error) {
	from := i.JWKS
	if from == "" {
		var conf struct {
			Issuer string `json:"issuer"`
			JWKS   string `json:"jwks_uri"`
		}
		if err := i.get(strings.TrimSuffix(i.URL, "/")+"/.well-known/openid-configuration", &conf); err != nil {
			return keys, err
		}
		if conf.Issuer != i.URL || conf.JWKS == "" {
			return keys, fmt.Errorf("the issuer's document is about %q", conf.Issuer)
		}
		from = conf.JWKS
	}
	return keys, i.get(from, &keys)
}

func (i *issuer) get(from string, v any) error {
	ctx, cancel := context.WithTimeout(context.Background(), keysTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	res, err := i.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", from, res.Status)
	}
	return json.NewDecoder(io.LimitReader(res.Body, maxKeys)).Decode(v)
}

// issuerOf returns what a token claims to be issued by; nothing is verified.
func issuerOf(t Token) string {
	var c jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(string(t), &c); err != nil {
		return ""
	}
	return c.Issuer
}

// JWKS returns the server's public key as a JSON Web Key Set, RFC 7517.
func (k *Key) JWKS() ([]byte, error) {
	jwk := jose.JSONWebKey{Key: k.private.Public(), Algorithm: "EdDSA", Use: "sig"}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("catalog: key: %w", err)
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk}})
}
