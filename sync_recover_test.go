package agentdb_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// TestPushModeThenFull: a file that only pushed is opened in full mode.
func TestPushModeThenFull(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	a := agentAt(t, srv, path, agentdb.SyncPush, nil)
	b := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('a1')")
	mustSync(t, a)
	mustSync(t, b)
	runSQL(t, b, "INSERT INTO tasks(v) VALUES('b1')")
	mustSync(t, b)
	_ = a.Close()
	a = agentAt(t, srv, path, agentdb.SyncFull, nil)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('a2')")
	rep := mustSync(t, a)
	if rep.Diverged != "" {
		t.Error("diverged")
	}
	want(t, a, "SELECT id,v FROM tasks", "[[1 a1] [2 b1] [3 a2]]")
}

// TestPushModeThenFullUnsynced: the same before its first sync.
func TestPushModeThenFullUnsynced(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	a := agentAt(t, srv, path, agentdb.SyncPush, nil)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('a1')")
	_ = a.Close()
	a = agentAt(t, srv, path, agentdb.SyncFull, nil)
	rep := mustSync(t, a)
	if rep.Diverged != "" {
		t.Error("diverged")
	}
	want(t, a, "SELECT id,v FROM tasks", "[[1 a1]]")
}

// TestServerLostEverything: a server that lost everything gets it again.
func TestServerLostEverything(t *testing.T) {
	for _, mode := range []agentdb.SyncMode{agentdb.SyncFull, agentdb.SyncPush} {
		t.Run(mode.String(), func(t *testing.T) {
			srv, srv2 := agentdbtest.NewServer(t), agentdbtest.NewServer(t)
			path := tmp(t)
			a := agentAt(t, srv, path, mode, nil)
			runSQL(t, a, tasks)
			runSQL(t, a, "INSERT INTO tasks(v) VALUES('a1')")
			mustSync(t, a)
			runSQL(t, a, "INSERT INTO tasks(v) VALUES('a2')")
			mustSync(t, a)
			_ = a.Close()
			a = agentAt(t, srv2, path, mode, nil)
			runSQL(t, a, "INSERT INTO tasks(v) VALUES('a3')")
			if rep := mustSync(t, a); rep.Resent != 4 {
				t.Errorf("%d transactions were sent again", rep.Resent)
			}
			want(t, a, "SELECT id,v FROM tasks", "[[1 a1] [2 a2] [3 a3]]")
			b := agent(t, srv2, agentdb.SyncFull)
			mustSync(t, b)
			want(t, b, "SELECT id,v FROM tasks", "[[1 a1] [2 a2] [3 a3]]")
		})
	}
}

// TestServerLostMoreThanIsKept: if it lost more than the file keeps to send again, a copy of the file is kept.
func TestServerLostMoreThanIsKept(t *testing.T) {
	srv, srv2 := agentdbtest.NewServer(t), agentdbtest.NewServer(t)
	path := tmp(t)
	a := agentAt(t, srv, path, agentdb.SyncFull, nil)
	runSQL(t, a, tasks)
	for range 300 {
		runSQL(t, a, "INSERT INTO tasks(v) VALUES('x')")
	}
	mustSync(t, a)
	_ = a.Close()
	a = agentAt(t, srv2, path, agentdb.SyncFull, nil)
	rep := mustSync(t, a)
	if rep.Diverged == "" {
		t.Fatal("there is no copy")
	}
	copied := agentdbtest.OpenFile(t, rep.Diverged, nil)
	want(t, copied, "SELECT count(*) FROM tasks", "[[300]]")
}

// TestResendToOccupiedServer: what is sent again gets new ids where others have taken them.
func TestResendToOccupiedServer(t *testing.T) {
	srv, srv2 := agentdbtest.NewServer(t), agentdbtest.NewServer(t)
	path := tmp(t)
	a := agentAt(t, srv, path, agentdb.SyncPush, nil)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('a1')")
	mustSync(t, a)
	_ = a.Close()
	b := agent(t, srv2, agentdb.SyncFull)
	runSQL(t, b, tasks)
	runSQL(t, b, "INSERT INTO tasks(v) VALUES('b1')")
	mustSync(t, b)
	a = agentAt(t, srv2, path, agentdb.SyncPush, nil)
	runSQL(t, a, "INSERT INTO notes(task,v) VALUES(1,'n1')")
	mustSync(t, a)
	want(t, a, "SELECT id,v FROM tasks", "[[2 a1]]")
	want(t, a, "SELECT id,task,v FROM notes", "[[1 2 n1]]")
	mustSync(t, b)
	want(t, b, "SELECT t.id,t.v,n.v FROM tasks t LEFT JOIN notes n ON n.task=t.id", "[[1 b1 <nil>] [2 a1 n1]]")
}

// TestResendRenumberedRows: the same for rows that had been renumbered before.
func TestResendRenumberedRows(t *testing.T) {
	srv, srv2 := agentdbtest.NewServer(t), agentdbtest.NewServer(t)
	path := tmp(t)
	for _, s := range []*agentdbtest.Server{srv, srv2} {
		b := agent(t, s, agentdb.SyncFull)
		runSQL(t, b, tasks)
		runSQL(t, b, "INSERT INTO tasks(v) VALUES('b1')")
		if s == srv2 {
			runSQL(t, b, "INSERT INTO tasks(v) VALUES('b2')")
		}
		mustSync(t, b)
	}
	a := agentAt(t, srv, path, agentdb.SyncPush, nil)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('a1')")
	mustSync(t, a)
	want(t, a, "SELECT id,v FROM tasks", "[[2 a1]]")
	_ = a.Close()
	a = agentAt(t, srv2, path, agentdb.SyncPush, nil)
	runSQL(t, a, "INSERT INTO notes(task,v) VALUES(2,'n1')")
	mustSync(t, a)
	want(t, a, "SELECT id,v FROM tasks", "[[3 a1]]")
	want(t, a, "SELECT id,task,v FROM notes", "[[1 3 n1]]")
	b := agent(t, srv2, agentdb.SyncFull)
	mustSync(t, b)
	want(t, b, "SELECT t.id,t.v,n.v FROM tasks t LEFT JOIN notes n ON n.task=t.id", "[[1 b1 <nil>] [2 b2 <nil>] [3 a1 n1]]")
}

// TestCopiedWithLostAnswer: a copy of a file whose last answer was lost.
func TestCopiedWithLostAnswer(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	f := &transport{}
	a := agentAt(t, srv, path, agentdb.SyncFull, f)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('one')")
	mustSync(t, a)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('two')")
	f.drop.Store(1)
	_, _ = a.Sync(t.Context())
	_ = a.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	a = agentAt(t, srv, path, agentdb.SyncFull, nil)
	c := agentAt(t, srv, copied, agentdb.SyncFull, nil)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('a3')")
	runSQL(t, c, "INSERT INTO tasks(v) VALUES('c3')")
	runSQL(t, c, "INSERT INTO notes(task,v) SELECT id, 'of '||v FROM tasks")
	runSQL(t, a, "INSERT INTO notes(task,v) SELECT id, 'of '||v FROM tasks WHERE v='a3'")
	if _, err := c.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	both(t, a, c)
	alike(t, "SELECT v FROM tasks ORDER BY v", "[[a3] [c3] [one] [two]]", a, c)
	alike(t, "SELECT t.v,n.v FROM tasks t JOIN notes n ON n.task=t.id ORDER BY n.v", "[[a3 of a3] [c3 of c3] [one of one] [two of two]]", a, c)
}

// TestCloseDuringSync: a database is closed while the server answers.
func TestCloseDuringSync(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	f := &transport{}
	a := agentAt(t, srv, path, agentdb.SyncFull, f)
	runSQL(t, a, tasks)
	mustSync(t, a)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('x')")
	hold, in := make(chan struct{}), make(chan struct{})
	f.after = func() { close(in); <-hold }
	done := make(chan error, 1)
	go func() { _, err := a.Sync(t.Context()); done <- err }()
	<-in
	f.after = nil
	go func() { time.Sleep(20 * time.Millisecond); close(hold) }()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil && !errors.Is(err, agentdb.ErrClosed) {
		t.Log(err) // whether it got through is open
	}
	a = agentAt(t, srv, path, agentdb.SyncFull, nil)
	mustSync(t, a)
	want(t, a, "SELECT id,v FROM tasks", "[[1 x]]")
}

// TestAdoptBesideFullText: a table made by another program is adopted, and full-text rows are not sent twice.
func TestAdoptBesideFullText(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	a := agentAt(t, srv, path, agentdb.SyncFull, nil)
	runSQL(t, a, `CREATE VIRTUAL TABLE f USING fts5(v)`)
	runSQL(t, a, `INSERT INTO f VALUES('one')`)
	mustSync(t, a)
	_ = a.Close()
	raw(t, path, "CREATE TABLE extra(id INTEGER PRIMARY KEY, v); INSERT INTO extra VALUES(1,'e')")
	a = agentAt(t, srv, path, agentdb.SyncFull, nil)
	mustSync(t, a)
	want(t, a, "SELECT v FROM f", "[[one]]")
	b := agent(t, srv, agentdb.SyncFull)
	mustSync(t, b)
	want(t, b, "SELECT v FROM f", "[[one]]")
	want(t, b, "SELECT v FROM extra", "[[e]]")
}

// TestForeignFileFormats: files that no snapshot could be put into are refused when they are opened.
func TestForeignFileFormats(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	b := agent(t, srv, agentdb.SyncFull)
	runSQL(t, b, "CREATE TABLE big(v)")
	runSQL(t, b, "INSERT INTO big VALUES(randomblob(3000000))")
	mustSync(t, b)
	for _, pragma := range []string{"PRAGMA page_size=8192", "PRAGMA encoding='UTF-16le'"} {
		path := tmp(t)
		raw0, err := sqlite.Open(path, sqlite.Options{NoWAL: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := raw0.Exec(pragma + "; CREATE TABLE mine(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO mine VALUES(1,'ä')"); err != nil {
			t.Fatal(err)
		}
		_ = raw0.Close()
		if _, err := agentdb.Open(t.Context(), path, srv.Options("shared")); err == nil {
			t.Errorf("%s: no error", pragma)
		}
	}
}

// TestVacuumByOthers: another program's VACUUM gives rows without a key other
// rowids; that is noticed before a change of others is applied.
func TestVacuumByOthers(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	a := agentAt(t, srv, path, agentdb.SyncFull, nil)
	b := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE t(v)")
	runSQL(t, a, "INSERT INTO t VALUES('1'),('2'),('3'),('4')")
	runSQL(t, a, "DELETE FROM t WHERE v='1'")
	both(t, a, b)
	_ = a.Close()
	raw(t, path, "VACUUM")
	a = agentAt(t, srv, path, agentdb.SyncFull, nil)
	runSQL(t, b, "UPDATE t SET v='three' WHERE v='3'")
	mustSync(t, b)
	rep := mustSync(t, a)
	if rep.Diverged == "" {
		t.Error("it was not noticed")
	}
	want(t, a, "SELECT v FROM t ORDER BY v", "[[2] [4] [three]]")
	runSQL(t, a, "UPDATE t SET v='two' WHERE v='2'")
	both(t, a, b)
	want(t, a, "SELECT v FROM t ORDER BY v", "[[4] [three] [two]]")
	want(t, b, "SELECT v FROM t ORDER BY v", "[[4] [three] [two]]")
}

// TestWriteAfterVacuumByOthers: and before one of the file's own is captured.
func TestWriteAfterVacuumByOthers(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	a := agentAt(t, srv, path, agentdb.SyncFull, nil)
	b := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE t(v)")
	runSQL(t, a, "INSERT INTO t VALUES('1'),('2'),('3'),('4')")
	runSQL(t, a, "DELETE FROM t WHERE v='1'")
	both(t, a, b)
	_ = a.Close()
	raw(t, path, "VACUUM")
	a = agentAt(t, srv, path, agentdb.SyncFull, nil)
	if _, err := a.Exec(t.Context(), "UPDATE t SET v='two' WHERE v='2'"); !errors.Is(err, agentdb.ErrDiverged) {
		t.Errorf("a write before the next sync: %v", err)
	}
	srv.Stop()
	if _, err := a.Sync(t.Context()); !errors.Is(err, agentdb.ErrOffline) {
		t.Errorf("offline: %v", err)
	}
	srv.Start()
	both(t, a, b)
	runSQL(t, a, "UPDATE t SET v='two' WHERE v='2'")
	both(t, a, b)
	want(t, b, "SELECT v FROM t ORDER BY v", "[[3] [4] [two]]")
	want(t, a, "SELECT v FROM t ORDER BY v", "[[3] [4] [two]]")
}

// TestOwnVacuum: VACUUM by this program gives the file another schema version,
// and is nobody else's schema change.
func TestOwnVacuum(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	runSQL(t, a, "VACUUM")
	runSQL(t, a, "ALTER TABLE tasks ADD COLUMN extra TEXT")
	rep := mustSync(t, a)
	if rep.Diverged != "" {
		t.Errorf("diverged: %s", rep.Diverged)
	}
}

// TestVacuumInDisguise: VACUUM is refused, where it would renumber rows,
// however it is written.
func TestVacuumInDisguise(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	a := agentAt(t, srv, path, agentdb.SyncFull, nil)
	runSQL(t, a, "CREATE TABLE t(v)")
	runSQL(t, a, "INSERT INTO t VALUES('1'),('2')")
	runSQL(t, a, "DELETE FROM t WHERE v='1'")
	for _, sql := range []string{
		"VACUUM", "vacuum;", " VACUUM main", "/* x */ VACUUM", "-- x\nVACUUM", "/* a */ -- b\n /**/vacuum/* into */main", ";;VACUUM", "; /* x */ ; VACUUM", "VACUUM -- into",
	} {
		if _, err := a.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "renumber") {
			t.Errorf("%q: %v", sql, err)
		}
	}
	want(t, a, "SELECT rowid FROM t", "[[2]]")
	for i, sql := range []string{"VACUUM INTO ?", "/* x */VACUUM main INTO ?"} {
		runSQL(t, a, sql, fmt.Sprint(path, ".copy", i))
	}
}
