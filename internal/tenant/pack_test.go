package tenant_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/turso"
	"github.com/agentdb/agentdb/internal/wire"
)

// ask asks for pages as a Turso client does.
func (s *snapshots) ask(t *testing.T, req *turso.PullRequest) *tenant.PageAnswer {
	t.Helper()
	ans, err := s.PullPages(t.Context(), "db", false, req)
	if err != nil {
		t.Fatal(err)
	}
	return ans
}

// unzipped returns what an answer says, compressed and not, and compares both.
func unzipped(t *testing.T, ans *tenant.PageAnswer) []byte {
	t.Helper()
	body, err := ans.Gzip(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	var stream bytes.Buffer
	for b, err := range body.Parts {
		if err != nil {
			t.Fatal(err)
		}
		stream.Write(b)
	}
	if int64(stream.Len()) != body.Size() {
		t.Errorf("%d bytes, announced were %d", stream.Len(), body.Size())
	}
	z, err := gzip.NewReader(&stream)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	got, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	want := turso.AppendHeader(nil, ans.Revision, ans.Size)
	for p, err := range ans.Data {
		if err != nil {
			t.Fatal(err)
		}
		want = append(turso.AppendPageHead(want, p.No), p.Data...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes differ from the %d of the answer that is not compressed", len(got), len(want))
	}
	return got
}

// took returns how many pages of the history an answer's compression takes.
func (s *snapshots) took(t *testing.T, ans *tenant.PageAnswer) int {
	t.Helper()
	unzipped(t, ans)
	before := s.store.pages.Load()
	body, err := ans.Gzip(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body.Close()
	return int(s.store.pages.Load() - before)
}

func TestGzipOfPages(t *testing.T) {
	s := newSnapshots(t, tenant.Config{})
	c := &client{m: s.Manager, id: wire.ReplicaID{1}}
	push := func(bodies ...[]byte) {
		t.Helper()
		if res, err := c.push(t, bodies...); err != nil || rejected(res) > 0 {
			t.Fatal(err, res)
		}
	}
	push(fill("a"))
	first := s.ask(t, &turso.PullRequest{})
	if n := s.took(t, first); n != 0 {
		t.Errorf("all pages, once more: %d were read", n)
	}
	push(ddl("CREATE TABLE small(x)"))
	now := s.ask(t, &turso.PullRequest{})
	if n := s.took(t, now); n != 0 {
		t.Errorf("all pages after a small change, once more: %d were read", n)
	}
	if n := s.took(t, first); n == 0 { // it is of a revision before
		t.Error("no page was read of another revision than the cache's")
	}
	if n := s.took(t, now); n != 0 {
		t.Errorf("all pages after somebody asked for old ones: %d were read", n)
	}
	push(ddl("ALTER TABLE a DROP COLUMN x"))
	since := s.ask(t, &turso.PullRequest{ClientRevision: first.Revision})
	if n := s.took(t, since); n == 0 || n > 800 {
		t.Errorf("what has changed: %d pages were read", n)
	}
	unzipped(t, s.ask(t, &turso.PullRequest{ServerRevision: first.Revision}))
}

// TestGzipAtOnce: many who ask for the same at once wait for one of them.
func TestGzipAtOnce(t *testing.T) {
	s := newSnapshots(t, tenant.Config{})
	c := &client{m: s.Manager, id: wire.ReplicaID{1}}
	if res, err := c.push(t, fill("a")); err != nil || rejected(res) > 0 {
		t.Fatal(err, res)
	}
	ans := s.ask(t, &turso.PullRequest{})
	before := s.store.pages.Load()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			body, err := ans.Gzip(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			body.Close()
		})
	}
	wg.Wait()
	if n := s.store.pages.Load() - before; n != int64(len(ans.Pages)) {
		t.Errorf("%d pages were read of %d", n, len(ans.Pages))
	}
}

// TestGzipWithoutRoom: the error says so, whatever is missing, and nothing is
// kept of what was begun.
func TestGzipWithoutRoom(t *testing.T) {
	s := newSnapshots(t, tenant.Config{MaxSpooled: 3 << 20})
	c := &client{m: s.Manager, id: wire.ReplicaID{1}}
	if res, err := c.push(t, fill("a"), fill("b")); err != nil || rejected(res) > 0 {
		t.Fatal(err, res)
	}
	ans := s.ask(t, &turso.PullRequest{})
	one, err := ans.Gzip(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ans.Gzip(t.Context()); !errors.Is(err, tenant.ErrSpool) {
		t.Errorf("above the limit: %v", err)
	}
	one.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		if _, err := ans.Gzip(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("nobody waits for it: %v", err)
		}
		unzipped(t, ans)
	}
	if err := os.RemoveAll(s.cache); err != nil {
		t.Fatal(err)
	}
	if _, err := ans.Gzip(t.Context()); !errors.Is(err, tenant.ErrSpool) {
		t.Errorf("no directory: %v", err)
	}
	if err := s.Delete(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.cache, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ans.Gzip(t.Context()); !errors.Is(err, tenant.ErrNotFound) && !errors.Is(err, history.ErrNotFound) {
		t.Errorf("the database is gone: %v", err)
	}
	entries, err := os.ReadDir(s.cache)
	if err != nil || len(entries) > 0 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}
