package agentdb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// TestAutoincrementInComment: a comment makes no counter.
func TestAutoincrementInComment(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE t(id INTEGER PRIMARY KEY, -- no AUTOINCREMENT\n v)")
	runSQL(t, a, "INSERT INTO t(v) VALUES(1)")
	mustSync(t, a)
	mustSync(t, b)
	want(t, b, "SELECT * FROM t", "[[1 1]]")
}

// TestViewOverView: rows written through views over views could not be told apart.
func TestViewOverView(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, `CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE VIEW v1 AS SELECT v FROM t; CREATE VIEW v2 AS SELECT v FROM t;
		CREATE TRIGGER i1 INSTEAD OF INSERT ON v1 BEGIN INSERT INTO t(v) VALUES(new.v); END;
		CREATE TRIGGER i2 INSTEAD OF INSERT ON v2 BEGIN INSERT INTO v1 VALUES(new.v); END`)
	mustSync(t, a)
	if _, err := a.Exec(t.Context(), "INSERT INTO v2 VALUES('x')"); err == nil {
		t.Error("no error")
	}
}

// TestViewOverFullText: the same for views over full-text tables.
func TestViewOverFullText(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, `CREATE VIRTUAL TABLE f USING fts5(v); CREATE VIEW v1 AS SELECT v FROM f;
		CREATE TRIGGER i1 INSTEAD OF INSERT ON v1 BEGIN INSERT INTO f(v) VALUES(new.v); END`)
	mustSync(t, a)
	if _, err := a.Exec(t.Context(), "INSERT INTO v1 VALUES('x')"); err == nil {
		t.Error("no error")
	}
}

// TestAnalyze: statistics stay local.
func TestAnalyze(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	runSQL(t, a, "CREATE INDEX i ON tasks(v)")
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('a1')")
	runSQL(t, a, "ANALYZE")
	runSQL(t, a, "PRAGMA optimize")
	mustSync(t, a)
	want(t, a, "SELECT count(*) FROM agentdb_conflicts", "[[0]]")
	want(t, a, "SELECT v FROM tasks", "[[a1]]")
	mustSync(t, a)
	runSQL(t, a, "ANALYZE")
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('a2')")
	mustSync(t, a)
	want(t, a, "SELECT count(*) FROM agentdb_conflicts", "[[0]]")
}

// TestUnderminingPragmas: settings that let writes past the capture are refused.
func TestUnderminingPragmas(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	for _, p := range []string{"PRAGMA foreign_keys=OFF", "PRAGMA writable_schema=ON", "PRAGMA foreign_keys(0)", "PRAGMA main.writable_schema=1", "PRAGMA journal_mode=DELETE"} {
		if _, err := a.Exec(t.Context(), p); err == nil {
			t.Errorf("%s: no error", p)
		}
	}
	if _, err := a.Exec(t.Context(), "INSERT INTO notes(task,v) VALUES(99,'x')"); err == nil {
		t.Error("foreign keys are off")
	}
}

// TestOwnTablesAreOutOfReach: agentdb's own tables are nobody else's.
func TestOwnTablesAreOutOfReach(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	mustSync(t, a)
	for _, sql := range []string{
		"ALTER TABLE agentdb_conflicts ADD COLUMN x NOT NULL DEFAULT 1",
		"ALTER TABLE agentdb_conflicts RENAME TO c",
		"ALTER TABLE agentdb_conflicts DROP COLUMN winning",
		"CREATE TRIGGER tr BEFORE INSERT ON agentdb_conflicts BEGIN SELECT RAISE(IGNORE); END",
		"CREATE UNIQUE INDEX ix ON agentdb_conflicts(table_name)",
		"CREATE TABLE x1(a); ALTER TABLE x1 RENAME TO agentdb_sync2",
		"CREATE TABLE x2(a); ALTER TABLE x2 RENAME TO [AGENTDB_pending2]",
		"CREATE TRIGGER tr2 AFTER INSERT ON tasks BEGIN DELETE FROM agentdb_pending; END",
		"DROP TABLE agentdb_conflicts", "DROP TABLE agentdb_sync", "CREATE TRIGGER agentdb_guard_x AFTER INSERT ON tasks BEGIN SELECT 1; END",
		"DROP INDEX IF EXISTS agentdb_x",
	} {
		if _, err := a.Exec(t.Context(), sql); err == nil && !strings.HasPrefix(sql, "DROP INDEX") {
			t.Errorf("%s: no error", sql)
		}
	}
}

// TestRolledBackSchema: a schema change is rolled back, and another one takes its version.
func TestRolledBackSchema(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	a := agentAt(t, srv, path, agentdb.SyncFull, nil)
	a2 := agentAt(t, srv, path, agentdb.SyncFull, nil)
	b := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE t(a, b)")
	if err := a.Update(t.Context(), func(tx *agentdb.Tx) error {
		if _, err := tx.Exec(t.Context(), "CREATE TABLE notes(v)"); err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), "INSERT INTO notes(v) VALUES('x')"); err != nil {
			return err
		}
		return fmt.Errorf("no")
	}); err == nil {
		t.Fatal("no error")
	}
	runSQL(t, a2, "CREATE VIRTUAL TABLE notes USING fts5(v)")
	runSQL(t, a, "INSERT INTO notes(v) VALUES('x')")
	runSQL(t, a, "INSERT INTO t VALUES(1,2)")
	mustSync(t, a)
	mustSync(t, b)
	want(t, b, "SELECT * FROM notes", "[[x]]")
	want(t, b, "SELECT * FROM t", "[[1 2]]")
}

// TestSchemaComments: comments don't make a table another one.
func TestSchemaComments(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE t(id INTEGER PRIMARY KEY, /* what */ v TEXT) -- a's")
	runSQL(t, b, "create table T /* b's */ (id INTEGER PRIMARY KEY,\n-- what\nv TEXT)")
	runSQL(t, b, "INSERT INTO t(v) VALUES('b')")
	both(t, a, b)
	alike(t, "SELECT v FROM t", "[[b]]", a, b)
	alike(t, "SELECT count(*) FROM agentdb_conflicts", "[[0]]", a, b)
}

// TestParentMadeAnew: a table's references mean what its parent is now, though nothing was said about the table itself.
func TestParentMadeAnew(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE kid(id INTEGER PRIMARY KEY, up REFERENCES parent, v)")
	runSQL(t, a, "CREATE TABLE parent(k TEXT PRIMARY KEY); DROP TABLE parent; CREATE TABLE parent(id INTEGER PRIMARY KEY, v)")
	both(t, a, b)
	for i, db := range []*agentdb.DB{a, b} {
		runSQL(t, db, fmt.Sprintf("INSERT INTO parent VALUES(1,'%d'); INSERT INTO kid VALUES(1,1,'%[1]d')", i))
	}
	both(t, a, b)
	alike(t, "SELECT p.v,k.v FROM kid k JOIN parent p ON p.id=k.up ORDER BY 1", "[[0 0] [1 1]]", a, b)
	runSQL(t, b, "DROP TABLE kid; DROP TABLE parent; CREATE TABLE parent(id TEXT PRIMARY KEY, v); CREATE TABLE kid(id INTEGER PRIMARY KEY, up REFERENCES parent, v)")
	both(t, b, a)
	for i, db := range []*agentdb.DB{a, b} {
		runSQL(t, db, fmt.Sprintf("INSERT INTO parent VALUES('%d','%[1]d'); INSERT INTO kid VALUES(1,'%[1]d','%[1]d')", i))
	}
	both(t, a, b)
	alike(t, "SELECT p.v,k.v FROM kid k JOIN parent p ON p.id=k.up ORDER BY 1", "[[0 0] [1 1]]", a, b)
}
