package agentdb_test

import (
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// TestAdoptLargeFile: a file with more rows than a server takes in one
// transaction is joined in several, and its references hold.
func TestAdoptLargeFile(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	raw(t, path, `PRAGMA foreign_keys=OFF;
		CREATE TABLE parents(id INTEGER PRIMARY KEY AUTOINCREMENT, v BLOB);
		CREATE TABLE empty(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
		CREATE TABLE tree(id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree(id), v BLOB);
		CREATE TABLE x(id INTEGER PRIMARY KEY, y INTEGER REFERENCES y(id), v BLOB);
		CREATE TABLE y(id INTEGER PRIMARY KEY, x INTEGER REFERENCES x(id), parent INTEGER REFERENCES parents(id), v TEXT);
		CREATE TABLE ring(id INTEGER PRIMARY KEY, next INTEGER REFERENCES ring(id) DEFERRABLE INITIALLY DEFERRED, v BLOB);
		CREATE INDEX y_v ON y(v);
		CREATE VIRTUAL TABLE notes USING fts5(body);
		CREATE TRIGGER tr AFTER INSERT ON y BEGIN INSERT INTO empty(v) VALUES('fired'); END;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO parents SELECT i*2, zeroblob(50000) FROM n;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO tree SELECT i, nullif(i+1,301), zeroblob(50000) FROM n;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO x SELECT i, i+7, zeroblob(50000) FROM n;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO ring SELECT i, i%300+1, zeroblob(50000) FROM n;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<307) INSERT INTO y SELECT i, CASE WHEN i<=300 THEN i END, 2*min(i,300), 'y' || i FROM n;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<30) INSERT INTO notes SELECT hex(zeroblob(300000)) || ' word' || i FROM n;
		DELETE FROM empty`)
	a, b := agentAt(t, srv, path, agentdb.SyncFull, nil), agent(t, srv, agentdb.SyncFull)
	if n := a.Status().Pending; n < 4 {
		t.Errorf("adopted in %d transactions", n)
	}
	rep := mustSync(t, a)
	if rep.Conflicts != 0 || rep.BytesReceived > 1<<20 {
		t.Errorf("%+v", rep)
	}
	mustSync(t, b)
	runSQL(t, b, "INSERT INTO parents(v) VALUES('new')")
	runSQL(t, a, "INSERT INTO empty(v) VALUES('new')")
	both(t, a, b)
	for _, sql := range []string{
		"SELECT count(*), sum(id), sum(length(v)) FROM parents", "SELECT count(*), sum(up) FROM tree", "SELECT count(*), sum(next) FROM ring", "SELECT sum(y) FROM x",
		"SELECT count(*), sum(x), sum(parent), max(v) FROM y", "SELECT id, v FROM empty", "SELECT name, seq FROM sqlite_sequence ORDER BY 1",
		"SELECT rowid FROM notes('word17')", "SELECT * FROM agentdb_conflicts", "SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'agentdb%' ORDER BY 1, 2",
	} {
		want(t, b, sql, linesOf(t, a, sql))
	}
	want(t, b, "SELECT count(*) FROM empty", "[[1]]")
	want(t, b, "PRAGMA foreign_key_check", "[]")
}

// TestAdoptRings: rows that refer to one another are joined with their
// references, as far as these can be NULL for a moment or are deferred.
func TestAdoptRings(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	raw(t, path, `
		CREATE TABLE depts(id INTEGER PRIMARY KEY, head INTEGER REFERENCES emps(id), name TEXT);
		CREATE TABLE emps(id INTEGER PRIMARY KEY, dept INTEGER NOT NULL REFERENCES depts(id), boss INTEGER REFERENCES emps(id), name TEXT UNIQUE);
		CREATE TABLE words(word TEXT PRIMARY KEY, opposite TEXT REFERENCES words(word)) WITHOUT ROWID;
		CREATE TABLE pairs(id INTEGER PRIMARY KEY, other INTEGER NOT NULL REFERENCES pairs(id) DEFERRABLE INITIALLY DEFERRED);
		CREATE TRIGGER tr AFTER UPDATE ON depts BEGIN UPDATE emps SET name=name||'!'; END;
		INSERT INTO depts VALUES(1,NULL,'a'),(2,NULL,'b');
		INSERT INTO emps VALUES(10,1,NULL,'x'),(11,2,10,'y'),(12,1,11,'z');
		UPDATE depts SET head=12-id WHERE 0; INSERT INTO words VALUES('hot',NULL),('cold','hot');
		UPDATE words SET opposite='cold' WHERE word='hot'; UPDATE emps SET boss=12 WHERE id=10;
		BEGIN; INSERT INTO pairs VALUES(1,2),(2,1); COMMIT;
		DROP TRIGGER tr; UPDATE depts SET head=9+id;
		CREATE TRIGGER tr AFTER UPDATE ON depts BEGIN UPDATE emps SET name=name||'!'; END`)
	a, b := agentAt(t, srv, path, agentdb.SyncFull, nil), agent(t, srv, agentdb.SyncFull)
	both(t, a, b)
	for sql, want := range map[string]string{
		"SELECT * FROM depts":                           "[[1 10 a] [2 11 b]]",
		"SELECT * FROM emps":                            "[[10 1 12 x] [11 2 10 y] [12 1 11 z]]",
		"SELECT * FROM words":                           "[[cold hot] [hot cold]]",
		"SELECT * FROM pairs":                           "[[1 2] [2 1]]",
		"SELECT message, losing FROM agentdb_conflicts": "[]",
	} {
		alike(t, sql, want, a, b)
	}
}
