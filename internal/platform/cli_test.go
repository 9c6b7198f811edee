package platform

import (
	"bytes"
	"mime/multipart"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
)

// TestTursoCLI makes the requests that Turso's command line makes, and checks what
// it reads of the answers.
func TestTursoCLI(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	dump := f.upload(t, owner, "CREATE TABLE t(x);")
	for _, c := range []struct {
		method, path, body string
		status             int
		at                 string // names, by dots
		want               any    // nil: anything but nil
	}{
		{get, "/v1/auth/validate", "", 200, "exp", -1.0},
		{get, "/v1/current-user", "", 200, "user.username", "admin"},
		{get, "/v2/organizations", "", 200, "organizations", nil},
		{get, "/v2/locations", "", 200, "locations", nil},
		{get, "/v1/organizations//members", "", 200, "members", nil},
		{get, "/v1/usage", "", 200, "organization.usage.databases", 0.0},
		{get, "/v1/plans", "", 200, "plans", nil},
		{get, "/v1/subscription", "", 200, "subscription.plan", planName},
		{post, "/v1/groups", `{"Name":"g","Location":"ams","Version":"latest"}`, 200, "group.primary", "ams"},
		{post, "/v1/groups", `{"Name":"g","Location":"ams","Version":"latest"}`, 409, "error", "group g already exists"},
		{get, "/v1/groups/g", "", 200, "group.name", "g"},
		{post, "/v1/databases", `{"name":"a","location":"ams","group":"g"}`, 200, "database.primaryRegion", "local"},
		{post, "/v1/databases", `{"name":"a","location":"ams","group":"g"}`, 409, "error", "database with name a already exists"},
		{post, "/v1/databases", `{"name":"b","group":"g","seed":{"type":"database","value":"a"}}`, 200, "username", "admin"},
		{post, "/v1/databases", `{"name":"c","group":"g","seed":{"type":"dump","url":"` + dump + `"}}`, 200, "database.Name", "c"},
		{post, "/v1/databases", `{"name":"d","group":"g","seed":{"type":"dump","url":"http://127.0.0.1/x"}}`, 400, "error", nil},
		{post, "/v1/databases", `{"name":"d","group":"g","is_schema":true}`, 422, "error", "schema databases are not supported"},
		{get, "/v1/databases?limit=2&group=g", "", 200, "pagination.next", "b"},
		{get, "/v1/databases?limit=2&group=g&cursor=b", "", 200, "databases", nil},
		{get, "/v1/organizations/default/databases/a", "", 200, "database.Hostname", "a.localhost:8080"},
		{get, "/v1/databases/a/configuration", "", 200, "size_limit", "0"},
		{patch, "/v1/databases/a/configuration", `{"size_limit":"1gb","block_writes":true}`, 200, "block_writes", true},
		{get, "/v1/databases/a/usage", "", 200, "total.storage_bytes", 0.0},
		{get, "/v1/databases/a/instances", "", 200, "instances", nil},
		{post, "/v1/databases/a/auth/tokens?expiration=never&authorization=read-only", "{}", 200, "jwt", nil},
		{post, "/v1/databases/a/auth/rotate", "{}", 200, "", nil},
		{post, "/v1/databases/a/update", "", 200, "", nil},
		{post, "/v1/groups/g/auth/tokens?expiration=7d", "{}", 200, "jwt", nil},
		{post, "/v2/auth/api-tokens/laptop", "", 200, "token.value", nil},
		{get, "/v1/auth/api-tokens", "", 200, "tokens", nil},
		{del, "/v1/auth/api-tokens/laptop", "", 200, "token", "laptop"},
		{del, "/v1/databases/a", "", 200, "database", "a"},
		{get, "/v1/databases/a", "", 404, "error", "could not find database with name a: record not found"},
		{del, "/v1/groups/g", "", 200, "group.name", "g"},
		{get, "/v1/databases/b", "", 404, "error", nil},
	} {
		a := f.call(t, owner, c.method, c.path, c.body)
		got := any(a.json)
		if c.at != "" {
			got = a.at(strings.Split(c.at, ".")...)
		}
		if a.status != c.status || got == nil || c.want != nil && got != c.want {
			t.Errorf("%s %s %s: %d %s, want %d and %v", c.method, c.path, c.body, a.status, a.body, c.status, c.want)
		}
	}
}

// upload uploads a dump as a form and returns its URL.
func (f *fixture) upload(t *testing.T, token, script string) string {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	w, err := form.CreateFormFile("file", "../../dump.sql")
	if err == nil {
		_, err = w.Write([]byte(script))
	}
	if err != nil || form.Close() != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), post, "http://127.0.0.1:8080/v1/databases/dumps", &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Authorization", "Bearer "+token)
	a := f.do(t, r)
	link, _ := a.at("dump_url").(string)
	if a.status != 200 || link == "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	return link
}

// TestUploadIsOfTheOrganization: nobody else finds a dump, even by its URL.
func TestUploadIsOfTheOrganization(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	if _, err := f.store.CreateOrg(t.Context(), catalog.Org{Slug: "bobs"}, "bob"); err != nil {
		t.Fatal(err)
	}
	seeded := map[string]any{"name": "x", "seed": map[string]any{"type": "dump", "url": f.upload(t, owner, "CREATE TABLE t(x);")}}
	f.want(t, 404, f.token(t, "bob"), post, "/v1/organizations/bobs/databases", seeded)
	f.want(t, 200, owner, post, "/v1/databases", seeded)
}
