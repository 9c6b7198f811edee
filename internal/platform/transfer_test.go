package platform

import (
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
)

// TestTransferGroup: a group goes to another organization with its databases and
// their tokens, if the caller is an admin of both; its own tokens don't.
func TestTransferGroup(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, post, "/v1/groups", object{"name": "g"})
	f.want(t, 200, owner, post, "/v1/databases", object{"name": "a", "group": "g"})
	f.want(t, 200, owner, post, "/v1/databases", object{"name": "b"})
	verifier, err := f.key.Verifier(nil)
	if err != nil {
		t.Fatal(err)
	}
	claims := func(path string) catalog.Claims {
		t.Helper()
		jwt, _ := f.want(t, 200, owner, post, path, nil).at("jwt").(string)
		v, err := verifier.Verify(catalog.Token(jwt))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	own, groups := claims("/v1/databases/a/auth/tokens"), claims("/v1/groups/g/auth/tokens")
	for _, org := range []string{"two", "three", "four"} {
		f.want(t, 200, f.api(t, "bob"), post, "/v1/organizations", object{"name": org})
	}
	f.want(t, 200, f.api(t, "bob"), post, "/v1/organizations/two/members", object{"member": catalog.DefaultUser, "role": "admin"})
	f.want(t, 200, f.api(t, "bob"), post, "/v1/organizations/three/members", object{"member": catalog.DefaultUser, "role": "member"})
	const path = "/v1/groups/g/transfer"
	f.want(t, 404, owner, post, path, object{"organization": "nowhere"})
	f.want(t, 404, owner, post, path, object{"organization": "four"})
	f.want(t, 403, owner, post, path, object{"organization": "three"})
	f.want(t, 409, owner, post, path, object{"organization": "default"})
	f.want(t, 409, owner, post, "/v1/groups/default/transfer", object{"organization": "two"})
	f.want(t, 404, owner, post, "/v1/groups/none/transfer", object{"organization": "two"})
	if a := f.want(t, 200, owner, post, path, object{"organization": "two"}); a.at("name") != "g" {
		t.Errorf("%s", a.body)
	}
	f.want(t, 404, owner, get, "/v1/groups/g", nil)
	f.want(t, 404, owner, get, "/v1/databases/a", nil)
	f.want(t, 200, owner, get, "/v1/databases/b", nil)
	f.want(t, 200, owner, get, "/v1/organizations/two/databases/a", nil)
	f.want(t, 200, owner, get, "/v1/organizations/two/groups/g", nil)
	p, err := f.store.Policy("a")
	if err != nil || p.Org != "two" || own.For("a", p) != nil || groups.For("a", p) == nil {
		t.Errorf("%+v: the database's token %v, the group's %v; %v", p, own.For("a", p), groups.For("a", p), err)
	}
	f.want(t, 200, owner, post, "/v1/groups", object{"name": "g"}) // another
	if groups.For("a", p) == nil {
		t.Error("a token of the group is good again")
	}
	for _, org := range []string{catalog.DefaultOrg, "two"} {
		found := 0
		for _, e := range f.log(t, org) {
			if e.Code == "group-transfer" && strings.Contains(string(e.Data), `"from":"default","group":"g","to":"two"`) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s has %d entries", org, found)
		}
	}
}

// api returns an API token of a user, the same each time.
func (f *fixture) api(t *testing.T, username string) string {
	t.Helper()
	if f.tokens == nil {
		f.tokens = map[string]string{}
	}
	if f.tokens[username] == "" {
		f.tokens[username] = f.token(t, username)
	}
	return f.tokens[username]
}
