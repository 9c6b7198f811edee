package agentdb_test

import (
	"context"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// TestRenamedTableKeepsIDs: an agent renames a table after it inserted a row that gets another id: what it then says
// about the row by its old id means that row, not the one of another agent that has the id.
func TestRenamedTableKeepsIDs(t *testing.T) {
	for tx, words := range map[string][2]string{"each": {"", ""}, "one": {"BEGIN;", ";COMMIT"}} {
		t.Run(tx, func(t *testing.T) {
			srv := agentdbtest.NewServer(t)
			a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
			runSQL(t, a, tasks)
			runSQL(t, b, tasks)
			runSQL(t, a, "INSERT INTO tasks VALUES(1,'a'); INSERT INTO notes VALUES(1,1,'of a')")
			runSQL(t, b, words[0]+`INSERT INTO tasks VALUES(1,'b'),(2,'b2'); ALTER TABLE "tasks" RENAME TO [Jobs];
				INSERT INTO notes VALUES(1,1,'of b'); UPDATE jobs SET v='b changed' WHERE id=1`+words[1])
			both(t, a)
			mustSync(t, b)
			runSQL(t, b, "UPDATE jobs SET v='b changed again' WHERE v='b changed'; INSERT INTO notes(task,v) SELECT id,'of b2' FROM jobs WHERE v='b2'")
			both(t, b, a)
			alike(t, "SELECT j.v,n.v FROM notes n JOIN jobs j ON j.id=n.task ORDER BY 1", "[[a of a] [b changed again of b] [b2 of b2]]", a, b)
		})
	}
}

// TestRenamedTablePushMode: in push mode a table with rows that the server may still give other ids can't be renamed;
// after a push it can.
func TestRenamedTablePushMode(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncPush)
	runSQL(t, a, tasks)
	runSQL(t, b, tasks)
	runSQL(t, b, "CREATE TABLE empty(id INTEGER PRIMARY KEY); ALTER TABLE empty RENAME TO filled")
	runSQL(t, a, "INSERT INTO tasks VALUES(1,'a'); INSERT INTO notes VALUES(1,1,'of a')")
	runSQL(t, b, "INSERT INTO tasks VALUES(1,'b'),(2,'b2')")
	const rename = "ALTER TABLE tasks RENAME TO jobs"
	for _, sql := range []string{rename, "CREATE TABLE new(id INTEGER PRIMARY KEY, v); INSERT INTO new SELECT * FROM tasks; DROP TABLE tasks; ALTER TABLE new RENAME TO tasks"} {
		err := b.Update(t.Context(), func(tx *agentdb.Tx) error { return execAll(t.Context(), tx, sql) })
		if err == nil || !strings.Contains(err.Error(), "Push first") {
			t.Fatal(err)
		}
	}
	want(t, b, "SELECT count(*) FROM tasks", "[[2]]")
	both(t, a)
	mustSync(t, b)
	runSQL(t, b, rename)
	runSQL(t, b, "INSERT INTO notes VALUES(1,(SELECT id FROM jobs WHERE v='b'),'of b'); UPDATE jobs SET v='b changed' WHERE v='b'")
	mustSync(t, b)
	runSQL(t, b, "UPDATE jobs SET v='b changed again' WHERE v='b changed'; INSERT INTO notes(task,v) SELECT id,'of b2' FROM jobs WHERE v='b2'")
	mustSync(t, b)
	mustSync(t, a)
	want(t, a, "SELECT j.v,n.v FROM notes n JOIN jobs j ON j.id=n.task ORDER BY 1", "[[a of a] [b changed again of b] [b2 of b2]]")
}

// TestRebuiltTableKeepsIDs: the same for a table that is made anew under its name, as migrations do.
func TestRebuiltTableKeepsIDs(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	both(t, a, b)
	runSQL(t, a, "INSERT INTO t VALUES(1,'a')")
	runSQL(t, b, `INSERT INTO t VALUES(1,'b1'),(2,'b2'),(3,'b3');
		CREATE TABLE new(id INTEGER PRIMARY KEY, v, n); INSERT INTO new(id,v) SELECT id,v FROM t; DROP TABLE t; ALTER TABLE new RENAME TO t;
		UPDATE t SET n=id; DELETE FROM t WHERE id=3`)
	both(t, a, b)
	alike(t, "SELECT v,n FROM t ORDER BY v", "[[b1 1] [b2 2]]", a, b)
	want(t, a, "SELECT kind,losing FROM agentdb_conflicts", `[[delete {"id":1,"v":"a"}]]`) // b had not seen it
}

// TestRenamedTableLostAnswer: the same if the answer to the push with the rename was lost, and is asked for again with
// what was written since; and if a change with a rename is refused.
func TestRenamedTableLostAnswer(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	f := &transport{}
	a, b := agent(t, srv, agentdb.SyncFull), agentAt(t, srv, tmp(t), agentdb.SyncFull, f)
	runSQL(t, a, tasks)
	both(t, a, b)
	runSQL(t, a, "INSERT INTO tasks VALUES(1,'a')")
	mustSync(t, a)
	runSQL(t, b, "INSERT INTO tasks VALUES(1,'b'); ALTER TABLE tasks RENAME TO jobs")
	f.drop.Store(1)
	if _, err := b.Sync(t.Context()); err == nil {
		t.Fatal("no error")
	}
	runSQL(t, b, "INSERT INTO notes VALUES(1,1,'of b'); UPDATE jobs SET v='b changed' WHERE id=1")
	both(t, b, a)
	alike(t, "SELECT j.v,n.v FROM jobs j LEFT JOIN notes n ON j.id=n.task ORDER BY 1", "[[a <nil>] [b changed of b]]", a, b)
}

// TestRenamedTableRefused: a rename is rolled back along with its change, which violates a deferred foreign key: the
// table's name is the old one for what is known of its rows, too.
func TestRenamedTableRefused(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks+`; CREATE TABLE late(id INTEGER PRIMARY KEY, task REFERENCES tasks DEFERRABLE INITIALLY DEFERRED); INSERT INTO tasks VALUES(9,'nine')`)
	both(t, a, b)
	runSQL(t, a, "INSERT INTO tasks VALUES(1,'a'); DELETE FROM tasks WHERE id=9")
	mustSync(t, a)
	runSQL(t, b, "INSERT INTO tasks VALUES(1,'b')")
	runSQL(t, b, "BEGIN; INSERT INTO late VALUES(1,9); ALTER TABLE tasks RENAME TO jobs; COMMIT; ALTER TABLE jobs RENAME TO tasks; INSERT INTO notes VALUES(1,1,'of b')")
	both(t, b, a)
	alike(t, "SELECT j.v,n.v FROM tasks j LEFT JOIN notes n ON j.id=n.task ORDER BY 1", "[[a <nil>] [b of b]]", a, b)
}

// TestTableRenamedByOthers: a row is refused, since others have renamed its table: what refers to it doesn't refer to
// the row that has its id there.
func TestTableRenamedByOthers(t *testing.T) {
	for name, again := range map[string]string{"renamed": "", "twice": "ALTER TABLE jobs RENAME TO work; ALTER TABLE work RENAME TO jobs", "made anew": "CREATE TABLE tasks(id INTEGER PRIMARY KEY, v TEXT)"} {
		t.Run(name, func(t *testing.T) {
			srv := agentdbtest.NewServer(t)
			a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
			runSQL(t, a, tasks)
			both(t, a, b)
			runSQL(t, a, "ALTER TABLE Tasks RENAME TO jobs; INSERT INTO jobs VALUES(1,'a');"+again)
			mustSync(t, a)
			runSQL(t, b, "INSERT INTO tasks VALUES(1,'b'); INSERT INTO notes VALUES(1,1,'of b')")
			both(t, b, a)
			alike(t, "SELECT * FROM notes", "[]", a, b)
			alike(t, "SELECT kind,losing FROM agentdb_conflicts WHERE table_name='notes'", `[[foreign-key {"id":1,"task":1,"v":"of b"}]]`, a, b)
		})
	}
}

// execAll runs the statements of a text.
func execAll(ctx context.Context, tx *agentdb.Tx, text string) error {
	for _, sql := range strings.Split(text, ";") {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}
