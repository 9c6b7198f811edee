package platform

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
)

var parameter = regexp.MustCompile(`\{\w+\}`)

// TestAuthorization makes every request of the table with every role, and with
// everything that is no API token. What is asked about doesn't exist: who may ask
// learns that, who may not is refused before.
func TestAuthorization(t *testing.T) {
	f := newFixture(t, withBackup)
	roles := map[catalog.Role]string{catalog.RoleNone: f.token(t, "stranger")}
	for r := catalog.RoleViewer; r <= catalog.RoleOwner; r++ {
		roles[r] = f.member(t, r)
	}
	none := f.noTokens(t)
	for _, rt := range f.routes {
		for _, path := range rt.forms() {
			for r, token := range roles {
				// A body that no handler takes: nothing is changed.
				if why := rt.misjudges(r, f.call(t, token, rt.method, path, "[")); why != "" {
					t.Errorf("%s %s for %s, it needs %s: %s", rt.method, path, r, rt.role, why)
				}
			}
			for what, token := range none {
				if a := f.call(t, token, rt.method, path, "["); (a.status == 401) == rt.public {
					t.Errorf("%s %s with %s: %d %.100s", rt.method, path, what, a.status, a.body)
				}
			}
		}
	}
}

// forms are the paths that a route has, for what doesn't exist.
func (rt *route) forms() []string {
	path := parameter.ReplaceAllString(rt.path, "missing")
	switch {
	case rt.global:
		return []string{"/v1/" + path}
	case rt.path == "":
		return []string{"/v1/organizations/default", "/v2/organizations/default/"}
	}
	return []string{"/v1/organizations/default/" + path, "/v1/organizations//" + path, "/v1/" + path, "/v2/organizations/default/" + path}
}

// misjudges says what is wrong with an answer to somebody of a role.
func (rt *route) misjudges(r catalog.Role, a answer) string {
	says := fmt.Sprintf("%d %.100s", a.status, a.body)
	refusal, _ := a.at("error").(string)
	switch {
	case rt.global: // for everybody
		if a.status == 401 || a.status == 403 {
			return says
		}
	case r == catalog.RoleNone:
		if a.status != 404 || refusal != "organization default not found, or you are not a member of it" {
			return says
		}
	case r < rt.role:
		if want := fmt.Sprintf("this needs the role %s in default, yours is %s", rt.role, r); a.status != 403 || refusal != want {
			return says
		}
	case a.status == 401 || a.status == 403 || a.status >= 500:
		return says
	}
	return ""
}

// TestLeastRole makes every request that can succeed, about what there is: every
// role below the route's is refused, and changes nothing, since that role itself
// then does it.
func TestLeastRole(t *testing.T) {
	f := newFixture(t, withBackup)
	tokens := map[catalog.Role]string{}
	for r := catalog.RoleViewer; r <= catalog.RoleOwner; r++ {
		tokens[r] = f.member(t, r)
	}
	f.exercise(t, func(rt *route, path, owner string) []string {
		if rt.global || strings.Contains(path, "/second") { // of which the owner alone is a member
			return []string{owner}
		}
		var all []string
		for r := catalog.RoleViewer; r <= rt.role; r++ {
			all = append(all, tokens[r])
		}
		return all
	}, nil)
	for _, rt := range f.routes {
		if op := operations[rt.method+" "+rt.path]; !f.contract.met[strings.ToLower(rt.method)+" "+rt.template("/v1")] {
			t.Errorf("nobody did %s", op.id)
		}
	}
}

// TestEveryRouteHasARole: the matrices are as good as their table, which must say
// what docs/platform-api.md says of the roles.
func TestEveryRouteHasARole(t *testing.T) {
	f := newFixture(t, nil)
	for _, rt := range f.routes {
		first, _ := cutSegment(rt.path)
		want := viewer
		switch {
		case rt.global:
			want = catalog.RoleNone
		case first == "" || first == "backups":
			want = owner
		case first == "api-tokens": // of others for an admin alone, see TestOrgTokens
			want = viewer
		case first == "invites" || first == "audit-logs", rt.method != get && (first == "groups" || first == "members"):
			want = admin
		case rt.method != get:
			want = member
		}
		if rt.role != want {
			t.Errorf("%s %s needs the role %s, want %s", rt.method, rt.path, rt.role, want)
		}
		if rt.public != (rt.path == "openapi.json") {
			t.Errorf("%s %s needs no token: %v", rt.method, rt.path, rt.public)
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
	if err := f.store.RevokeAPIToken(t.Context(), catalog.DefaultUser, "", "revoked", nil); err != nil {
		t.Fatal(err)
	}
	signed, err := f.key.Sign(catalog.Claims{Database: catalog.AnyDatabase, Access: catalog.AccessFull})
	if err != nil {
		t.Fatal(err)
	}
	secrets["one of a database"] = string(signed)
	return secrets
}
