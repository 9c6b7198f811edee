package agentdb_test

import (
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// dropped lists the values of rows that were dropped with their table.
const dropped = "SELECT losing->>'v' FROM agentdb_conflicts WHERE kind='delete' AND table_name IN ('t','old') ORDER BY 1"

// TestDropTakesUnseenRows: a DROP TABLE deletes what its author had not seen: that is recorded. What it had seen, or wrote
// itself, is not.
func TestDropTakesUnseenRows(t *testing.T) {
	const anew = "CREATE TABLE new(id INTEGER PRIMARY KEY, v, n); INSERT INTO new(id,v) SELECT id,v FROM t; "
	for name, script := range map[string]string{
		"drop":        `DROP TABLE "T"`,
		"drop if":     "drop /* it */ table if exists main.t;",
		"twice":       "DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'mine'),(3,'mine'); DROP TABLE t",
		"rebuild":     anew + "DROP TABLE t; ALTER TABLE new RENAME TO t",
		"rebuild two": anew + "DROP TABLE t; ALTER TABLE new RENAME TO t; CREATE TABLE new AS SELECT * FROM t; DROP TABLE t; ALTER TABLE new RENAME TO t",
		"move away":   "ALTER TABLE T RENAME TO old; CREATE TABLE t(id INTEGER PRIMARY KEY, v, n); INSERT INTO t(id,v) SELECT id,v FROM old; DROP TABLE old",
		"moved twice": "ALTER TABLE t RENAME TO x; ALTER TABLE x RENAME TO old; DROP TABLE old",
		"in one":      "BEGIN; INSERT INTO t VALUES(7,'mine'); " + anew + "DROP TABLE t; ALTER TABLE new RENAME TO t; COMMIT",
	} {
		t.Run(name, func(t *testing.T) {
			srv := agentdbtest.NewServer(t)
			a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
			runSQL(t, a, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'one'),(2,'two')")
			both(t, a, b)
			runSQL(t, a, "INSERT INTO t VALUES(3,'unseen'); UPDATE t SET v='changed' WHERE id=2")
			mustSync(t, a)
			runSQL(t, b, "INSERT INTO t VALUES(9,'mine')")
			runSQL(t, b, script)
			both(t, b, a)
			alike(t, dropped, "[[changed] [unseen]]", a, b)
		})
	}
}

// TestDropByNewReplica: two agents begin with the same migrations offline: the one that syncs later drops the other's rows.
func TestDropByNewReplica(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	for _, db := range []*agentdb.DB{a, b} {
		runSQL(t, db, `CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE new(id INTEGER PRIMARY KEY, v, n);
			INSERT INTO new(id,v) SELECT id,v FROM t; DROP TABLE t; ALTER TABLE new RENAME TO t`)
	}
	runSQL(t, a, "INSERT INTO t(v) VALUES('of a')")
	runSQL(t, b, "INSERT INTO t(v) VALUES('of b')")
	both(t, a, b)
	alike(t, "SELECT v FROM t", "[[of b]]", a, b)
	alike(t, dropped, "[[of a]]", a, b)
}

// TestDropOnServer: UpdateOnServer doesn't drop a table with rows that its function has not seen.
func TestDropOnServer(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	both(t, a, b)
	runSQL(t, a, "INSERT INTO t VALUES(3,'unseen')")
	mustSync(t, a)
	var seen []int
	err := b.UpdateOnServer(t.Context(), func(tx *agentdb.Tx) error {
		n, err := agentdb.Get[int](t.Context(), tx, "SELECT count(*) FROM t")
		if err != nil {
			return err
		}
		seen = append(seen, n)
		_, err = tx.Exec(t.Context(), "DROP TABLE t")
		return err
	})
	if err != nil || len(seen) != 2 || seen[1] != 1 {
		t.Errorf("%v, it saw %v rows", err, seen)
	}
}
