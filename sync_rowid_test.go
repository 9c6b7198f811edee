package agentdb_test

import (
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// TestGeneratedRowid: a generated column that hides the rowid's name is like any other.
func TestGeneratedRowid(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE g(a, rowid TEXT AS (a||'x') STORED)")
	runSQL(t, a, "INSERT INTO g(a) VALUES('v')")
	both(t, a, b)
	alike(t, "SELECT a, rowid, oid FROM g", "[[v vx 1]]", a, b)
	runSQL(t, a, "INSERT INTO g(a) VALUES('of a')")
	runSQL(t, b, "INSERT INTO g(a) VALUES('of b'); UPDATE g SET a='w' WHERE a='v'")
	both(t, a, b)
	both(t, a, b)
	alike(t, "SELECT a, rowid, oid FROM g ORDER BY oid", "[[w wx 1] [of a of ax 2] [of b of bx 3]]", a, b)
	alike(t, "SELECT count(*) FROM agentdb_conflicts", "[[0]]", a, b)
}

// TestNoNameForRowid: columns that hide all of the rowid's names are refused, and nothing changes.
func TestNoNameForRowid(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE two(a, rowid, oid)")
	for _, sql := range []string{"CREATE TABLE h(rowid, oid, _rowid_)", "ALTER TABLE two ADD COLUMN _rowid_", "ALTER TABLE two RENAME a TO _rowid_"} {
		if _, err := a.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "rowid") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if err := a.Update(t.Context(), func(tx *agentdb.Tx) error {
		_, err := tx.Exec(t.Context(), "CREATE TABLE h(rowid, oid, _rowid_)")
		if err == nil {
			t.Error("no error in a transaction")
		}
		_, err = tx.Exec(t.Context(), "INSERT INTO two(a) VALUES(1)")
		return err
	}); err != nil {
		t.Error(err)
	}
	want(t, a, "SELECT count(*) FROM sqlite_schema WHERE name='h'", "[[0]]")
	want(t, a, "SELECT a FROM two", "[[1]]")
	mustSync(t, a)
}

// TestAdoptNoNameForRowid: a file with such a table isn't joined, and stays as it is.
func TestAdoptNoNameForRowid(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	raw(t, path, "CREATE TABLE h(rowid, oid, _rowid_); INSERT INTO h VALUES('x','y','z')")
	o := srv.Options("shared")
	o.Sync = agentdb.SyncFull
	db, err := agentdb.Open(t.Context(), path, o)
	if err == nil {
		_, err = db.Sync(t.Context())
		_ = db.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "rowid") {
		t.Errorf("%v", err)
	}
	local, err := agentdb.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	want(t, local, "SELECT rowid, oid, _rowid_ FROM h", "[[x y z]]")
}
