package platform

import (
	"slices"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
)

// orgToken makes an API token of somebody for an organization alone, and returns
// it and its ID.
func (f *fixture) orgToken(t *testing.T, with, name, org string) (secret, id string) {
	t.Helper()
	a := f.want(t, 200, with, post, "/v1/auth/api-tokens/"+name, map[string]any{"organization": org})
	secret, _ = a.at("token").(string)
	id, _ = a.at("id").(string)
	if a.at("organization") != org || secret == "" {
		t.Errorf("made %s", a.body)
	}
	return secret, id
}

// TestOrgTokens: an API token for one organization opens that as its owner's role
// does, and nothing else. Those who asked for one were given one for everything.
func TestOrgTokens(t *testing.T) {
	f := newFixture(t, withBackup)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, post, "/v1/organizations", map[string]any{"name": "acme"})
	only, _ := f.orgToken(t, owner, "only", "acme")
	for _, rt := range f.routes {
		for _, path := range rt.forms() {
			a := f.call(t, only, rt.method, path, "[")
			switch {
			case rt.wide:
				if a.status != 403 {
					t.Errorf("%s %s: %d %s", rt.method, path, a.status, a.body)
				}
			case rt.global:
				if a.status == 401 || a.status == 403 {
					t.Errorf("%s %s: %d %s", rt.method, path, a.status, a.body)
				}
			case a.status != 404 || !strings.Contains(a.body, "the API token is not for it"):
				t.Errorf("%s %s: %d %s", rt.method, path, a.status, a.body)
			}
		}
		if path := "/v1/organizations/acme/" + parameter.ReplaceAllString(rt.path, "missing"); !rt.global && rt.path != "" {
			if a := f.call(t, only, rt.method, path, "["); a.status == 401 || a.status == 403 && rt.path != "backups" || strings.Contains(a.body, "not for it") {
				t.Errorf("%s %s: %d %s", rt.method, path, a.status, a.body)
			}
		}
	}
	f.want(t, 200, only, post, "/v1/organizations/acme/databases", map[string]any{"name": "a"})
	f.want(t, 200, only, post, "/v1/organizations/acme/groups", map[string]any{"name": "g"})
	f.want(t, 404, only, post, "/v1/organizations/acme/groups/g/transfer", map[string]any{"organization": "default"})
	if orgs := f.want(t, 200, only, get, "/v1/organizations", nil); strings.Contains(orgs.body, "default") || !strings.Contains(orgs.body, "acme") {
		t.Errorf("it sees %s", orgs.body)
	}
}

// TestOrgTokensMakeNoMore: what such a token makes is for that organization, too,
// and it voids no others.
func TestOrgTokensMakeNoMore(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, post, "/v1/organizations", map[string]any{"name": "acme"})
	f.want(t, 200, owner, post, "/v1/auth/api-tokens/wide", nil)
	only, _ := f.orgToken(t, owner, "only", "acme")
	child, _ := f.want(t, 200, only, post, "/v1/auth/api-tokens/child", nil).at("token").(string)
	f.want(t, 404, child, get, "/v1/organizations/default/databases", nil)
	f.want(t, 200, child, get, "/v1/organizations/acme/databases", nil)
	f.want(t, 404, only, post, "/v1/auth/api-tokens/x", map[string]any{"organization": "default"})
	f.want(t, 404, owner, post, "/v1/auth/api-tokens/x", map[string]any{"organization": "nowhere"})
	f.want(t, 422, owner, post, "/v1/auth/api-tokens/x", map[string]any{"organization": "acme", "group": "default", "scopes": []string{"read"}})
	f.want(t, 404, only, del, "/v1/auth/api-tokens/wide", nil)
	if all := f.want(t, 200, only, get, "/v1/auth/api-tokens", nil); strings.Contains(all.body, "wide") || !strings.Contains(all.body, "child") {
		t.Errorf("it sees %s", all.body)
	}
	// It goes with the organization: another one of that name is another one.
	f.want(t, 200, owner, del, "/v1/organizations/acme", nil)
	f.want(t, 200, owner, post, "/v1/organizations", map[string]any{"name": "acme"})
	f.want(t, 401, only, get, "/v1/organizations/acme/databases", nil)
}

// TestOrgTokensListed: an admin sees and voids those of everybody, others their own.
func TestOrgTokensListed(t *testing.T) {
	f := newFixture(t, nil)
	admin, viewer := f.member(t, catalog.RoleAdmin), f.member(t, catalog.RoleViewer)
	_, ofAdmin := f.orgToken(t, admin, "a", "default")
	secret, ofViewer := f.orgToken(t, viewer, "v", "default")
	seen := func(token string) (names []string) {
		for _, one := range f.want(t, 200, token, get, "/v1/organizations/default/api-tokens", nil).at("tokens").([]any) {
			j := asObject(one)
			names = append(names, j["name"].(string)+" of "+asObject(j["owner"])["username"].(string))
		}
		return names
	}
	if got := seen(viewer); !slices.Equal(got, []string{"v of the-viewer"}) {
		t.Errorf("a viewer sees %v", got)
	}
	if got := seen(admin); !slices.Equal(got, []string{"a of the-admin", "v of the-viewer"}) {
		t.Errorf("an admin sees %v", got)
	}
	f.want(t, 404, viewer, del, "/v1/organizations/default/api-tokens/"+ofAdmin, nil)
	f.want(t, 404, admin, del, "/v1/organizations/default/api-tokens/v", nil) // by ID alone
	f.want(t, 200, admin, del, "/v1/organizations/default/api-tokens/"+ofViewer, nil)
	f.want(t, 401, secret, get, "/v1/user", nil)
	f.want(t, 200, admin, del, "/v1/organizations/default/api-tokens/"+ofAdmin, nil)
}
