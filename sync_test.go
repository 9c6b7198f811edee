package agentdb_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// agent opens a fresh synced file.
func agent(t *testing.T, srv *agentdbtest.Server, mode agentdb.SyncMode) *agentdb.DB {
	t.Helper()
	o := srv.Options("shared")
	o.Sync, o.Synchronous = mode, "OFF"
	db, err := agentdb.Open(t.Context(), filepath.Join(t.TempDir(), "agent.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func runSQL(t *testing.T, db *agentdb.DB, sql string, args ...any) agentdb.Result {
	t.Helper()
	res, err := db.Exec(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return res
}

func mustSync(t *testing.T, db *agentdb.DB) agentdb.Report {
	t.Helper()
	rep, err := db.Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func linesOf(t *testing.T, db *agentdb.DB, sql string) string {
	t.Helper()
	rows, err := agentdb.All[[]any](context.Background(), db, sql)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(rows)
}

// TestCommonStart is the way most fleets begin: every agent creates the same
// tables and inserts, offline.
func TestCommonStart(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	const schema = `CREATE TABLE IF NOT EXISTS tasks(id INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT);
		CREATE TABLE IF NOT EXISTS notes(id INTEGER PRIMARY KEY, task INTEGER NOT NULL REFERENCES tasks(id), who TEXT)`
	var dbs []*agentdb.DB
	for i := range 4 {
		db := agent(t, srv, agentdb.SyncFull)
		runSQL(t, db, schema)
		who := fmt.Sprint("agent ", i)
		res := runSQL(t, db, "INSERT INTO tasks(who) VALUES(?)", who)
		runSQL(t, db, "INSERT INTO notes(task,who) VALUES(?,?)", res.LastInsertID, who)
		dbs = append(dbs, db)
	}
	for i, db := range dbs {
		rep := mustSync(t, db)
		if rep.RoundTrips != 1 {
			t.Errorf("agent %d: %d round trips", i, rep.RoundTrips)
		}
		if i > 0 && len(rep.IDs) != 2 {
			t.Errorf("agent %d: ids %v", i, rep.IDs)
		}
	}
	want := ""
	for i := len(dbs) - 1; i >= 0; i-- {
		mustSync(t, dbs[i])
		got := linesOf(t, dbs[i], "SELECT t.id, t.who, n.who FROM tasks t JOIN notes n ON n.task=t.id WHERE t.who=n.who ORDER BY 1")
		if want == "" {
			want = got
		}
		if got != want || linesOf(t, dbs[i], "SELECT count(*) FROM tasks") != "[[4]]" {
			t.Errorf("agent %d has %s, want %s", i, got, want)
		}
	}
	t.Log(want)
}

// TestPushLearnsIDs: a replica that only pushes gets its rows' final ids, also
// when the same sync made tables, triggers and indexes that can't be undone.
func TestPushLearnsIDs(t *testing.T) {
	schemas := map[string]string{
		"plain":   `CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE TABLE IF NOT EXISTS c(p INTEGER REFERENCES t(id))`,
		"trigger": `CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE TABLE IF NOT EXISTS c(p INTEGER REFERENCES t(id)); CREATE TRIGGER IF NOT EXISTS tt AFTER INSERT ON t BEGIN SELECT 1; END`,
		"fts": `CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE TABLE IF NOT EXISTS c(p INTEGER REFERENCES t(id)); CREATE VIRTUAL TABLE IF NOT EXISTS f USING fts5(v, content='t', content_rowid='id');
			CREATE TRIGGER IF NOT EXISTS ti AFTER INSERT ON t BEGIN INSERT INTO f(rowid, v) VALUES(new.id, new.v); END`,
	}
	for name, schema := range schemas {
		t.Run(name, func(t *testing.T) {
			srv := agentdbtest.NewServer(t)
			for i := range 3 {
				db := agent(t, srv, agentdb.SyncPush)
				runSQL(t, db, schema)
				runSQL(t, db, "INSERT INTO t(v) VALUES(?),(?)", fmt.Sprint("a", i), fmt.Sprint("b", i))
				rep := mustSync(t, db)
				if i > 0 && len(rep.IDs) != 2 {
					t.Errorf("agent %d: ids %v", i, rep.IDs)
				}
				runSQL(t, db, "INSERT INTO c(p) SELECT id FROM t")
				runSQL(t, db, "UPDATE t SET v=v||'!'")
				mustSync(t, db)
				if name == "fts" {
					runSQL(t, db, "INSERT INTO f(f) VALUES('integrity-check')")
				}
			}
			all := agent(t, srv, agentdb.SyncPull)
			mustSync(t, all)
			if got := linesOf(t, all, "SELECT id, v, p FROM t LEFT JOIN c ON p=id ORDER BY 1"); got != "[[1 a0! 1] [2 b0! 2] [3 a1! 3] [4 b1! 4] [5 a2! 5] [6 b2! 6]]" {
				t.Error(got)
			}
		})
	}
}

// TestConflictSaysWhatWasWritten: a row that refers to one that is gone is
// recorded with the id that its author wrote.
func TestConflictSaysWhatWasWritten(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE ch(id INTEGER PRIMARY KEY, t INTEGER REFERENCES t(id)); INSERT INTO t VALUES(4,'old')")
	mustSync(t, a)
	mustSync(t, b)
	runSQL(t, a, "DELETE FROM t WHERE id=4; INSERT INTO t VALUES(4,'new')")
	mustSync(t, a)
	runSQL(t, b, "INSERT INTO ch VALUES(1,4)")
	if _, err := b.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustSync(t, b)
	if got := linesOf(t, b, "SELECT kind, key, losing FROM agentdb_conflicts"); got != `[[foreign-key 1 {"id":1,"t":4}]]` {
		t.Error(got)
	}
	if got := linesOf(t, b, "SELECT count(*) FROM ch"); got != "[[0]]" {
		t.Error(got)
	}
}
