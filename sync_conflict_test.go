package agentdb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// TestReplaceOfUpdatedRow: REPLACE of a row that another agent has updated.
func TestReplaceOfUpdatedRow(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE u(id INTEGER PRIMARY KEY, mail TEXT UNIQUE, v)")
	runSQL(t, a, "INSERT INTO u VALUES(1,'x','old')")
	both(t, a, b)
	runSQL(t, b, "UPDATE u SET v='bee' WHERE id=1")
	runSQL(t, a, "INSERT OR REPLACE INTO u(mail,v) VALUES('x','new')")
	both(t, b, a)
	alike(t, "SELECT mail,v FROM u", "[[x new]]", a, b)
	want(t, a, "SELECT count(*) FROM agentdb_conflicts WHERE losing LIKE '%bee%'", "[[1]]")
}

// TestReplaceByBoth: two agents replace the same unique row.
func TestReplaceByBoth(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE u(id INTEGER PRIMARY KEY, mail TEXT UNIQUE, v)")
	runSQL(t, a, "INSERT INTO u VALUES(1,'x','old')")
	both(t, a, b)
	runSQL(t, a, "INSERT OR REPLACE INTO u(mail,v) VALUES('x','ay')")
	runSQL(t, b, "INSERT OR REPLACE INTO u(mail,v) VALUES('x','bee')")
	both(t, a, b)
	got := linesOf(t, a, "SELECT mail,v FROM u")
	if got != linesOf(t, b, "SELECT mail,v FROM u") {
		t.Error("they differ")
	}
	want(t, a, "SELECT count(*)>0 FROM agentdb_conflicts", "[[1]]")
}

// TestReplaceOfOwnParent: an update that replaces the row that its own refers to,
// which SQLite writes to the table and not to its indexes, is refused; one that
// replaces another row isn't.
func TestReplaceOfOwnParent(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	for _, options := range []string{"", " WITHOUT ROWID"} {
		name := "n" + fmt.Sprint(len(options))
		runSQL(t, a, "CREATE TABLE "+name+" (id INTEGER PRIMARY KEY, u UNIQUE ON CONFLICT REPLACE, p REFERENCES "+name+" ON DELETE SET NULL)"+options)
		runSQL(t, a, "CREATE INDEX of_"+name+" ON "+name+" (p)")
		runSQL(t, a, "INSERT INTO "+name+" VALUES (3, 4, NULL), (6, NULL, 3), (7, NULL, 3)")
		for range 2 {
			_, err := a.Exec(t.Context(), "UPDATE "+name+" SET u = 4 WHERE id = 6")
			if err == nil || !strings.Contains(err.Error(), "delete that row first") {
				t.Errorf("error %v", err)
			}
		}
		want(t, a, "SELECT * FROM "+name, "[[3 4 <nil>] [6 <nil> 3] [7 <nil> 3]]")
		want(t, a, "PRAGMA integrity_check", "[[ok]]")
		runSQL(t, a, "UPDATE "+name+" SET u = 5 WHERE id = 7")
		runSQL(t, a, "UPDATE "+name+" SET u = 5 WHERE id = 3") // replaces a child of its own
		both(t, a, b)
		alike(t, "SELECT * FROM "+name, "[[3 5 <nil>] [6 <nil> 3]]", a, b)
	}
}

// TestUniqueIndexMadeElsewhere: values that a new unique index elsewhere forbids.
func TestUniqueIndexMadeElsewhere(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE u(id INTEGER PRIMARY KEY, v)")
	both(t, a, b)
	runSQL(t, a, "CREATE UNIQUE INDEX i ON u(v)")
	mustSync(t, a)
	runSQL(t, b, "INSERT INTO u(v) VALUES('x'),('x')")
	both(t, b, a)
	alike(t, "SELECT v FROM u", "[[x]]", a, b)
	want(t, a, "SELECT kind FROM agentdb_conflicts", "[[unique]]")
}

// TestSameRealValues: equal values are no conflict, whole numbers in REAL columns among them.
func TestSameRealValues(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	for _, db := range []*agentdb.DB{a, b} {
		runSQL(t, db, "CREATE TABLE IF NOT EXISTS c(k TEXT PRIMARY KEY, x REAL)")
		runSQL(t, db, "INSERT INTO c VALUES('one', 1)")
		mustSync(t, db)
	}
	want(t, b, "SELECT count(*) FROM agentdb_conflicts", "[[0]]")
	runSQL(t, b, "UPDATE c SET x=2 WHERE k='one'")
	mustSync(t, b)
	mustSync(t, a)
	want(t, a, "SELECT x, typeof(x) FROM c", "[[2 real]]")
}

// TestManyConflicts: a transaction with many conflicts goes through.
func TestManyConflicts(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	for i, db := range []*agentdb.DB{a, b} {
		runSQL(t, db, "CREATE TABLE IF NOT EXISTS kv(k TEXT PRIMARY KEY, v)")
		runSQL(t, db, fmt.Sprintf("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 12000) INSERT INTO kv SELECT x, %d FROM c", i))
		mustSync(t, db)
	}
	want(t, b, "SELECT count(*) FROM agentdb_conflicts", "[[12000]]")
}
