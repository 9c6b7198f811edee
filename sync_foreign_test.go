package agentdb_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// dropGuards drops guard triggers like another program, those of some
// operations or of all.
func dropGuards(t *testing.T, path string, ops ...string) {
	t.Helper()
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	st, _, err := c.Prepare("SELECT name FROM sqlite_schema WHERE name LIKE 'agentdb_guard_%'")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for {
		row, err := st.Step()
		if err != nil {
			t.Fatal(err)
		}
		if !row {
			break
		}
		names = append(names, st.ColumnText(0))
	}
	st.Finalize()
	for _, n := range names {
		if len(ops) > 0 && !strings.HasPrefix(n, "agentdb_guard_"+ops[0]) {
			continue
		}
		if err := c.Exec("DROP TRIGGER " + n); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSyncedFileWithoutURL opens a synced file as if it weren't one: it can be
// read, and a write says what is missing.
func TestSyncedFileWithoutURL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := agentdb.Open(t.Context(), path, &agentdb.Options{URL: "http://127.0.0.1:1/db/nobody"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), "CREATE TABLE t (v); INSERT INTO t VALUES ('synced')"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if db, err = agentdb.Open(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, write := range []string{"INSERT INTO t VALUES ('not sent')", "UPDATE t SET v = 1", "DELETE FROM t"} {
		_, err = db.Exec(t.Context(), write)
		if !errors.Is(err, agentdb.ErrReadOnly) || !strings.Contains(err.Error(), "URL") {
			t.Errorf("%s: %v", write, err)
		}
		_, err = db.SQL().ExecContext(t.Context(), write)
		if !errors.Is(err, agentdb.ErrReadOnly) {
			t.Errorf("%s, through database/sql: %v", write, err)
		}
	}
	if v, err := agentdb.Get[string](t.Context(), db, "SELECT v FROM t"); v != "synced" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

// TestDroppedGuards: a program that drops the guards and writes is noticed,
// whatever comes in between, and a copy of the file has what it wrote.
func TestDroppedGuards(t *testing.T) {
	for name, between := range map[string]func(t *testing.T, db *agentdb.DB){
		"nothing": func(*testing.T, *agentdb.DB) {},
		"a commit": func(t *testing.T, db *agentdb.DB) {
			runSQL(t, db, "INSERT INTO tasks(v) VALUES('mine')")
		},
		"a schema change": func(t *testing.T, db *agentdb.DB) {
			refused(t, db, "CREATE TABLE other(id INTEGER PRIMARY KEY)")
		},
		"a table that goes": func(t *testing.T, db *agentdb.DB) {
			refused(t, db, "DROP TABLE notes")
		},
	} {
		for _, open := range []bool{false, true} {
			for _, op := range []string{"insert", ""} {
				t.Run(fmt.Sprint(name, " ", open, " ", op), func(t *testing.T) {
					droppedGuards(t, open, op, between)
				})
			}
		}
	}
}

// refused runs a schema change that must wait for a sync.
func refused(t *testing.T, db *agentdb.DB, sql string) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql); !errors.Is(err, agentdb.ErrDiverged) {
		t.Errorf("%s: %v", sql, err)
	}
}

// TestForeignWhileSyncing: another program writes, and makes a table, while an
// answer with news is on its way.
func TestForeignWhileSyncing(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		srv := agentdbtest.NewServer(t)
		path := tmp(t)
		f := &transport{}
		a, b := agentAt(t, srv, path, agentdb.SyncFull, f), agent(t, srv, agentdb.SyncFull)
		runSQL(t, a, tasks)
		both(t, a, b)
		runSQL(t, b, "INSERT INTO tasks(v) VALUES('news')")
		mustSync(t, b)
		if snapshot {
			runSQL(t, a, "CREATE VIEW vw AS SELECT 1")
		}
		f.after = func() {
			f.after = nil
			raw(t, path, "CREATE TABLE theirs(id INTEGER PRIMARY KEY, v); INSERT INTO theirs VALUES(1,'adopted')")
		}
		if rep := mustSync(t, a); rep.Diverged != "" {
			t.Error("a new table is no divergence")
		}
		both(t, a, b)
		want(t, b, "SELECT v FROM theirs", "[[adopted]]")
		runSQL(t, b, "INSERT INTO tasks(v) VALUES('more news')")
		mustSync(t, b)
		f.after = func() {
			f.after = nil
			dropGuards(t, path)
			raw(t, path, "INSERT INTO tasks(id,v) VALUES(77,'foreign')")
		}
		rep := mustSync(t, a)
		if rep.Diverged == "" {
			t.Fatal("the write was not noticed")
		}
		want(t, agentdbtest.OpenFile(t, rep.Diverged, nil), "SELECT v FROM tasks WHERE id=77", "[[foreign]]")
		want(t, a, "SELECT v FROM tasks", "[[news] [more news]]")
	}
}

// TestForeignTableThenSchemaChange: a table that another program made is synced
// though the schema changes here before the next sync.
func TestForeignTableThenSchemaChange(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	a, b := agentAt(t, srv, path, agentdb.SyncFull, nil), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	mustSync(t, a)
	raw(t, path, "CREATE TABLE theirs(id INTEGER PRIMARY KEY, v); INSERT INTO theirs VALUES(1,'adopted')")
	runSQL(t, a, "CREATE TABLE IF NOT EXISTS tasks(other)") // changes nothing
	refused(t, a, "CREATE TABLE mine(id INTEGER PRIMARY KEY, v)")
	mustSync(t, a)
	runSQL(t, a, "CREATE TABLE mine(id INTEGER PRIMARY KEY, v)")
	raw(t, path, "CREATE INDEX theirs_too ON theirs(v)") // no guards come with it
	refused(t, a, "DROP TABLE mine")
	mustSync(t, a)
	runSQL(t, a, "DROP TABLE mine")
	both(t, a, b)
	want(t, b, "SELECT v FROM theirs", "[[adopted]]")
	want(t, b, "SELECT name FROM sqlite_schema WHERE name IN ('mine','theirs_too')", "[[theirs_too]]")
}

func droppedGuards(t *testing.T, open bool, op string, between func(t *testing.T, db *agentdb.DB)) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	a := agentAt(t, srv, path, agentdb.SyncFull, nil)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('first')")
	mustSync(t, a)
	if !open {
		_ = a.Close()
	}
	dropGuards(t, path, op)
	raw(t, path, "INSERT INTO tasks(id,v) VALUES(77,'foreign')")
	if !open {
		a = agentAt(t, srv, path, agentdb.SyncFull, nil)
	}
	between(t, a)
	rep := mustSync(t, a)
	if rep.Diverged == "" {
		t.Fatal("the write was not noticed")
	}
	kept := agentdbtest.OpenFile(t, rep.Diverged, nil)
	want(t, kept, "SELECT v FROM tasks WHERE id=77", "[[foreign]]")
	want(t, a, "SELECT count(*) FROM tasks WHERE v='first'", "[[1]]")
	want(t, a, "SELECT count(*) FROM tasks WHERE v='foreign'", "[[0]]")
	if rep := mustSync(t, a); rep.Diverged != "" {
		t.Error("diverged again")
	}
}
