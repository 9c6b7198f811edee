package agentdb_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
)

func TestScripts(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	res := mustExec(t, db, `
		-- two tables
		CREATE TABLE a (x); /* and */ CREATE TABLE b (x);
		INSERT INTO a VALUES (1), (2);;
		SELECT * FROM a;
		-- the end`)
	if res.RowsAffected != 2 {
		t.Errorf("%+v", res)
	}
	mustExec(t, db, "INSERT INTO a VALUES (?); INSERT INTO b VALUES (?), (:n)", 3, 4, sql.Named("n", 5))
	if n := mustGet[int](t, db, "SELECT sum(x) FROM (SELECT x FROM a UNION ALL SELECT x FROM b)"); n != 15 {
		t.Errorf("sum %d", n)
	}
	if _, err := db.Exec(ctx, "INSERT INTO a VALUES (?); SELECT ?", 1, 2, 3); err == nil {
		t.Error("an argument too many")
	}
	if _, err := db.Exec(ctx, "INSERT INTO a VALUES (?); SELECT ?", 1); err == nil {
		t.Error("an argument too few")
	}
	// Statements before a wrong one have been committed.
	if _, err := db.Exec(ctx, "CREATE TABLE c (x); INSERT INTO nowhere VALUES (1); CREATE TABLE d (x)"); err == nil {
		t.Error("no error")
	}
	if n := mustGet[int](t, db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('c', 'd')"); n != 1 {
		t.Errorf("%d tables", n)
	}
	// In a transaction of its own a script is all or nothing.
	if _, err := db.Exec(ctx, "BEGIN; CREATE TABLE e (x); INSERT INTO nowhere VALUES (1); COMMIT"); err == nil {
		t.Error("no error")
	}
	mustExec(t, db, "BEGIN; CREATE TABLE f (x); SAVEPOINT s; CREATE TABLE g (x); ROLLBACK TO s; RELEASE s; COMMIT")
	if n := mustGet[int](t, db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('e', 'f', 'g')"); n != 1 {
		t.Errorf("%d tables", n)
	}
	for _, text := range []string{"BEGIN", "SAVEPOINT x", "BEGIN; INSERT INTO a VALUES (9)", "COMMIT", "ROLLBACK", "END"} {
		if _, err := db.Exec(ctx, text); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
	if n := mustGet[int](t, db, "SELECT count(*) FROM a WHERE x = 9"); n != 0 {
		t.Error("a transaction that was never ended has been committed")
	}
	for _, text := range []string{"", ";", " -- nothing", "/* open"} {
		if _, err := db.Exec(ctx, text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestResults(t *testing.T) {
	db := open(t, nil)
	for _, c := range []struct {
		text string
		want agentdb.Result
	}{
		{"CREATE TABLE t (id INTEGER PRIMARY KEY, a UNIQUE)", agentdb.Result{}},
		{"INSERT INTO t (a) VALUES (1), (2)", agentdb.Result{LastInsertID: 2, RowsAffected: 2}},
		{"CREATE TABLE u (x)", agentdb.Result{}},
		{"INSERT INTO t (a) VALUES (1) ON CONFLICT DO NOTHING", agentdb.Result{}},
		{"UPDATE t SET a = a + 10", agentdb.Result{RowsAffected: 2}},
		{"UPDATE t SET a = 0 WHERE a = 99", agentdb.Result{}},
		{"REPLACE INTO t VALUES (7, 11)", agentdb.Result{LastInsertID: 7, RowsAffected: 1}},
		{"WITH w AS (SELECT 5) INSERT INTO t (id) SELECT * FROM w", agentdb.Result{LastInsertID: 5, RowsAffected: 1}},
		{"SELECT * FROM t", agentdb.Result{}},
		{"DELETE FROM t", agentdb.Result{RowsAffected: 3}},
		{"PRAGMA user_version = 3", agentdb.Result{}},
		{"VACUUM", agentdb.Result{}},
	} {
		if got := mustExec(t, db, c.text); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.text, got, c.want)
		}
	}
}

func TestErrorsOfSQLite(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE p (id INTEGER PRIMARY KEY, n UNIQUE, c CHECK (c > 0)); CREATE TABLE k (p REFERENCES p, q REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
	mustExec(t, db, "INSERT INTO p VALUES (1, 1, 1)")
	for text, name := range map[string]string{
		"INSERT INTO p (n) VALUES (1)":    "SQLITE_CONSTRAINT_UNIQUE",
		"INSERT INTO p (id) VALUES (1)":   "SQLITE_CONSTRAINT_PRIMARYKEY",
		"INSERT INTO p (c) VALUES (0)":    "SQLITE_CONSTRAINT_CHECK",
		"INSERT INTO k (p) VALUES (5)":    "SQLITE_CONSTRAINT_FOREIGNKEY",
		"INSERT INTO k (q) VALUES (5)":    "SQLITE_CONSTRAINT_FOREIGNKEY",
		"SELECT RAISE(ABORT, 'x')":        "SQLITE_ERROR",
		"SELECT * FROM nowhere":           "SQLITE_ERROR",
		"INSERT INTO p (id) VALUES ('x')": "SQLITE_MISMATCH",
	} {
		_, err := db.Exec(ctx, text)
		var e *agentdb.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if e.Name != name || e.Message == "" || e.SQL != text || e.Code == 0 {
			t.Errorf("%s: %#v", text, e)
		}
	}
	var e *agentdb.Error
	if _, err := db.Exec(ctx, "SELECT nonsense FROM p"); !errors.As(err, &e) || e.Offset != 7 {
		t.Errorf("offset: %#v", e)
	}
	if _, err := db.Exec(ctx, "SELECT '"+strings.Repeat("x", 1<<20)); !errors.As(err, &e) || len(e.SQL) > 2000 {
		t.Errorf("a long statement: %d bytes in the error", len(e.SQL))
	}
	err := db.Update(ctx, func(tx *agentdb.Tx) error {
		mustExec(t, tx, "INSERT INTO k (q) VALUES (5)")
		return nil
	})
	if !errors.As(err, &e) || e.Name != "SQLITE_CONSTRAINT_FOREIGNKEY" {
		t.Errorf("a violation at COMMIT: %v", err)
	}
	if n := mustGet[int](t, db, "SELECT count(*) FROM k"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// A failed statement takes back what it did, and nothing else.
func TestFailedStatementInUpdate(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE t (a UNIQUE)")
	err := db.Update(ctx, func(tx *agentdb.Tx) error {
		mustExec(t, tx, "INSERT INTO t VALUES (1)")
		if _, err := tx.Exec(ctx, "INSERT INTO t VALUES (2), (1)"); err == nil {
			t.Error("no error")
		}
		mustExec(t, tx, "INSERT INTO t VALUES (3)")
		return nil
	})
	if n := mustGet[int](t, db, "SELECT sum(a) FROM t"); err != nil || n != 4 {
		t.Errorf("sum %d, %v", n, err)
	}
}

// What SQLite rolls back as a whole can't be committed by mistake.
func TestRollbackBySQLite(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE t (a UNIQUE)")
	err := db.Update(ctx, func(tx *agentdb.Tx) error {
		mustExec(t, tx, "INSERT INTO t VALUES (1)")
		if _, err := tx.Exec(ctx, "INSERT OR ROLLBACK INTO t VALUES (1)"); err == nil {
			t.Error("no error")
		}
		if _, err := tx.Exec(ctx, "INSERT INTO t VALUES (2)"); err == nil {
			t.Error("the transaction goes on")
		}
		if _, err := agentdb.Get[int](ctx, tx, "SELECT 1"); err == nil {
			t.Error("the transaction goes on")
		}
		return nil
	})
	var e *agentdb.Error
	if !errors.As(err, &e) || e.Name != "SQLITE_CONSTRAINT_UNIQUE" {
		t.Errorf("update: %v", err)
	}
	if n := mustGet[int](t, db, "SELECT count(*) FROM t"); n != 0 {
		t.Errorf("%d rows", n)
	}
	mustExec(t, db, "INSERT INTO t VALUES (5)")
}

func TestTransactionControlInUpdate(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE t (a)")
	err := db.Update(ctx, func(tx *agentdb.Tx) error {
		for _, text := range []string{"COMMIT", "END TRANSACTION", "ROLLBACK", "BEGIN", "INSERT INTO t VALUES (0); COMMIT"} {
			if _, err := tx.Exec(ctx, text); err == nil {
				t.Errorf("%s: no error", text)
			}
		}
		mustExec(t, tx, `SAVEPOINT "a b"; INSERT INTO t VALUES (1); SAVEPOINT inner; INSERT INTO t VALUES (2)`)
		mustExec(t, tx, `ROLLBACK TRANSACTION TO SAVEPOINT INNER; RELEASE SAVEPOINT "a b"`)
		if _, err := tx.Exec(ctx, "RELEASE inner"); err == nil {
			t.Error("a savepoint that is gone was released")
		}
		return nil
	})
	if n := mustGet[int](t, db, "SELECT sum(a) FROM t"); err != nil || n != 1 {
		t.Errorf("sum %d, %v", n, err)
	}
}

func TestPrepare(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE t (a)")
	for _, text := range []string{"", "INSERT INTO t VALUES (1); SELECT 1", "INSERT INTO nowhere VALUES (1)", "SELEC"} {
		if _, err := db.Prepare(ctx, text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	ins, err := db.Prepare(ctx, "INSERT INTO t VALUES (?)")
	if err != nil {
		t.Fatal(err)
	}
	sel, err := db.Prepare(ctx, "SELECT a FROM t WHERE a = ?")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for g := range 4 {
		go func() {
			for i := range 50 {
				if _, err := ins.Run(ctx, g*100+i); err != nil {
					done <- err
					return
				}
				if n, err := agentdb.Get[int](ctx, sel, "", g*100+i); err != nil || n != g*100+i {
					done <- errors.Join(err, errors.New("wrong row"))
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := agentdb.Get[int](ctx, sel, "SELECT 1"); err == nil {
		t.Error("a Stmt ran another text")
	}
	mustExec(t, db, "DROP TABLE t")
	if _, err := ins.Run(ctx, 1); err == nil {
		t.Error("the table is gone")
	}
}

func TestBuiltIns(t *testing.T) {
	db := open(t, nil)
	mustExec(t, db, "CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES ('the quick brown fox'), ('lazy dog')")
	if s := mustGet[string](t, db, "SELECT body FROM f WHERE f MATCH 'brown'"); s != "the quick brown fox" {
		t.Errorf("FTS5: %q", s)
	}
	if s := mustGet[string](t, db, `SELECT json_extract('{"a":{"b":"c"}}', '$.a.b')`); s != "c" {
		t.Errorf("JSON: %q", s)
	}
	if f := mustGet[float64](t, db, "SELECT round(sqrt(2) * cos(0), 3)"); f != 1.414 {
		t.Errorf("math: %v", f)
	}
	if s := mustGet[float64](t, db, "SELECT vec_distance_l2('[1, 2]', '[1, 5]')"); s != 3 {
		t.Errorf("vector: %v", s)
	}
	if n := mustGet[int](t, db, "PRAGMA foreign_keys"); n != 1 {
		t.Error("foreign keys are off")
	}
	if n := mustGet[int](t, db, "PRAGMA synchronous"); n != 2 {
		t.Errorf("synchronous is %d", n)
	}
}
