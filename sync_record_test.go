package agentdb_test

import (
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// TestRecordSaysWhatWasWritten: the record of a refused row has the ids that
// its author wrote, whatever they stand for now.
func TestRecordSaysWhatWasWritten(t *testing.T) {
	for _, pullFirst := range []bool{false, true} {
		recordSays(t, pullFirst)
	}
}

func recordSays(t *testing.T, pullFirst bool) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, `CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE ch(id INTEGER PRIMARY KEY, t INT REFERENCES t(id), v)`)
	runSQL(t, a, "INSERT INTO t VALUES(4,'first')")
	both(t, a, b)
	runSQL(t, b, "INSERT INTO ch VALUES(1,NULL,'mine')")
	both(t, a, b)
	runSQL(t, a, "DELETE FROM t WHERE id=4")
	runSQL(t, a, "INSERT INTO t VALUES(4,'second')")
	mustSync(t, a)
	runSQL(t, b, "INSERT INTO ch VALUES(2,4,'new')")
	runSQL(t, b, "UPDATE ch SET t=4 WHERE id=1")
	if pullFirst { // the change is redone here before it is sent
		if _, err := b.Pull(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, b)
	mustSync(t, a)
	alike(t, "SELECT kind, key, losing FROM agentdb_conflicts ORDER BY id",
		`[[foreign-key 2 {"id":2,"t":4,"v":"new"}] [foreign-key 1 {"id":1,"t":4}]]`, a, b)
}
