package agentdb_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// transport lets a test stand between a database and its server.
type transport struct {
	drop   atomic.Int32 // answers to lose
	before func()
	after  func()
}

func (f *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.before != nil {
		f.before()
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		b, rerr := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		resp.Body, err = io.NopCloser(bytes.NewReader(b)), rerr
	}
	if f.after != nil {
		f.after()
	}
	if f.drop.Add(-1) >= 0 {
		return nil, errors.New("the answer is lost")
	}
	f.drop.Store(0)
	return resp, err
}

// gate holds answers back, by the number of the request.
type gate struct {
	mu   sync.Mutex
	hold map[int]chan struct{}
	n    int
	got  chan int
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	g.mu.Lock()
	g.n++
	n := g.n
	g.mu.Unlock()
	resp, err := http.DefaultTransport.RoundTrip(r)
	g.mu.Lock()
	h := g.hold[n]
	g.mu.Unlock()
	g.got <- n
	if h != nil {
		<-h
	}
	return resp, err
}

// doubler sends each request twice at once and takes the later answer.
type doubler struct{ on bool }

func (f *doubler) RoundTrip(r *http.Request) (*http.Response, error) {
	if !f.on {
		return http.DefaultTransport.RoundTrip(r)
	}
	type res struct {
		resp *http.Response
		err  error
	}
	ch := make(chan res, 2)
	for range 2 {
		c := r.Clone(r.Context())
		c.Body, _ = r.GetBody()
		go func() {
			resp, err := http.DefaultTransport.RoundTrip(c)
			ch <- res{resp, err}
		}()
	}
	first := <-ch
	second := <-ch
	if first.err == nil {
		_ = first.resp.Body.Close()
	}
	return second.resp, second.err
}

// agentAt opens a synced file through a transport of the test's; nil: none.
func agentAt(t *testing.T, srv *agentdbtest.Server, path string, mode agentdb.SyncMode, f http.RoundTripper) *agentdb.DB {
	t.Helper()
	o := srv.Options("shared")
	o.Sync, o.Synchronous = mode, "OFF"
	if f != nil {
		o.HTTPClient = &http.Client{Transport: f}
	}
	db, err := agentdb.Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// want compares what a query returns.
func want(t *testing.T, db *agentdb.DB, sql, want string) {
	t.Helper()
	if got := linesOf(t, db, sql); got != want {
		t.Errorf("%s: %s, want %s", sql, got, want)
	}
}

// alike is want for several databases.
func alike(t *testing.T, sqlText, wantText string, dbs ...*agentdb.DB) {
	t.Helper()
	for _, db := range dbs {
		want(t, db, sqlText, wantText)
	}
}

// both syncs some databases until all have everything.
func both(t *testing.T, dbs ...*agentdb.DB) {
	t.Helper()
	for range 2 {
		for _, db := range dbs {
			mustSync(t, db)
		}
	}
}

// raw writes to a file like another program.
func raw(t *testing.T, path, sql string) {
	t.Helper()
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(sql); err != nil {
		t.Fatal(err)
	}
}

// tmp returns the path of a new file.
func tmp(t *testing.T) string { return filepath.Join(t.TempDir(), "agent.db") }

// tasks is a schema with a reference.
const tasks = `CREATE TABLE IF NOT EXISTS tasks(id INTEGER PRIMARY KEY, v TEXT);
	CREATE TABLE IF NOT EXISTS notes(id INTEGER PRIMARY KEY, task INTEGER REFERENCES tasks(id), v TEXT)`
