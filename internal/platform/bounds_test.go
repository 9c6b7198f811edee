package platform

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
)

// TestBounds: what clients name and describe is bounded, in the catalog, in the
// audit log and in errors; what fits works.
func TestBounds(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	long, huge := strings.Repeat("x", 257), strings.Repeat("x", 500_000)
	f.want(t, 200, owner, post, "/v1/databases", object{"name": "a"})
	for _, c := range []struct {
		status       int
		method, path string
		body         any
	}{
		{400, post, "/v1/databases", object{"name": huge}},
		{400, post, "/v1/databases", object{"name": "b", "ttl": huge}},
		{400, post, "/v1/databases", object{"name": "b", "expires_at": huge}},
		{400, post, "/v1/databases", object{"name": "b", "size_limit": huge}},
		{400, post, "/v1/databases", object{"name": "b", "size_limit": "nan"}},
		{400, post, "/v1/databases", object{"name": "b", "size_limit": 1}},
		{400, post, "/v1/databases", object{"name": "b", "size_limit": int64(1) << 60}},
		{404, post, "/v1/databases", object{"name": "b", "group": huge}},
		{404, post, "/v1/databases", object{"name": "b", "seed": object{"type": "database", "name": huge}}},
		{400, post, "/v1/databases", object{"name": "b", "seed": object{"type": huge}}},
		{400, post, "/v1/groups", object{"name": huge}},
		{400, post, "/v1/groups", object{"name": "g", "location": huge}},
		{400, post, "/v1/organizations", object{"slug": "o", "name": long}},
		{400, patch, "/v1/organizations/default", object{"name": huge}},
		{400, post, "/v1/members", object{"member": huge}},
		{400, post, "/v1/members", object{"member": "a\x00b"}},
		{400, post, "/v1/members", object{"member": "a\u202eb"}},
		{400, post, "/v1/members", object{"member": "eve", "email": huge + "@example.com"}},
		{400, post, "/v1/members", object{"member": "eve", "role": huge}},
		{400, post, "/v1/invites", object{"email": huge + "@example.com"}},
		{422, post, "/v1/databases/a/auth/tokens?subject=" + strings.Repeat("x", 10_000), nil},
		{422, post, "/v1/databases/a/auth/tokens", object{"fine_grained_permissions": []object{{"t": []string{huge[:60_000]}, "a": []string{"data_read"}}}}},
		{422, post, "/v1/groups/default/auth/tokens?subject=" + strings.Repeat("x", 10_000), nil},
		{400, post, "/v1/databases", object{"name": "b", "ttl": "90d", "expires_at": "2100-01-01"}},
		{400, post, "/v1/auth/api-tokens/a%00b", nil},
		{400, post, "/v1/auth/api-tokens/a%E2%80%AEb", nil}, // U+202E
		{400, post, "/v1/auth/api-tokens/%ff", nil},
		{400, post, "/v1/organizations", object{"slug": "o", "name": "a\x00b"}},
		{400, patch, "/v1/organizations/default", object{"name": "a\u202eb"}},
		{413, post, "/v1/databases", strings.Repeat(" ", maxBody+1)},
	} {
		if a := f.want(t, c.status, owner, c.method, c.path, c.body); len(a.body) > 1000 {
			t.Errorf("%s %s: an error of %d bytes", c.method, c.path[:min(50, len(c.path))], len(a.body))
		}
	}
	f.want(t, 200, owner, patch, "/v1/organizations/default", object{"name": "Bücher & Söhne"})
	f.want(t, 200, owner, post, "/v1/auth/api-tokens/B%C3%BCcher%20%26%20S%C3%B6hne", nil)
	f.want(t, 200, owner, post, "/v1/members", object{"member": "zoë", "email": "zoe@example.com"})
	f.want(t, 200, owner, post, "/v1/databases/a/auth/tokens?subject="+strings.Repeat("x", 1000), nil)
	for _, e := range f.log(t, catalog.DefaultOrg) {
		if len(e.Data) > 10_000 || strings.Contains(string(e.Data), long) && e.Code != "db-token-create" {
			t.Errorf("%s has %d bytes", e.Code, len(e.Data))
		}
	}
}

// TestEmptyUploads: a file without anything is no database; a script that makes
// nothing, as the dump of an empty database, makes an empty one.
func TestEmptyUploads(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, post, "/v1/databases", object{"name": "a", "seed": object{"type": "database_upload"}})
	f.want(t, 422, owner, post, "/v1/databases/a/seed", "")
	url := f.upload(t, owner, "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCOMMIT;\n")
	f.want(t, 200, owner, post, "/v1/databases", object{"name": "b", "seed": object{"type": "dump", "url": url}})
	f.want(t, 200, owner, get, "/v1/databases/b", nil)
}

// fullDisk is databases whose disk is full.
type fullDisk struct{ Databases }

func (fullDisk) Create(context.Context, string) error {
	return &os.PathError{Op: "write", Path: "/var/lib/agentdb/history/7.log", Err: syscall.ENOSPC}
}

// TestFullDisk: that there is no room is told as such.
func TestFullDisk(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.Databases = fullDisk{cfg.Databases} })
	owner := f.token(t, catalog.DefaultUser)
	if a := f.want(t, 507, owner, post, "/v1/databases", object{"name": "a"}); strings.Contains(a.body, "/var") {
		t.Error(a.body)
	}
	f.want(t, 404, owner, get, "/v1/databases/a", nil)
}
