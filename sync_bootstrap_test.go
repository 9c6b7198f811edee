package agentdb_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// memories fills the server's database with some megabytes.
func memories(t *testing.T, srv *agentdbtest.Server) *agentdb.DB {
	t.Helper()
	db := agent(t, srv, agentdb.SyncFull)
	runSQL(t, db, "CREATE TABLE memory(id INTEGER PRIMARY KEY, body TEXT, n INT); CREATE INDEX by_n ON memory(n)")
	runSQL(t, db, "CREATE VIRTUAL TABLE found USING fts5(body)")
	runSQL(t, db, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<6000) INSERT INTO memory SELECT i, hex(randomblob(200)), i*i FROM c")
	mustSync(t, db)
	runSQL(t, db, "INSERT INTO found VALUES('an ant')")
	mustSync(t, db) // the server has no longer all commits in memory
	return db
}

const (
	summary = "SELECT count(*), sum(n), sum(length(body)), (SELECT count(*) FROM found WHERE found MATCH 'ant') FROM memory"
	summed  = "[[6000 72018001000 2400000 1]]"
)

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestBootstrapBesidesOthers: a second handle, a reader in a transaction and
// another program have the empty file open when it gets its content. The pages
// don't go through the WAL.
func TestBootstrapBesidesOthers(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	first := memories(t, srv)
	path := tmp(t)
	a, b := agentAt(t, srv, path, agentdb.SyncFull, nil), agentAt(t, srv, path, agentdb.SyncFull, nil)
	other, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if err := other.Exec("BEGIN; SELECT * FROM sqlite_schema"); err != nil {
		t.Fatal(err)
	}
	want(t, b, "SELECT count(*) FROM sqlite_schema WHERE name='memory'", "[[0]]")
	mustSync(t, a)
	if n := fileSize(t, path+"-wal"); n > 1<<20 {
		t.Errorf("the WAL has %d bytes", n)
	}
	if n, err := other.QueryInt("SELECT count(*) FROM sqlite_schema WHERE name='memory'"); n != 0 || err != nil {
		t.Errorf("the reader's state changed: %d, %v", n, err)
	}
	if err := other.Exec("COMMIT"); err != nil {
		t.Fatal(err)
	}
	if s, err := other.QueryText("PRAGMA integrity_check"); s != "ok" || err != nil {
		t.Errorf("%s, %v", s, err)
	}
	if n, err := other.QueryInt("SELECT count(*) FROM memory"); n != 6000 || err != nil {
		t.Errorf("the other program sees %d rows, %v", n, err)
	}
	alike(t, summary, summed, a, b, first)
	runSQL(t, b, "INSERT INTO memory(body, n) VALUES('mine', 0)")
	runSQL(t, b, "INSERT INTO found VALUES('a second ant')")
	runSQL(t, a, "DELETE FROM memory WHERE id%2=0")
	runSQL(t, a, "CREATE TABLE later(x)")
	both(t, b, a, first)
	alike(t, summary, "[[3001 35999999000 1200004 2]]", a, b, first)
	_ = b.Close()
	_ = a.Close()
	db := agentdbtest.OpenFile(t, path, nil)
	want(t, db, "PRAGMA integrity_check", "[[ok]]")
	want(t, db, summary, "[[3001 35999999000 1200004 2]]")
}

// TestBootstrapBesidesAnOldReader: somebody reads a state of the file older than
// its last, which keeps SQLite from copying the WAL.
func TestBootstrapBesidesAnOldReader(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	memories(t, srv)
	path := tmp(t)
	a := agentAt(t, srv, path, agentdb.SyncFull, nil)
	err := a.View(t.Context(), func(tx *agentdb.Tx) error {
		before := linesOf(t, a, "SELECT count(*) FROM agentdb_pending")
		if _, err := agentdb.Get[int](t.Context(), tx, "SELECT count(*) FROM agentdb_pending"); err != nil {
			return err
		}
		runSQL(t, a, "CREATE TABLE mine(x)")
		runSQL(t, a, "INSERT INTO mine VALUES(1)")
		mustSync(t, a)
		n, err := agentdb.Get[int](t.Context(), tx, "SELECT count(*) FROM agentdb_pending")
		if s := fmt.Sprintf("[[%d]]", n); s != before {
			t.Errorf("the reader's state changed from %s to %s", before, s)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, a, summary, summed)
	want(t, a, "SELECT x FROM mine", "[[1]]")
	want(t, a, "PRAGMA integrity_check", "[[ok]]")
}

// damage changes a byte of each answer, if it is on.
type damage struct {
	on bool
	at float64 // where, as a part of the body
}

func (d *damage) RoundTrip(r *http.Request) (*http.Response, error) {
	var f transport
	resp, err := f.RoundTrip(r)
	if err != nil || !d.on {
		return resp, err
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	b[int(d.at*float64(len(b)))] ^= 4
	resp.Body = io.NopCloser(&sliceReader{b})
	return resp, nil
}

type sliceReader struct{ b []byte }

func (s *sliceReader) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	return n, nil
}

// TestBootstrapDamaged: a snapshot that was damaged on the way changes nothing,
// wherever it was, and the next one is taken. What the file has of its own
// remains.
func TestBootstrapDamaged(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	memories(t, srv)
	path := tmp(t)
	d := &damage{on: true}
	a := agentAt(t, srv, path, agentdb.SyncFull, d)
	runSQL(t, a, "CREATE TABLE mine(x)")
	runSQL(t, a, "INSERT INTO mine VALUES(1)")
	before := int64(0)
	for i := range 16 {
		d.at = float64(i) / 16
		if _, err := a.Sync(t.Context()); !errors.Is(err, agentdb.ErrOffline) {
			t.Fatalf("damaged at %v: %v", d.at, err)
		}
		want(t, a, "SELECT (SELECT count(*) FROM sqlite_schema WHERE name='memory'), x FROM mine", "[[0 1]]")
		want(t, a, "PRAGMA integrity_check", "[[ok]]")
		if n := fileSize(t, path); n > 1<<20 {
			t.Errorf("damaged at %v: the file has %d bytes, it had %d", d.at, n, before)
		} else {
			before = n
		}
	}
	d.on = false
	mustSync(t, a)
	want(t, a, summary, summed)
	want(t, a, "SELECT x FROM mine", "[[1]]")
	want(t, a, "PRAGMA integrity_check", "[[ok]]")
}

// TestBootstrapWhileWriting: what is written while the snapshot is on its way
// is in the file in the end, and sent.
func TestBootstrapWhileWriting(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	first := memories(t, srv)
	f := &transport{}
	a := agentAt(t, srv, tmp(t), agentdb.SyncFull, f)
	f.after = func() {
		f.after = nil
		runSQL(t, a, "CREATE TABLE IF NOT EXISTS memory(id INTEGER PRIMARY KEY, body TEXT, n INT)")
		runSQL(t, a, "INSERT INTO memory(body, n) VALUES('mine', 7)")
	}
	mustSync(t, a)
	both(t, a, first)
	alike(t, "SELECT count(*), max(id) FROM memory WHERE body='mine'", "[[1 6001]]", a, first)
	alike(t, "SELECT count(*) FROM memory", "[[6001]]", a, first)
	want(t, a, "PRAGMA integrity_check", "[[ok]]")
}

// stall holds answers back after some bytes of their bodies.
type stall struct {
	after int
	fn    func()
}

func (s *stall) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		resp.Body = &stalled{ReadCloser: resp.Body, s: s}
	}
	return resp, err
}

type stalled struct {
	io.ReadCloser
	s *stall
	n int
}

func (s *stalled) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if s.n += n; s.n >= s.s.after && s.s.fn != nil {
		fn := s.s.fn
		s.s.fn = nil
		fn()
	}
	return n, err
}

// TestBootstrapStalls: a snapshot that comes fast at first and then not at all
// doesn't keep writers out.
func TestBootstrapStalls(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	first := memories(t, srv)
	runSQL(t, first, "WITH RECURSIVE c(i) AS (SELECT 6001 UNION ALL SELECT i+1 FROM c WHERE i<18000) INSERT INTO memory SELECT i, hex(randomblob(200)), 0 FROM c")
	mustSync(t, first)
	warm := agent(t, srv, agentdb.SyncFull)
	mustSync(t, warm) // the next snapshot needs no compressing
	s := &stall{after: 3 << 20}
	a := agentAt(t, srv, tmp(t), agentdb.SyncFull, s)
	wrote := false
	s.fn = func() {
		time.Sleep(100 * time.Millisecond)
		runSQL(t, a, "CREATE TABLE mine(x)")
		runSQL(t, a, "INSERT INTO mine VALUES(1)")
		wrote = true
	}
	mustSync(t, a)
	if !wrote {
		t.Error("the answer was too short for this test")
	}
	both(t, a, warm)
	alike(t, "SELECT count(*), (SELECT count(*) FROM mine) FROM memory", "[[18000 1]]", a, warm)
	want(t, a, "PRAGMA integrity_check", "[[ok]]")
}
