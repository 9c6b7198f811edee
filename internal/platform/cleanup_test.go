package platform

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
)

// badDelete is databases that can't be deleted while it is broken.
type badDelete struct {
	Databases
	broken atomic.Bool
	calls  atomic.Int32
}

func (d *badDelete) Delete(ctx context.Context, name string) error {
	d.calls.Add(1)
	if d.broken.Load() {
		return errors.New("the history can't be written")
	}
	return d.Databases.Delete(ctx, name)
}

// stuck returns a fixture with databases a and b whose deletion has failed.
func stuck(t *testing.T) (f *fixture, owner string, bad *badDelete) {
	t.Helper()
	bad = &badDelete{}
	f = newFixture(t, func(cfg *Config) { bad.Databases, cfg.Databases = cfg.Databases, bad })
	owner = f.token(t, catalog.DefaultUser)
	bad.broken.Store(true)
	for _, name := range []string{"a", "b"} {
		f.want(t, 200, owner, post, "/v1/databases", object{"name": name})
		f.want(t, 500, owner, del, "/v1/databases/"+name, nil)
		f.want(t, 404, owner, get, "/v1/databases/"+name, nil)
		f.want(t, 409, owner, post, "/v1/databases", object{"name": name})
	}
	return f, owner, bad
}

// unfinished counts the databases that are neither there nor gone.
func (f *fixture) unfinished(t *testing.T) int {
	t.Helper()
	all, err := f.store.Unfinished()
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestFailedDeleteFreesName: the name of a database whose deletion has failed is
// free as soon as it is possible, for whoever asks for it.
func TestFailedDeleteFreesName(t *testing.T) {
	f, owner, bad := stuck(t)
	bad.broken.Store(false)
	if _, err := f.store.CreateOrg(t.Context(), catalog.Org{Slug: "bobs"}, "bob"); err != nil {
		t.Fatal(err)
	}
	f.want(t, 200, f.token(t, "bob"), post, "/v1/organizations/bobs/databases", object{"name": "a"})
	f.want(t, 404, owner, get, "/v1/databases/a", nil)
	f.want(t, 200, owner, post, "/v1/databases", object{"name": "b", "seed": object{"type": "dump", "url": f.upload(t, owner, "CREATE TABLE t(x);")}})
	if n := f.unfinished(t); n != 0 {
		t.Errorf("%d are not finished", n)
	}
}

// TestFailedDeleteIsTriedAgain: in the background, and at a start, which it
// doesn't prevent.
func TestFailedDeleteIsTriedAgain(t *testing.T) {
	f, _, bad := stuck(t)
	if f.CleanUp(t.Context()) == nil {
		t.Error("it reports no error")
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Errorf("at a start: %v", err)
	}
	if n := f.unfinished(t); n != 2 {
		t.Errorf("%d are not finished", n)
	}
	bad.broken.Store(false)
	if err := f.CleanUp(t.Context()); err != nil || f.unfinished(t) != 0 {
		t.Errorf("%d are not finished, %v", f.unfinished(t), err)
	}
	names, err := f.manager.List(t.Context(), "", 10)
	if err != nil || len(names) != 0 {
		t.Errorf("there are %v, %v", names, err)
	}
}

// TestFailedCreateFreesName: nor does a creation block its name that has failed
// and can't be undone.
func TestFailedCreateFreesName(t *testing.T) {
	f, owner, bad := stuck(t)
	f.want(t, 422, owner, post, "/v1/databases", object{"name": "c", "seed": object{"type": "dump", "url": f.upload(t, owner, "no SQL;")}})
	f.want(t, 409, owner, post, "/v1/databases", object{"name": "c"})
	bad.broken.Store(false)
	f.want(t, 200, owner, post, "/v1/databases", object{"name": "c"})
}

// TestCleanUpLeavesWhatGoesOn: a database that is just being deleted isn't
// deleted twice.
func TestCleanUpLeavesWhatGoesOn(t *testing.T) {
	slow := &slowDelete{began: make(chan struct{}, 2), goOn: make(chan struct{})}
	count := &badDelete{Databases: slow}
	f := newFixture(t, func(cfg *Config) { slow.Databases, cfg.Databases = cfg.Databases, count })
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, post, "/v1/databases", object{"name": "a"})
	done := make(chan answer)
	go func() { done <- f.call(t, owner, del, "/v1/databases/a", nil) }()
	<-slow.began
	if err := f.CleanUp(t.Context()); err != nil {
		t.Error(err)
	}
	f.want(t, 409, owner, post, "/v1/databases", object{"name": "a"})
	close(slow.goOn)
	if a := <-done; a.status != 200 || count.calls.Load() != 1 {
		t.Errorf("%d %s, %d deletions", a.status, a.body, count.calls.Load())
	}
}
