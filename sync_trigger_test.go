package agentdb_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// logged is a table whose inserts shall be logged by a trigger.
const (
	logged     = "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE log(id INTEGER PRIMARY KEY, v)"
	chained    = "CREATE TABLE u(v); CREATE TRIGGER tu AFTER INSERT ON u BEGIN INSERT INTO log(v) VALUES(new.v); END"
	logTrigger = "CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log(v) VALUES(new.v); END"
)

// nowhere is the URL of a server that cannot be reached.
const nowhere = "http://127.0.0.1:1/db/x"

// often is how many runs of a statement make its guards be passed by, or more.
const often = 40

// TestTriggersRun: triggers of a user run beside the guards, however they came
// and with statements that were prepared before, and run often.
func TestTriggersRun(t *testing.T) {
	const insert, triggered = "INSERT INTO t(v) VALUES('x')", "SELECT count(*) FROM log"
	for name, tc := range map[string]struct {
		make  string // a trigger
		other bool   // by another connection, of another program
		gone  bool   // in the end
		want  string
	}{
		"made":               {make: logTrigger, want: "[[1]]"},
		"made by another":    {make: logTrigger, other: true, want: "[[1]]"},
		"temporary":          {make: "CREATE TEMP TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log(v) VALUES(new.v); END", want: "[[1]]"},
		"one starts another": {make: "CREATE TEMP TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO u(v) VALUES(new.v); END", want: "[[1]]"},
		"never committed":    {make: "BEGIN; " + logTrigger + "; ROLLBACK", gone: true, want: "[[0]]"},
		"dropped":            {make: logTrigger + "; DROP TRIGGER tr", gone: true, want: "[[0]]"},
		"drop undone":        {make: logTrigger + "; BEGIN; DROP TRIGGER tr; ROLLBACK", want: "[[1]]"},
		"in one transaction": {
			make: "BEGIN; DELETE FROM t; " + logTrigger + "; INSERT INTO t(v) VALUES('y'); DROP TRIGGER tr; COMMIT", gone: true, want: "[[1]]",
		},
	} {
		for _, warm := range []int{1, often} {
			t.Run(fmt.Sprint(name, " after ", warm), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "a.db")
				db := openAt(t, path, &agentdb.Options{URL: nowhere})
				runSQL(t, db, logged+"; "+chained)
				st, err := db.Prepare(t.Context(), insert)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = st.Close() }()
				run := func(times int) {
					t.Helper()
					for range times {
						if _, err := st.Run(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
				}
				run(warm)
				if tc.other {
					anotherProgram(t, path, tc.make)
				} else {
					runSQL(t, db, tc.make)
				}
				run(1)
				want(t, db, triggered, tc.want)
				before, more := count(t, db), 0
				if run(often); !tc.gone {
					more = often
				}
				if got := count(t, db); got != before+more {
					t.Errorf("%d rows were logged after %d more runs, %d before", got, often, before)
				}
			})
		}
	}
}

// count returns how many rows triggers have logged.
func count(t *testing.T, db *agentdb.DB) int {
	t.Helper()
	n, err := agentdb.Get[int](t.Context(), db, "SELECT count(*) FROM log")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGuardsStay: a statement that passes the guards by leaves them in place for
// other programs, whatever it does to the rows.
func TestGuardsStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db := openAt(t, path, &agentdb.Options{URL: nowhere})
	runSQL(t, db, "CREATE TABLE p(id INTEGER PRIMARY KEY, v); CREATE TABLE c(p REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE, v)")
	for i := range often {
		for _, sql := range []string{
			"INSERT INTO p(id, v) VALUES(?1, 'one')", "INSERT INTO c(p, v) VALUES(?1, 'of one'), (?1, 'of one too') RETURNING v",
			"INSERT OR REPLACE INTO p(id, v) VALUES(?1+1000, ?1)", "UPDATE p SET id=id+5000, v='two' WHERE id=?1", "DELETE FROM p WHERE id=?1+5000 AND id%2=0",
		} {
			if _, err := db.Exec(t.Context(), sql, i+1); err != nil {
				t.Fatal(err)
			}
		}
	}
	want(t, db, "SELECT count(*), sum(p)-sum(p.id), (SELECT count(*) FROM p) FROM c LEFT JOIN p ON p.id=c.p", "[[40 0 60]]")
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, sql := range []string{"INSERT INTO p(v) VALUES(1)", "UPDATE c SET v=1", "DELETE FROM p"} {
		if err := c.Exec(sql); err == nil {
			t.Errorf("%s by another program: no error", sql)
		}
	}
}

// TestTriggersOfAttachedFiles: they run, also when the file was attached in the
// transaction that writes to it.
func TestTriggersOfAttachedFiles(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other.db")
	anotherProgram(t, other, logged, logTrigger)
	db := openAt(t, filepath.Join(t.TempDir(), "a.db"), &agentdb.Options{URL: nowhere})
	runSQL(t, db, logged)
	runSQL(t, db, "INSERT INTO t(v) VALUES('mine')")
	err := db.Update(t.Context(), func(tx *agentdb.Tx) error {
		for _, sql := range []string{"ATTACH '" + other + "' AS other", "INSERT INTO other.t(v) VALUES('x')"} {
			if _, err := tx.Exec(t.Context(), sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	runSQL(t, db, "INSERT INTO other.t(v) VALUES('y'); INSERT INTO t(v) VALUES('mine')")
	want(t, db, "SELECT count(*) FROM log", "[[0]]")
	runSQL(t, db, "DETACH other")
	n, err := countRows(t.Context(), other, "log")
	if err != nil || n != 2 {
		t.Errorf("%d rows were logged, %v; want 2", n, err)
	}
}

func anotherProgram(t *testing.T, path string, stmts ...string) {
	t.Helper()
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, sql := range stmts {
		if err := c.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
}

func countRows(ctx context.Context, path, table string) (int64, error) {
	db, err := agentdb.Open(ctx, path, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }()
	return agentdb.Get[int64](ctx, db, "SELECT count(*) FROM "+table)
}
