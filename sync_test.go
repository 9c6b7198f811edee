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
