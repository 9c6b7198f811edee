package tenant_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/turso"
	"github.com/agentdb/agentdb/internal/wire"
)

// countingStore counts the pages that are read.
type countingStore struct {
	history.Store
	pages atomic.Int64
}

func (s *countingStore) Pages(ctx context.Context, id history.DBID, at uint64, only ...uint32) iter.Seq2[history.Page, error] {
	return func(yield func(history.Page, error) bool) {
		for p, err := range s.Store.Pages(ctx, id, at, only...) {
			s.pages.Add(1)
			if !yield(p, err) {
				return
			}
		}
	}
}

// snapshots is a Manager with the store beneath it.
type snapshots struct {
	*tenant.Manager
	store countingStore
	cache string
}

func newSnapshots(t *testing.T, cfg tenant.Config) *snapshots {
	t.Helper()
	store, err := history.Open(history.Options{Dir: filepath.Join(t.TempDir(), "history")})
	if err != nil {
		t.Fatal(err)
	}
	s := &snapshots{cache: filepath.Join(t.TempDir(), "cache")}
	s.store.Store = store
	cfg.Store, cfg.CacheDir = &s.store, s.cache
	if s.Manager, err = tenant.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(t.Context()), store.Close()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return s
}

// check asks for a snapshot, compares it with the history, and returns how many
// pages of the history it took.
func (s *snapshots) check(t *testing.T, name string) (read int) {
	t.Helper()
	before := s.store.pages.Load()
	ans, err := s.Sync(t.Context(), name, tenant.AccessFull, false, &wire.Request{Mode: wire.ModePull | wire.ModeSnapshot})
	if err != nil || ans.Response.Status != wire.StatusSnapshot {
		t.Fatal(err, ans)
	}
	var got []byte
	for msg, err := range ans.Pages {
		if err != nil {
			t.Fatal(err)
		}
		first, data, err := wire.DecodePages(nil, msg)
		if err != nil || int(first-1)*wire.PageSize != len(got) {
			t.Fatalf("page %d after %d bytes, %v", first, len(got), err)
		}
		got = append(got, data...)
	}
	read = int(s.store.pages.Load() - before)
	var want []byte
	for p, err := range s.store.Store.Pages(t.Context(), history.DBID(name), ans.Response.Head.Seq) {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, p.Data...)
		turso.ClearUnused(want[len(want)-wire.PageSize:], p.No, ans.Response.Pages)
	}
	if !bytes.Equal(got, want) || len(got) != int(ans.Response.Pages)*wire.PageSize {
		t.Fatalf("a snapshot of %d bytes differs from the history's %d", len(got), len(want))
	}
	return read
}

// files returns the files with chunks.
func (s *snapshots) files(t *testing.T) (paths []string, size int64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.cache, "snapshots"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			paths, size = append(paths, path), size+info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths, size
}

// fill is a change that makes a table of about 2 MB.
func fill(name string) []byte {
	return ddl(fmt.Sprintf("CREATE TABLE %s AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<2000) SELECT x, hex(randomblob(500)) AS y FROM c", name))
}

// TestSnapshotAgain: a second snapshot takes nothing from the history but what
// has changed since the first.
func TestSnapshotAgain(t *testing.T) {
	s := newSnapshots(t, tenant.Config{})
	c := &client{m: s.Manager, id: wire.ReplicaID{1}}
	push := func(bodies ...[]byte) {
		t.Helper()
		if res, err := c.push(t, bodies...); err != nil || rejected(res) > 0 {
			t.Fatal(err, res)
		}
	}
	push(fill("a"))
	if n := s.check(t, "db"); n < 500 {
		t.Errorf("the first snapshot took %d pages", n)
	}
	if n := s.check(t, "db"); n != 0 {
		t.Errorf("the second snapshot took %d pages", n)
	}
	push(ddl("CREATE TABLE small(x)"))
	if n := s.check(t, "db"); n == 0 || n > 3*wire.ChunkPages {
		t.Errorf("after a small change it took %d pages", n)
	}
	push(fill("b"))
	push(ddl("DROP TABLE a", "CREATE TABLE other(x)"))
	s.check(t, "db")
	push(fill("a"), fill("e"))
	s.check(t, "db")
	if n := s.check(t, "db"); n != 0 {
		t.Errorf("in the end it took %d pages", n)
	}
}

// TestSnapshotCacheDamaged: chunks that are gone or damaged are made anew.
func TestSnapshotCacheDamaged(t *testing.T) {
	s := newSnapshots(t, tenant.Config{})
	c := &client{m: s.Manager, id: wire.ReplicaID{1}}
	if _, err := c.push(t, fill("a")); err != nil {
		t.Fatal(err)
	}
	s.check(t, "db")
	paths, _ := s.files(t)
	for i, path := range paths {
		var err error
		switch i % 4 {
		case 0:
			err = os.Remove(path)
		case 1:
			err = os.Truncate(path, 100)
		case 2:
			err = os.WriteFile(path, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.check(t, "db")
	if n := s.check(t, "db"); n != 0 {
		t.Errorf("after damage was mended it took %d pages", n)
	}
	if err := os.RemoveAll(s.cache); err != nil {
		t.Fatal(err)
	}
	s.check(t, "db")
	s.check(t, "db")
}

// TestSnapshotCacheIsBounded: the cache stays within its bounds, and forgets
// deleted databases.
func TestSnapshotCacheIsBounded(t *testing.T) {
	const limit = 7 << 19
	s := newSnapshots(t, tenant.Config{MaxChunks: limit})
	for i := range 4 {
		name := fmt.Sprint("db", i)
		for j := range 1 + i {
			req := &wire.Request{Replica: wire.ReplicaID{byte(j + 1)}, First: 1, Changes: []wire.Change{{Nonce: 1, Body: fill(fmt.Sprint("t", j))}}}
			if _, err := s.Sync(t.Context(), name, tenant.AccessFull, true, req); err != nil {
				t.Fatal(err)
			}
		}
		s.check(t, name)
		s.check(t, name)
		if _, size := s.files(t); size > limit || size == 0 {
			t.Errorf("after %d databases there are %d bytes", i+1, size)
		}
	}
	for i := range 4 {
		if err := s.Delete(t.Context(), fmt.Sprint("db", i)); err != nil {
			t.Fatal(err)
		}
	}
	if paths, _ := s.files(t); len(paths) > 0 {
		t.Errorf("%d files of deleted databases are left", len(paths))
	}
}

// TestSnapshotsAtOnce: replicas start while others push.
func TestSnapshotsAtOnce(t *testing.T) {
	s := newSnapshots(t, tenant.Config{})
	c := &client{m: s.Manager, id: wire.ReplicaID{1}}
	if _, err := c.push(t, fill("a")); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	for range 3 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 8 {
				s.check(t, "db")
			}
		}()
	}
	for i := range 10 {
		if _, err := c.push(t, ddl(fmt.Sprintf("CREATE TABLE t%d(x)", i))); err != nil {
			t.Error(err)
		}
	}
	for range 3 {
		<-done
	}
}
