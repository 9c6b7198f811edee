package agentdb_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// logged is a table whose inserts shall be logged by a trigger.
const (
	logged     = "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE log(id INTEGER PRIMARY KEY, v)"
	logTrigger = "CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log(v) VALUES(new.v); END"
)

// nowhere is the URL of a server that cannot be reached.
const nowhere = "http://127.0.0.1:1/db/x"

// TestTriggersRun: triggers of a user run beside the guards, however they came
// and with statements that were prepared before.
func TestTriggersRun(t *testing.T) {
	const insert, triggered = "INSERT INTO t(v) VALUES('x')", "SELECT count(*) FROM log"
	for name, tc := range map[string]struct {
		make  string // a trigger
		other bool   // by another connection, of another program
		want  string
	}{
		"made":            {make: logTrigger, want: "[[1]]"},
		"made by another": {make: logTrigger, other: true, want: "[[1]]"},
		"temporary":       {make: "CREATE TEMP TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log(v) VALUES(new.v); END", want: "[[1]]"},
		"never committed": {make: "BEGIN; " + logTrigger + "; ROLLBACK", want: "[[0]]"},
		"dropped":         {make: logTrigger + "; DROP TRIGGER tr", want: "[[0]]"},
		"drop undone":     {make: logTrigger + "; BEGIN; DROP TRIGGER tr; ROLLBACK", want: "[[1]]"},
		"in one transaction": {
			make: "BEGIN; DELETE FROM t; " + logTrigger + "; INSERT INTO t(v) VALUES('y'); DROP TRIGGER tr; COMMIT", want: "[[1]]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			db := openAt(t, path, &agentdb.Options{URL: nowhere})
			runSQL(t, db, logged)
			st, err := db.Prepare(t.Context(), insert)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = st.Close() }()
			if _, err := st.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if tc.other {
				anotherProgram(t, path, tc.make)
			} else {
				runSQL(t, db, tc.make)
			}
			if _, err := st.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			want(t, db, triggered, tc.want)
		})
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
