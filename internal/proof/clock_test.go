package proof

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentdb/agentdb"
)

// TestClockSetBack lets an agent work while its clock is decades behind the
// server's and the other agents': the order is that of the pushes.
func TestClockSetBack(t *testing.T) {
	l := newLab(t)
	there := l.agent("there", agentdb.SyncFull)
	there.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
	there.exec("INSERT INTO t VALUES (1, 'start')")
	there.sync()
	path, opts := filepath.Join(l.dir, "back.db"), agentdb.Options{URL: l.node.url(database), Synchronous: "OFF"}

	// back does something with the file while it is the year 2000 for it.
	back := func(t *testing.T, do func(t *testing.T, db *agentdb.DB)) {
		synctest.Test(t, func(t *testing.T) {
			if year := time.Now().Year(); year != 2000 {
				t.Fatalf("it is the year %d", year)
			}
			db := opened(t, path, &opts)
			do(t, db)
			closed(t, db)
		})
	}
	db := opened(t, path, &opts) // as it is before the clock is set back
	exec(t, db, "CREATE TABLE mine (v TEXT)")
	synced(t, db)
	exec(t, db, "INSERT INTO mine VALUES ('unsent')")
	closed(t, db)

	there.exec("UPDATE t SET v = 'there'")
	there.sync()
	back(t, func(t *testing.T, db *agentdb.DB) {
		exec(t, db, "UPDATE t SET v = 'back'")
		if rep := synced(t, db); rep.Pushed != 2 || rep.Conflicts != 1 {
			t.Errorf("%+v", rep)
		}
		exec(t, db, "INSERT INTO t (v) VALUES ('another')")
	})
	there.sync()
	want(t, "the last push", get[string](t, there.DB, "SELECT v FROM t WHERE id = 1"), "back")
	there.exec("UPDATE t SET v = 'there again' WHERE id = 1")
	there.exec("INSERT INTO t (v) VALUES ('one more')")
	there.sync()
	back(t, func(t *testing.T, db *agentdb.DB) {
		if rep := synced(t, db); rep.Pushed != 1 || len(rep.IDs) != 1 {
			t.Errorf("%+v", rep)
		}
		want(t, "the last push", get[string](t, db, "SELECT v FROM t WHERE id = 1"), "there again")
	})
	there.sync()
	want(t, "rows", get[int](t, there.DB, "SELECT count(*) FROM t"), 3)
	want(t, "unsent rows", get[int](t, there.DB, "SELECT count(*) FROM mine"), 1)
	for _, c := range there.conflicts("t") {
		if c.Time.Year() < 2026 {
			t.Errorf("the record has the agent's time: %+v", c)
		}
	}
	same(t, there.path, path)
}
