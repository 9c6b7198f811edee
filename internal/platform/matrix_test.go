package platform

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
)

var parameter = regexp.MustCompile(`\{\w+\}`)

// TestAuthorization makes every request of the table with every role, and with
// everything that is no API token. What is asked about doesn't exist: who may ask
// learns that, who may not is refused before.
func TestAuthorization(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.Backup = func(context.Context) (string, error) { return "x", nil } })
	roles := map[catalog.Role]string{catalog.RoleNone: f.token(t, "stranger")}
	for r := catalog.RoleViewer; r <= catalog.RoleOwner; r++ {
		roles[r] = f.member(t, r)
	}
	none := f.noTokens(t)
	for _, rt := range f.routes {
		path := "/v1/" + rt.path
		if !rt.global {
			path = "/v1/organizations/default/" + rt.path
		}
		path = parameter.ReplaceAllString(path, "missing")
		for r, token := range roles {
			// A body that no handler takes: nothing is changed.
			a := f.call(t, token, rt.method, path, "[")
			switch {
			case rt.global:
				if a.status == 401 || a.status == 403 {
					t.Errorf("%s %s for anybody: %d %s", rt.method, path, a.status, a.body)
				}
			case r == catalog.RoleNone:
				if a.status != 404 || a.at("error") != "organization default not found, or you are not a member of it" {
					t.Errorf("%s %s for a stranger: %d %s", rt.method, path, a.status, a.body)
				}
			case (a.status == 403) != (r < rt.role):
				t.Errorf("%s %s for %s, it needs %s: %d %s", rt.method, path, r, rt.role, a.status, a.body)
			}
		}
		for what, token := range none {
			if a := f.call(t, token, rt.method, path, "["); a.status != 401 {
				t.Errorf("%s %s with %s: %d %s", rt.method, path, what, a.status, a.body)
			}
		}
	}
}

// noTokens are what must not open the API.
func (f *fixture) noTokens(t *testing.T) map[string]string {
	t.Helper()
	secrets := map[string]string{"none": "", "noise": "adb_x"}
	for name, expires := range map[string]time.Time{"expired": time.Now().Add(-time.Second), "revoked": {}} {
		_, secret, err := f.store.CreateAPIToken(t.Context(), catalog.APIToken{Name: name, Username: catalog.DefaultUser, Expires: expires})
		if err != nil {
			t.Fatal(err)
		}
		secrets[name] = string(secret)
	}
	if err := f.store.RevokeAPIToken(t.Context(), catalog.DefaultUser, "revoked"); err != nil {
		t.Fatal(err)
	}
	signed, err := f.key.Sign(catalog.Claims{Database: catalog.AnyDatabase, Access: catalog.AccessFull})
	if err != nil {
		t.Fatal(err)
	}
	secrets["one of a database"] = string(signed)
	return secrets
}
