package server

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestIssuedTokens: an orchestrator that mints its own tokens opens the databases
// that they are for, one or a group's, until they are rotated.
func TestIssuedTokens(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","alg":"EdDSA","use":"sig","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))
	defer keys.Close()
	c := newCloud(t, Config{Issuers: []Issuer{{URL: "https://orchestrator.example", JWKS: keys.URL, Audience: "agentdb"}}})
	mint := func(iat time.Time, claims jwt.MapClaims) string {
		t.Helper()
		claims["iss"], claims["aud"], claims["a"] = "https://orchestrator.example", "agentdb", "full"
		claims["iat"], claims["exp"] = iat.Unix(), time.Now().Add(time.Hour).Unix()
		tok := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
		tok.Header["kid"] = "k"
		s, err := tok.SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	c.api(t, "POST", "/v1/groups", `{"name":"g"}`)
	c.api(t, "POST", "/v1/groups", `{"name":"h"}`)
	for name, group := range map[string]string{"g1": "g", "g2": "g", "h1": "h"} {
		c.api(t, "POST", "/v1/databases", fmt.Sprintf(`{"name":%q,"group":%q}`, name, group))
	}
	check := func(when, token, opens string) {
		t.Helper()
		for _, name := range []string{"g1", "g2", "g3", "h1"} {
			status, body := c.sql(t, token, name, "", "SELECT 1")
			if want := strings.Contains(opens, name); want != (status == 200) {
				t.Errorf("%s, %s: %d %s", when, name, status, body)
			}
		}
	}
	old := time.Now().Add(-time.Minute)
	one, group := mint(old, jwt.MapClaims{"db": "g1"}), mint(old, jwt.MapClaims{"o": "default", "g": "g"})
	check("one", one, "g1")
	check("group", group, "g1 g2")
	check("another organization's", mint(old, jwt.MapClaims{"o": "other", "g": "g"}), "")
	c.api(t, "POST", "/v1/databases/g1/auth/rotate", "")
	check("one, rotated", one, "")
	check("group, when one is rotated", group, "g1 g2")
	c.api(t, "POST", "/v1/groups/g/auth/rotate", "")
	c.api(t, "POST", "/v1/databases", `{"name":"g3","group":"g"}`)
	check("group, rotated", group, "")
	later := time.Now().Add(time.Second)
	check("one, anew", mint(later, jwt.MapClaims{"db": "g1"}), "g1")
	check("group, anew", mint(later, jwt.MapClaims{"o": "default", "g": "g"}), "g1 g2 g3")
}
