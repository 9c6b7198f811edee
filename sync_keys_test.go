package agentdb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// TestReusedIDAfterLostAnswer: a row whose answer was lost is deleted by another agent, and its id given to
// another row: what its author says about it must not hit that one.
func TestReusedIDAfterLostAnswer(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	f := &transport{}
	a := agentAt(t, srv, tmp(t), agentdb.SyncFull, f)
	b := agent(t, srv, agentdb.SyncFull)
	runSQL(t, b, tasks)
	runSQL(t, b, "INSERT INTO tasks(v) VALUES('b1')")
	mustSync(t, b)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(id,v) VALUES(1,'a1')") // becomes 2
	f.drop.Store(1)
	if _, err := a.Sync(t.Context()); err == nil {
		t.Fatal("no error")
	}
	mustSync(t, b)
	runSQL(t, b, "DELETE FROM tasks WHERE v='a1'")
	runSQL(t, b, "INSERT INTO tasks(v) VALUES('b2')")
	want(t, b, "SELECT id FROM tasks WHERE v='b2'", "[[2]]")
	mustSync(t, b)
	runSQL(t, a, "INSERT INTO notes(task,v) VALUES(1,'of a1')")
	runSQL(t, a, "UPDATE tasks SET v='a1 more' WHERE id=1")
	mustSync(t, a)
	mustSync(t, b)
	want(t, b, "SELECT id,v FROM tasks", "[[1 b1] [2 b2]]")
	want(t, b, "SELECT * FROM notes", "[]")
	want(t, a, "SELECT id,v FROM tasks", "[[1 b1] [2 b2]]")
}

// TestReusedIDFarBehind: the same for a replica that is so far behind that it gets a snapshot.
func TestReusedIDFarBehind(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks+`; CREATE TABLE big(id INTEGER PRIMARY KEY, v)`)
	runSQL(t, a, "INSERT INTO tasks(id,v) VALUES(1,'a1'),(2,'a2')")
	mustSync(t, a)
	mustSync(t, b)
	runSQL(t, b, "DELETE FROM tasks WHERE id=2")
	runSQL(t, b, "INSERT INTO tasks(id,v) VALUES(2,'b2')")
	mustSync(t, b)
	for range 3 {
		runSQL(t, b, "INSERT OR REPLACE INTO big VALUES(1,randomblob(900000))")
		mustSync(t, b)
	}
	runSQL(t, a, "INSERT INTO notes(task,v) VALUES(2,'of a2')")
	runSQL(t, a, "UPDATE tasks SET v='a2 more' WHERE id=2")
	mustSync(t, a)
	want(t, a, "SELECT id,v FROM tasks", "[[1 a1] [2 b2]]")
	want(t, a, "SELECT * FROM notes", "[]")
	want(t, a, "SELECT count(*) FROM agentdb_conflicts", "[[2]]")
}

// TestRefusedIDMoveAcrossRequests: an id that a row was moved to is taken: later changes, in another request,
// mean the row where it was, not the one that has the id.
func TestRefusedIDMoveAcrossRequests(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	f := &transport{}
	a := agentAt(t, srv, tmp(t), agentdb.SyncFull, f)
	b := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(id,v) VALUES(5,'a5')")
	mustSync(t, a)
	mustSync(t, b)
	runSQL(t, b, "INSERT INTO tasks(id,v) VALUES(50,'b50')")
	mustSync(t, b)
	runSQL(t, a, "UPDATE tasks SET id=50 WHERE id=5")
	f.drop.Store(1)
	if _, err := a.Sync(t.Context()); err == nil {
		t.Fatal("no error")
	}
	runSQL(t, a, "UPDATE tasks SET v='a5 more' WHERE id=50")
	mustSync(t, a)
	want(t, a, "SELECT id,v FROM tasks", "[[5 a5 more] [50 b50]]")
	mustSync(t, b)
	want(t, b, "SELECT id,v FROM tasks", "[[5 a5 more] [50 b50]]")
}

// TestRefusedIDMoveIsRecorded: a move that a pull finds to be impossible is still recorded.
func TestRefusedIDMoveIsRecorded(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(id,v) VALUES(5,'a5')")
	mustSync(t, a)
	mustSync(t, b)
	runSQL(t, b, "INSERT INTO tasks(id,v) VALUES(50,'b50')")
	mustSync(t, b)
	runSQL(t, a, "UPDATE tasks SET id=50 WHERE id=5")
	runSQL(t, a, "UPDATE tasks SET v='a5 more' WHERE id=50")
	if _, err := a.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, a, "SELECT id,v FROM tasks", "[[5 a5 more] [50 b50]]")
	mustSync(t, a)
	want(t, a, "SELECT id,v FROM tasks", "[[5 a5 more] [50 b50]]")
	want(t, a, "SELECT count(*) FROM agentdb_conflicts", "[[1]]")
}

// TestRefusedKeyMove: the same for natural keys.
func TestRefusedKeyMove(t *testing.T) {
	for name, ddl := range map[string]string{
		"rowid":   "CREATE TABLE IF NOT EXISTS kv(k TEXT PRIMARY KEY, v TEXT)",
		"norowid": "CREATE TABLE IF NOT EXISTS kv(k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID",
	} {
		for _, lost := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " lost"}[lost], func(t *testing.T) {
				srv := agentdbtest.NewServer(t)
				f := &transport{}
				a := agentAt(t, srv, tmp(t), agentdb.SyncFull, f)
				b := agent(t, srv, agentdb.SyncFull)
				runSQL(t, a, ddl)
				runSQL(t, a, "INSERT INTO kv VALUES('a','1')")
				mustSync(t, a)
				mustSync(t, b)
				runSQL(t, b, "INSERT INTO kv VALUES('b','b')")
				mustSync(t, b)
				runSQL(t, a, "UPDATE kv SET k='b' WHERE k='a'")
				if lost {
					f.drop.Store(1)
					if _, err := a.Sync(t.Context()); err == nil {
						t.Fatal("no error")
					}
				}
				runSQL(t, a, "UPDATE kv SET v='2' WHERE k='b'")
				mustSync(t, a)
				want(t, a, "SELECT k,v FROM kv ORDER BY k", "[[a 2] [b b]]")
				mustSync(t, b)
				want(t, b, "SELECT k,v FROM kv ORDER BY k", "[[a 2] [b b]]")
			})
		}
	}
}

// TestKeyColumnRenamed: a write that finds its row by a column that was renamed is not lost silently.
func TestKeyColumnRenamed(t *testing.T) {
	for name, ddl := range map[string]string{
		"natural": "CREATE TABLE kv(k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID",
		"ipk":     "CREATE TABLE kv(k INTEGER PRIMARY KEY, v TEXT)",
		"rowid":   "CREATE TABLE kv(k TEXT PRIMARY KEY, v TEXT)",
	} {
		for op, sql := range map[string]string{"delete": "DELETE FROM kv WHERE k=1", "update": "UPDATE kv SET v='2' WHERE k=1"} {
			t.Run(name+" "+op, func(t *testing.T) {
				srv := agentdbtest.NewServer(t)
				a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
				runSQL(t, a, ddl)
				runSQL(t, a, "INSERT INTO kv VALUES(1,'1')")
				mustSync(t, a)
				mustSync(t, b)
				runSQL(t, b, "ALTER TABLE kv RENAME COLUMN k TO name")
				mustSync(t, b)
				runSQL(t, a, sql)
				mustSync(t, a)
				left := linesOf(t, a, "SELECT v FROM kv")
				n := linesOf(t, a, "SELECT count(*) FROM agentdb_conflicts")
				applied := left == "[]" && op == "delete" || left == "[[2]]" && op == "update"
				if !applied && n == "[[0]]" {
					t.Errorf("lost silently: %s", left)
				}
			})
		}
	}
}

// TestCascadeOnUnseenChild: a row that its parent's deletion took along unseen is recorded.
func TestCascadeOnUnseenChild(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, `CREATE TABLE p(id INTEGER PRIMARY KEY, v); CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p(id) ON DELETE CASCADE, v)`)
	runSQL(t, a, "INSERT INTO p VALUES(1,'p')")
	mustSync(t, a)
	mustSync(t, b)
	runSQL(t, b, "INSERT INTO c VALUES(1,1,'precious')")
	mustSync(t, b)
	runSQL(t, a, "DELETE FROM p WHERE id=1")
	mustSync(t, a)
	want(t, a, "SELECT count(*) FROM c", "[[0]]")
	want(t, a, "SELECT count(*) FROM agentdb_conflicts WHERE losing LIKE '%precious%'", "[[1]]")
}

// TestCompositeReference: references of several columns follow the id in them.
func TestCompositeReference(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	const ddl = `CREATE TABLE IF NOT EXISTS p(id INTEGER PRIMARY KEY, tenant INTEGER, v, UNIQUE(tenant,id));
		CREATE TABLE IF NOT EXISTS c(id INTEGER PRIMARY KEY, tenant INTEGER, pid INTEGER, v, FOREIGN KEY(tenant,pid) REFERENCES p(tenant,id))`
	for i, db := range []*agentdb.DB{a, b} {
		runSQL(t, db, ddl)
		runSQL(t, db, "INSERT INTO p VALUES(1,1,?)", i)
		runSQL(t, db, "INSERT INTO c VALUES(1,1,1,?)", i)
		mustSync(t, db)
	}
	want(t, b, "SELECT p.v,c.v FROM p JOIN c ON pid=p.id ORDER BY 1", "[[0 0] [1 1]]")
}

// TestReferenceThroughOneToOne: references to a row whose id is that of another row follow the latter.
func TestReferenceThroughOneToOne(t *testing.T) {
	for _, lost := range []bool{false, true} {
		srv := agentdbtest.NewServer(t)
		const ddl = `CREATE TABLE IF NOT EXISTS u(id INTEGER PRIMARY KEY, v);
		CREATE TABLE IF NOT EXISTS profile(id INTEGER PRIMARY KEY REFERENCES u(id), v);
		CREATE TABLE IF NOT EXISTS post(id INTEGER PRIMARY KEY, profile INTEGER REFERENCES profile(id), v)`
		f := &transport{}
		a, b := agent(t, srv, agentdb.SyncFull), agentAt(t, srv, tmp(t), agentdb.SyncFull, f)
		for i, db := range []*agentdb.DB{a, b} {
			runSQL(t, db, ddl)
			runSQL(t, db, "INSERT INTO u VALUES(1,?)", i)
			runSQL(t, db, "INSERT INTO profile VALUES(1,?)", i)
			if i == 1 && lost {
				f.drop.Store(1)
				if _, err := db.Sync(t.Context()); err == nil {
					t.Fatal("no error")
				}
			}
			runSQL(t, db, "INSERT INTO post VALUES(1,1,?)", i)
			mustSync(t, db)
		}
		want(t, b, "SELECT u.v,profile.v,post.v FROM u JOIN profile USING(id) JOIN post ON post.profile=u.id ORDER BY 1", "[[0 0 0] [1 1 1]]")
	}
}

// TestRefusedTransactionKeepsIDs: the ids of a transaction that was refused as a whole are forgotten.
func TestRefusedTransactionKeepsIDs(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, `CREATE TABLE p(id INTEGER PRIMARY KEY, v);
		CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED, v)`)
	runSQL(t, a, "INSERT INTO p VALUES(1,'p'),(5,'five')")
	mustSync(t, a)
	mustSync(t, b)
	runSQL(t, b, "DELETE FROM p WHERE id=1")
	mustSync(t, b)
	if err := a.Update(t.Context(), func(tx *agentdb.Tx) error {
		for _, sql := range []string{"INSERT INTO c(id,p,v) VALUES(1,1,'orphan')", "UPDATE p SET id=50 WHERE id=5"} {
			if _, err := tx.Exec(t.Context(), sql); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	runSQL(t, a, "UPDATE p SET v='fifty' WHERE id=50")
	mustSync(t, a)
	want(t, a, "SELECT id,v FROM p", "[[5 fifty]]")
	want(t, a, "SELECT count(*) FROM c", "[[0]]")
	want(t, a, "SELECT kind FROM agentdb_conflicts", "[[foreign-key] [foreign-key]]")
}

// TestExtremeIDs: ids at the edges of their range keep their references.
func TestExtremeIDs(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	ids := []string{"9223372036854775807", "-9223372036854775808", "-5000000000000000000", "0", "-1"}
	runSQL(t, a, tasks)
	for _, id := range ids {
		runSQL(t, a, "INSERT INTO tasks VALUES("+id+",'t"+id+"')")
		runSQL(t, a, "INSERT INTO notes(task,v) VALUES("+id+",'t"+id+"')")
	}
	both(t, a, b)
	alike(t, "SELECT count(*) FROM tasks t JOIN notes n ON n.task=t.id AND n.v=t.v", "[[5]]", a, b)
	runSQL(t, a, "UPDATE tasks SET v='up' WHERE v LIKE 't-%'")
	both(t, a, b)
	alike(t, "SELECT count(*) FROM tasks WHERE v='up'", "[[3]]", a, b)
	alike(t, "SELECT count(*) FROM agentdb_conflicts", "[[0]]", a, b)
}

// TestTriggersAndActionsOnce: triggers and foreign-key actions take effect once.
func TestTriggersAndActionsOnce(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, `CREATE TABLE p(id INTEGER PRIMARY KEY, n INTEGER DEFAULT 0);
		CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p(id) ON UPDATE CASCADE ON DELETE SET NULL);
		CREATE TABLE log(id INTEGER PRIMARY KEY, v);
		CREATE TRIGGER ci AFTER INSERT ON c BEGIN UPDATE p SET n=n+1 WHERE id=new.p; INSERT INTO log(v) VALUES('ins '||new.id); END;
		CREATE TRIGGER cu AFTER UPDATE ON c BEGIN INSERT INTO log(v) VALUES('upd '||new.id); END`)
	runSQL(t, a, "INSERT INTO p(id) VALUES(1),(2)")
	both(t, a, b)
	for i, db := range []*agentdb.DB{a, b} {
		runSQL(t, db, "INSERT INTO c(p) VALUES(1),(1),(2)")
		runSQL(t, db, fmt.Sprintf("UPDATE p SET id=%d WHERE id=2", 20+i))
	}
	both(t, a, b)
	alike(t, "SELECT id,n FROM p WHERE id=1", "[[1 4]]", a, b)
	got := linesOf(t, a, "SELECT id,n FROM p")
	alike(t, "SELECT id,n FROM p", got, a, b)
	alike(t, "SELECT count(*) FROM c WHERE p NOT IN (SELECT id FROM p)", "[[0]]", a, b)
	alike(t, "SELECT sum(n) FROM p", "[[6]]", a, b)
	alike(t, "SELECT v,count(*) FROM log WHERE v LIKE 'ins%' GROUP BY v HAVING count(*)>1", "[]", a, b)
}

// TestChildOfRefusedKeyMove: children written under a natural key that their
// parent was not given in the end.
func TestChildOfRefusedKeyMove(t *testing.T) {
	for _, nr := range []string{"", " WITHOUT ROWID"} {
		srv := agentdbtest.NewServer(t)
		a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
		runSQL(t, a, "CREATE TABLE p(k TEXT PRIMARY KEY, v)"+nr+"; CREATE TABLE c(id INTEGER PRIMARY KEY, p TEXT REFERENCES p(k) ON UPDATE CASCADE, v)")
		runSQL(t, a, "INSERT INTO p VALUES('a','ay')")
		runSQL(t, a, "INSERT INTO c VALUES(1,'a','old child')")
		both(t, a, b)
		runSQL(t, b, "INSERT INTO p VALUES('b','bee')")
		mustSync(t, b)
		runSQL(t, a, "UPDATE p SET k='b' WHERE k='a'")
		runSQL(t, a, "INSERT INTO c VALUES(2,'b','new child')")
		both(t, a, b)
		alike(t, "SELECT p.v, c.v FROM c JOIN p ON p.k=c.p ORDER BY c.id", "[[ay old child] [ay new child]]", a, b)
	}
}

// TestIDsGivenOutTwice: ids that are given out, rolled back, reused and moved
// within one transaction, under a full-text index.
func TestIDsGivenOutTwice(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, `CREATE TABLE p(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p(id) ON DELETE CASCADE, v);
		CREATE VIRTUAL TABLE f USING fts5(v, content='p', content_rowid='id');
		CREATE TRIGGER pi AFTER INSERT ON p BEGIN INSERT INTO f(rowid,v) VALUES(new.id,new.v); END;
		CREATE TRIGGER pd AFTER DELETE ON p BEGIN INSERT INTO f(f,rowid,v) VALUES('delete',old.id,old.v); END;
		CREATE TRIGGER pu AFTER UPDATE ON p BEGIN INSERT INTO f(f,rowid,v) VALUES('delete',old.id,old.v); INSERT INTO f(rowid,v) VALUES(new.id,new.v); END;`)
	both(t, a, b)
	for i, db := range []*agentdb.DB{a, b} {
		if err := db.Update(t.Context(), func(tx *agentdb.Tx) error {
			for _, sql := range []string{
				"INSERT INTO p VALUES(1,'one%d')", "SAVEPOINT s", "INSERT INTO p VALUES(2,'two%d')", "INSERT INTO c VALUES(1,2,'lost')", "ROLLBACK TO s", "RELEASE s",
				"INSERT INTO p VALUES(2,'again%d')", "INSERT INTO c VALUES(1,2,'child%d')", "DELETE FROM p WHERE id=1", "INSERT INTO p VALUES(1,'reborn%d')", "INSERT INTO c VALUES(2,1,'second%d')",
				"UPDATE p SET id=id+10", "UPDATE c SET p=p+10",
			} {
				if sql == "UPDATE p SET id=id+10" {
					if _, err := tx.Exec(t.Context(), "PRAGMA defer_foreign_keys=ON"); err != nil {
						return err
					}
				}
				if strings.Contains(sql, "%d") {
					sql = fmt.Sprintf(sql, i)
				}
				if _, err := tx.Exec(t.Context(), sql); err != nil {
					return fmt.Errorf("%s: %w", sql, err)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	both(t, a, b)
	got := linesOf(t, a, "SELECT p.v, c.v FROM p LEFT JOIN c ON c.p=p.id ORDER BY 1")
	want(t, b, "SELECT p.v, c.v FROM p LEFT JOIN c ON c.p=p.id ORDER BY 1", got)
	for _, db := range []*agentdb.DB{a, b} {
		runSQL(t, db, "INSERT INTO f(f) VALUES('integrity-check')")
	}
	alike(t, "SELECT count(*) FROM f WHERE f MATCH 'again0 OR again1 OR reborn0 OR reborn1'", "[[4]]", a, b)
}

// TestRowMovedElsewhere: a row that is moved by one agent, and changed, deleted
// and referred to by another.
func TestRowMovedElsewhere(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks VALUES(1,'a'),(2,'b'),(3,'c')")
	both(t, a, b)
	runSQL(t, b, "UPDATE tasks SET id=11 WHERE id=1")
	runSQL(t, b, "UPDATE tasks SET id=12 WHERE id=2")
	runSQL(t, b, "INSERT INTO tasks VALUES(1,'new1'),(2,'new2')")
	mustSync(t, b)
	runSQL(t, a, "UPDATE tasks SET v='a!' WHERE id=1")
	runSQL(t, a, "DELETE FROM tasks WHERE id=2")
	runSQL(t, a, "INSERT INTO notes(task,v) VALUES(1,'of a')")
	runSQL(t, a, "UPDATE tasks SET id=13 WHERE id=3")
	runSQL(t, a, "INSERT INTO notes(task,v) VALUES(13,'of c')")
	both(t, a, b)
	alike(t, "SELECT t.id,t.v,n.v FROM tasks t LEFT JOIN notes n ON n.task=t.id ORDER BY 1", "[[1 new1 <nil>] [2 new2 <nil>] [11 a! of a] [13 c of c]]", a, b)
}

// TestVeryNegativeIDs: ids below -2^62 stand for rows that there are none of;
// one that a program chooses gets another id, which the report says.
func TestVeryNegativeIDs(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	const lowest = -1 << 62
	runSQL(t, a, "INSERT INTO tasks(id,v) VALUES(?,'too low'), (?,'low')", lowest-1, lowest)
	runSQL(t, a, "INSERT INTO notes(task,v) VALUES(?,'of too low'), (?,'of low')", lowest-1, lowest)
	rep := mustSync(t, a)
	if len(rep.IDs) != 1 || rep.IDs[0].Table != "tasks" || rep.IDs[0].Old != lowest-1 || rep.IDs[0].New < 0 {
		t.Errorf("the report says %+v", rep.IDs)
	}
	mustSync(t, b)
	alike(t, "SELECT tasks.v, notes.v FROM tasks JOIN notes ON task=tasks.id ORDER BY tasks.v", "[[low of low] [too low of too low]]", a, b)
	alike(t, "SELECT count(*) FROM tasks WHERE id=-4611686018427387904", "[[1]]", a, b)
}
