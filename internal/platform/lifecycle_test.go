package platform

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/turso"
)

// slowDelete is databases whose deletion waits.
type slowDelete struct {
	Databases
	began, goOn chan struct{}
}

func (d *slowDelete) Delete(ctx context.Context, name string) error {
	d.began <- struct{}{}
	<-d.goOn
	return d.Databases.Delete(ctx, name)
}

// TestDeleteTwice: of two requests that delete a database at the same time one
// does: the other must not meet what has taken the name since.
func TestDeleteTwice(t *testing.T) {
	slow := &slowDelete{began: make(chan struct{}, 2), goOn: make(chan struct{})}
	f := newFixture(t, func(cfg *Config) { slow.Databases, cfg.Databases = cfg.Databases, slow })
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, post, "/v1/databases", map[string]any{"name": "a"})
	first := make(chan answer)
	go func() { first <- f.call(t, owner, del, "/v1/databases/a", nil) }()
	<-slow.began
	f.want(t, 404, owner, del, "/v1/databases/a", nil)
	f.want(t, 409, owner, post, "/v1/databases", map[string]any{"name": "a"})
	close(slow.goOn)
	if a := <-first; a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	f.want(t, 200, owner, post, "/v1/databases", map[string]any{"name": "a"})
	f.want(t, 200, owner, get, "/v1/databases/a/usage", nil)
}

// TestLeavingClients: a request that deletes or loads is finished, and in the
// audit log, though its client has left on the way.
func TestLeavingClients(t *testing.T) {
	slow := &slowDelete{began: make(chan struct{}, 2), goOn: make(chan struct{})}
	f := newFixture(t, func(cfg *Config) { slow.Databases, cfg.Databases = cfg.Databases, slow })
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, post, "/v1/databases", map[string]any{"name": "a"})
	ctx, leave := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, del, "/v1/databases/a", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+owner)
	done := make(chan answer)
	go func() { done <- f.do(t, r) }()
	<-slow.began
	leave()
	close(slow.goOn)
	<-done
	f.want(t, 200, owner, post, "/v1/databases", map[string]any{"name": "a"})
	log := f.want(t, 200, owner, get, "/v1/organizations/default/audit-logs?page_size=10", nil)
	if !strings.Contains(log.body, `"db-delete"`) {
		t.Errorf("the deletion is not in %s", log.body)
	}
}

// TestDefaultGroupDeleted: databases that a push makes find a place, and nobody's
// request fails, after the default group was deleted.
func TestDefaultGroupDeleted(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, del, "/v1/groups/default", nil)
	if _, err := f.manager.PullPages(t.Context(), "pulled", true, &turso.PullRequest{}); err != nil {
		t.Fatal(err)
	}
	a := f.want(t, 200, owner, get, "/v1/databases/pulled", nil)
	if a.at("database", "group") != "default" {
		t.Errorf("%s", a.body)
	}
	if a := f.call(t, owner, del, "/v1/organizations/default", nil); a.status != 409 {
		t.Errorf("the server's own organization can be deleted: %d %s", a.status, a.body)
	}
}

// TestSeedAfterDelete: an upload that was meant for a database does not become
// the contents of another one that took the name while it went on.
func TestSeedAfterDelete(t *testing.T) {
	f := newFixture(t, nil)
	alice := f.token(t, catalog.DefaultUser)
	if _, err := f.store.CreateOrg(t.Context(), catalog.Org{Slug: "bobs"}, "bob"); err != nil {
		t.Fatal(err)
	}
	bob := f.token(t, "bob")
	seeded := map[string]any{"name": "a", "seed": map[string]any{"type": "database_upload"}}
	f.want(t, 200, alice, post, "/v1/databases", seeded)
	body, send := io.Pipe()
	r := httptest.NewRequestWithContext(t.Context(), post, "/v1/databases/a/seed", body)
	r.Header.Set("Authorization", "Bearer "+alice)
	done := make(chan answer)
	go func() { done <- f.do(t, r) }()
	if _, err := io.WriteString(send, "SQLite"); err != nil {
		t.Fatal(err)
	}
	f.want(t, 200, alice, del, "/v1/databases/a", nil)
	f.want(t, 200, bob, post, "/v1/organizations/bobs/databases", seeded)
	send.Close()
	select {
	case a := <-done:
		if a.status != 404 {
			t.Errorf("%d %s", a.status, a.body)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the upload doesn't end")
	}
}

// TestForkStaysInItsGroup: the tokens of another group don't open a fork, unless
// it is put there.
func TestForkStaysInItsGroup(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, post, "/v1/groups", map[string]any{"name": "g"})
	f.want(t, 200, owner, post, "/v1/databases", map[string]any{"name": "a", "group": "g"})
	for name, group := range map[string]string{"b": "", "c": "default"} {
		f.want(t, 200, owner, post, "/v1/databases", map[string]any{"name": name, "group": group, "seed": map[string]any{"type": "database", "name": "a"}})
		want := cmp.Or(group, "g")
		if got := f.want(t, 200, owner, get, "/v1/databases/"+name, nil).at("database", "group"); got != want {
			t.Errorf("%s is in %v, want %v", name, got, want)
		}
	}
}
