package catalog

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzVerify looks at tokens as they come from the network: none is good but
// those that were signed.
func FuzzVerify(f *testing.F) {
	key, err := OpenKey(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	other, err := OpenKey(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	keys, err := other.JWKS()
	if err != nil {
		f.Fatal(err)
	}
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(keys) }))
	f.Cleanup(issuer.Close)
	good := make(map[Token]bool)
	for _, c := range []Claims{
		{Database: "tasks", Access: AccessFull},
		{Database: AnyDatabase, Access: AccessPull, Expires: time.Now().Add(1000 * time.Hour)},
		{Org: "o", Group: "g", Epoch: 3, Access: AccessRead, Tables: "tasks:data_read"},
	} {
		t, err := key.Sign(c)
		if err != nil {
			f.Fatal(err)
		}
		good[t] = true
		f.Add(string(t))
		stranger, err := other.Sign(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(stranger))
	}
	f.Add("eyJhbGciOiJub25lIn0.eyJkYiI6IioiLCJhIjoiZnVsbCJ9.")
	f.Add("eyJhbGciOiJFZERTQSJ9.eyJkYiI6IioiLCJhIjoiZnVsbCIsImlzcyI6Imh0dHBzOi8vaWQuZXhhbXBsZS5jb20ifQ.AAAA")
	v, err := key.Verifier(nil, Issuer{URL: "https://id.example.com", JWKS: issuer.URL})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := v.Verify(Token(text))
		if (err == nil) != good[Token(text)] {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	})
}

// FuzzKeySet reads key sets of issuers: a key that is found is one that a
// signature can be checked with.
func FuzzKeySet(f *testing.F) {
	key, err := OpenKey(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	set, err := key.JWKS()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(set))
	f.Add(strings.Replace(string(set), `"use":"sig"`, `"use":"enc"`, 1))
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"oct","k":"AA"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var i issuer
		if json.Unmarshal([]byte(text), &i.keys) != nil {
			return
		}
		for _, alg := range algorithms {
			if k := i.find("", alg); k != nil && !fits(k, alg) {
				t.Errorf("a %T for %s", k, alg)
			}
		}
	})
}
