package agentdb_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
)

// open opens a fresh database that is closed with the test.
func open(t testing.TB, o *agentdb.Options) *agentdb.DB {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "test.db"), o)
}

func openAt(t testing.TB, path string, o *agentdb.Options) *agentdb.DB {
	t.Helper()
	db, err := agentdb.Open(context.Background(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// execer is a *DB or a *Tx.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (agentdb.Result, error)
}

func mustExec(t testing.TB, q execer, text string, args ...any) agentdb.Result {
	t.Helper()
	res, err := q.Exec(context.Background(), text, args...)
	if err != nil {
		t.Fatalf("exec %s: %v", text, err)
	}
	return res
}

func mustGet[T any](t testing.TB, q agentdb.Querier, text string, args ...any) T {
	t.Helper()
	v, err := agentdb.Get[T](context.Background(), q, text, args...)
	if err != nil {
		t.Fatalf("get %s: %v", text, err)
	}
	return v
}

type Step struct {
	ID     int64
	Action string
	Result *string
}

const stepsSchema = `CREATE TABLE IF NOT EXISTS steps (id INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, result TEXT)`

func TestFirstSteps(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, stepsSchema)
	res := mustExec(t, db, "INSERT INTO steps (action, result) VALUES (?, ?)", "fetch_data", "success")
	if res.LastInsertID != 1 || res.RowsAffected != 1 {
		t.Errorf("insert: %+v", res)
	}
	stmt, err := db.Prepare(ctx, "INSERT INTO steps (action, result) VALUES (?, ?)")
	if err != nil {
		t.Fatal(err)
	}
	if res, err = stmt.Run(ctx, "parse", nil); err != nil || res.LastInsertID != 2 {
		t.Errorf("run: %+v, %v", res, err)
	}
	if err := stmt.Close(); err != nil {
		t.Error(err)
	}
	if _, err := stmt.Run(ctx, "parse", nil); !errors.Is(err, agentdb.ErrClosed) {
		t.Errorf("run after close: %v", err)
	}
	step := mustGet[Step](t, db, "SELECT * FROM steps WHERE id = ?", 1)
	if step.Action != "fetch_data" || step.Result == nil || *step.Result != "success" {
		t.Errorf("step: %+v", step)
	}
	steps, err := agentdb.All[Step](ctx, db, "SELECT * FROM steps ORDER BY id")
	if err != nil || len(steps) != 2 || steps[1].Result != nil {
		t.Errorf("steps: %+v, %v", steps, err)
	}
	n := 0
	for step, err := range agentdb.Iter[Step](ctx, db, "SELECT * FROM steps ORDER BY id") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; step.ID != int64(n) {
			t.Errorf("row %d: %+v", n, step)
		}
	}
	_, err = agentdb.Get[Step](ctx, db, "SELECT * FROM steps WHERE id = ?", 99)
	if !errors.Is(err, agentdb.ErrNoRows) || !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("no rows: %v", err)
	}
}

func TestUpdateCommitsAndRollsBack(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, stepsSchema)
	count := func() int { return mustGet[int](t, db, "SELECT count(*) FROM steps") }

	err := db.Update(ctx, func(tx *agentdb.Tx) error {
		mustExec(t, tx, "INSERT INTO steps (action) VALUES ('a')")
		if n := mustGet[int](t, tx, "SELECT count(*) FROM steps"); n != 1 {
			t.Errorf("in the transaction: %d rows", n)
		}
		if n := count(); n != 0 {
			t.Errorf("outside of it: %d rows", n)
		}
		return nil
	})
	if err != nil || count() != 1 {
		t.Fatalf("commit: %v, %d rows", err, count())
	}
	boom := errors.New("boom")
	err = db.Update(ctx, func(tx *agentdb.Tx) error {
		mustExec(t, tx, "INSERT INTO steps (action) VALUES ('b')")
		return boom
	})
	if !errors.Is(err, boom) || count() != 1 {
		t.Errorf("error: %v, %d rows", err, count())
	}
	func() {
		defer func() {
			if r := recover(); r != "bang" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = db.Update(ctx, func(tx *agentdb.Tx) error {
			mustExec(t, tx, "INSERT INTO steps (action) VALUES ('c')")
			panic("bang")
		})
	}()
	if count() != 1 {
		t.Errorf("after a panic: %d rows", count())
	}
	cctx, cancel := context.WithCancel(ctx)
	err = db.Update(cctx, func(tx *agentdb.Tx) error {
		mustExec(t, tx, "INSERT INTO steps (action) VALUES ('d')")
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || count() != 1 {
		t.Errorf("cancelled: %v, %d rows", err, count())
	}
}

func TestTxAfterItsEnd(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, stepsSchema)
	var kept *agentdb.Tx
	var stmt *agentdb.Stmt
	err := db.Update(ctx, func(tx *agentdb.Tx) (err error) {
		kept = tx
		stmt, err = tx.Prepare(ctx, "SELECT 1")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Exec(ctx, "INSERT INTO steps (action) VALUES ('a')"); !errors.Is(err, agentdb.ErrTxDone) || !errors.Is(err, sql.ErrTxDone) {
		t.Errorf("exec: %v", err)
	}
	if _, err := agentdb.Get[int](ctx, kept, "SELECT 1"); !errors.Is(err, agentdb.ErrTxDone) {
		t.Errorf("get: %v", err)
	}
	if _, err := agentdb.Get[int](ctx, stmt, ""); !errors.Is(err, agentdb.ErrTxDone) {
		t.Errorf("stmt: %v", err)
	}
}

func TestViewIsASnapshot(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, stepsSchema)
	err := db.View(ctx, func(tx *agentdb.Tx) error {
		mustExec(t, db, "INSERT INTO steps (action) VALUES ('a')")
		if n := mustGet[int](t, tx, "SELECT count(*) FROM steps"); n != 0 {
			t.Errorf("the snapshot has %d rows", n)
		}
		if n := mustGet[int](t, db, "SELECT count(*) FROM steps"); n != 1 {
			t.Errorf("the database has %d rows", n)
		}
		for _, text := range []string{"INSERT INTO steps (action) VALUES ('b')", "CREATE TABLE t (x)", "PRAGMA user_version = 7"} {
			if _, err := tx.Exec(ctx, text); !errors.Is(err, agentdb.ErrReadOnly) {
				t.Errorf("%s: %v", text, err)
			}
		}
		if _, err := agentdb.Get[int](ctx, tx, "INSERT INTO steps (action) VALUES ('b') RETURNING id"); !errors.Is(err, agentdb.ErrReadOnly) {
			t.Errorf("returning: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if n := mustGet[int](t, db, "SELECT count(*) FROM steps"); n != 1 {
		t.Errorf("%d rows", n)
	}
}

func TestClosed(t *testing.T) {
	ctx := context.Background()
	db, err := agentdb.Open(ctx, filepath.Join(t.TempDir(), "a.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, db, stepsSchema)
	sqlDB := db.SQL()
	for range 2 {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := db.Exec(ctx, "SELECT 1"); !errors.Is(err, agentdb.ErrClosed) {
		t.Errorf("exec: %v", err)
	}
	if _, err := agentdb.Get[int](ctx, db, "SELECT 1"); !errors.Is(err, agentdb.ErrClosed) {
		t.Errorf("get: %v", err)
	}
	if err := db.View(ctx, func(*agentdb.Tx) error { return nil }); !errors.Is(err, agentdb.ErrClosed) {
		t.Errorf("view: %v", err)
	}
	if err := db.Update(ctx, func(*agentdb.Tx) error { return nil }); !errors.Is(err, agentdb.ErrClosed) {
		t.Errorf("update: %v", err)
	}
	if err := sqlDB.PingContext(ctx); err == nil {
		t.Error("the sql.DB is open")
	}
	if err := db.SQL().PingContext(ctx); err == nil {
		t.Error("a new sql.DB is open")
	}
}

func TestFileIsOrdinary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := agentdb.Open(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, db, "CREATE TABLE t (x)")
	names, err := agentdb.All[string](context.Background(), db, "SELECT name FROM sqlite_schema")
	if err != nil || len(names) != 1 || names[0] != "t" {
		t.Errorf("schema: %v, %v", names, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", suffix, err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) != 2*4096 {
		t.Errorf("file: %d bytes, %v", len(b), err)
	}
}

func TestOpenErrors(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.db")
	if err := os.WriteFile(junk, []byte("this is no database, but long enough to look like something, and on for more than a hundred bytes in all"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, code := range map[string]string{
		junk:                              "SQLITE_NOTADB",
		filepath.Join(dir, "no", "where"): "SQLITE_CANTOPEN",
		dir:                               "SQLITE_CANTOPEN",
	} {
		_, err := agentdb.Open(ctx, path, nil)
		var e *agentdb.Error
		if !errors.As(err, &e) || !strings.HasPrefix(e.Name, code) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"", ":memory:", "file:a.db", "a\x00b"} {
		if _, err := agentdb.Open(ctx, path, nil); err == nil {
			t.Errorf("%q was opened", path)
		}
	}
	for _, o := range []agentdb.Options{{Synchronous: "maybe"}, {Sync: 7}} {
		if _, err := agentdb.Open(ctx, filepath.Join(dir, "a.db"), &o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := agentdb.Open(cancelled, filepath.Join(dir, "a.db"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for mode, name := range map[agentdb.SyncMode]string{agentdb.SyncFull: "full", agentdb.SyncPull: "pull", agentdb.SyncPush: "push", 9: "SyncMode(9)"} {
		if mode.String() != name {
			t.Errorf("%s is %s", name, mode)
		}
	}
}
