package agentdb_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

func openSQL(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("agentdb", "file:"+filepath.Join(t.TempDir(), "a.db")+"?synchronous=normal&busy_timeout=10s&cache_kb=1024")
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

func execSQL(t *testing.T, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, text string, args ...any,
) sql.Result {
	t.Helper()
	res, err := db.ExecContext(context.Background(), text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return res
}

func TestDriver(t *testing.T) {
	ctx := context.Background()
	db := openSQL(t)
	if err := db.PingContext(ctx); err != nil {
		t.Fatal(err)
	}
	execSQL(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, name VARCHAR(20), at DATETIME, ok BOOLEAN, raw BLOB, x REAL); CREATE INDEX i ON t (name)")
	at := time.Date(2026, 5, 6, 7, 8, 9, 10, time.UTC)
	res := execSQL(t, db, "INSERT INTO t (name, at, ok, raw, x) VALUES (?, @at, ?, ?, ?)", "n", sql.Named("at", at), true, []byte{}, 1.5)
	if id, err := res.LastInsertId(); err != nil || id != 1 {
		t.Errorf("id %d, %v", id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		t.Errorf("rows %d, %v", n, err)
	}
	var (
		name string
		when time.Time
		ok   bool
		raw  []byte
		x    float64
	)
	row := db.QueryRowContext(ctx, "SELECT name, at, ok, raw, x FROM t WHERE id = ?", 1)
	if err := row.Scan(&name, &when, &ok, &raw, &x); err != nil || name != "n" || !when.Equal(at) || !ok || raw == nil || len(raw) != 0 || x != 1.5 {
		t.Errorf("%q %v %v %v %v: %v", name, when, ok, raw, x, err)
	}
	var id int
	if err := db.QueryRowContext(ctx, "INSERT INTO t (name) VALUES ('r') RETURNING id").Scan(&id); err != nil || id != 2 {
		t.Errorf("returning: %d, %v", id, err)
	}
	var null sql.NullTime
	if err := db.QueryRowContext(ctx, "SELECT at FROM t WHERE id = 2").Scan(&null); err != nil || null.Valid {
		t.Errorf("null: %v, %v", null, err)
	}
	if err := db.QueryRowContext(ctx, "SELECT 1 WHERE 0").Scan(&id); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("no rows: %v", err)
	}
	if _, err := db.ExecContext(ctx, "INSERT INTO t (id) VALUES (1)"); !errors.As(err, new(*agentdb.Error)) {
		t.Errorf("error: %v", err)
	}
}

func TestDriverColumnTypes(t *testing.T) {
	db := openSQL(t)
	execSQL(t, db, "CREATE TABLE t (id INTEGER, name VARCHAR(20), at TIMESTAMP, ok BOOLEAN, raw BLOB, x DOUBLE, y); INSERT INTO t (y) VALUES (7)")
	rows, err := db.QueryContext(context.Background(), "SELECT * FROM t")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	types, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name string
		typ  reflect.Type
	}{
		{"INTEGER", reflect.TypeFor[int64]()},
		{"VARCHAR", reflect.TypeFor[string]()},
		{"TIMESTAMP", reflect.TypeFor[time.Time]()},
		{"BOOLEAN", reflect.TypeFor[bool]()},
		{"BLOB", reflect.TypeFor[[]byte]()},
		{"DOUBLE", reflect.TypeFor[float64]()},
		{"", reflect.TypeFor[int64]()},
	}
	for i, w := range want {
		if types[i].DatabaseTypeName() != w.name || types[i].ScanType() != w.typ {
			t.Errorf("column %d: %s, %v", i, types[i].DatabaseTypeName(), types[i].ScanType())
		}
	}
	n := 0
	for rows.Next() {
		n++
	}
	if n != 1 || rows.Err() != nil {
		t.Errorf("%d rows, %v", n, rows.Err())
	}
}

func TestDriverTransactions(t *testing.T) {
	ctx := context.Background()
	db := openSQL(t)
	execSQL(t, db, "CREATE TABLE t (a UNIQUE)")
	count := func() (n int) {
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM t").Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	execSQL(t, tx, "INSERT INTO t VALUES (1)")
	if n := count(); n != 0 { // on another connection
		t.Errorf("%d rows before the commit", n)
	}
	if err := tx.Commit(); err != nil || count() != 1 {
		t.Errorf("commit: %v, %d rows", err, count())
	}
	tx, err = db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO t VALUES (2)"); !errors.Is(err, agentdb.ErrReadOnly) {
		t.Errorf("exec: %v", err)
	}
	if err := tx.QueryRowContext(ctx, "INSERT INTO t VALUES (2) RETURNING a").Scan(new(int)); !errors.Is(err, agentdb.ErrReadOnly) {
		t.Errorf("query: %v", err)
	}
	execSQL(t, db, "INSERT INTO t VALUES (3)") // beside it
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM t").Scan(&n); err != nil || n != 1 {
		t.Errorf("the snapshot has %d rows, %v", n, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
	tctx, cancel := context.WithCancel(ctx)
	tx, err = db.BeginTx(tctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	execSQL(t, tx, "INSERT INTO t VALUES (4)")
	cancel() // database/sql rolls back by itself
	execSQL(t, db, "INSERT INTO t VALUES (5)")
	if n := count(); n != 3 {
		t.Errorf("%d rows", n)
	}
}

func TestDriverTransactionsBySQL(t *testing.T) {
	ctx := context.Background()
	db := openSQL(t)
	execSQL(t, db, "CREATE TABLE t (a)")
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"BEGIN", "INSERT INTO t VALUES (1)", "SAVEPOINT s", "INSERT INTO t VALUES (2)", "ROLLBACK TO s", "COMMIT",
		"BEGIN DEFERRED TRANSACTION", "INSERT INTO t VALUES (3)", "ROLLBACK",
		"SAVEPOINT outermost", "INSERT INTO t VALUES (4)", "SAVEPOINT inside", "RELEASE inside", "RELEASE outermost",
		"BEGIN; INSERT INTO t VALUES (5); END",
	} {
		execSQL(t, conn, text)
	}
	execSQL(t, db, "INSERT INTO t VALUES (6)") // nobody holds the lock
	execSQL(t, conn, "BEGIN")
	execSQL(t, conn, "INSERT INTO t VALUES (7)")
	if err := conn.Close(); err != nil { // gives it back with an open transaction
		t.Fatal(err)
	}
	other, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	third, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	execSQL(t, third, "INSERT INTO t VALUES (8)") // nobody holds the lock any more
	if err := errors.Join(other.Close(), third.Close()); err != nil {
		t.Fatal(err)
	}
	var sum int
	if err := db.QueryRowContext(ctx, "SELECT sum(a) FROM t").Scan(&sum); err != nil || sum != 1+4+5+6+8 {
		t.Errorf("sum %d, %v", sum, err)
	}
}

func TestDriverPrepared(t *testing.T) {
	ctx := context.Background()
	db := openSQL(t)
	execSQL(t, db, "CREATE TABLE t (a)")
	if _, err := db.PrepareContext(ctx, "SELEC"); err == nil {
		t.Error("no error")
	}
	ins, err := db.PrepareContext(ctx, "INSERT INTO t VALUES (?)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ins.Close() }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := tx.StmtContext(ctx, ins).ExecContext(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := tx.QueryContext(ctx, "SELECT a FROM t ORDER BY a")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() { // writing while rows are open
		var a int
		if err := rows.Scan(&a); err != nil {
			t.Fatal(err)
		}
		execSQL(t, tx, "UPDATE t SET a = a WHERE a = ?", a)
	}
	if err := errors.Join(rows.Err(), tx.Commit()); err != nil {
		t.Error(err)
	}
}

func TestDriverNames(t *testing.T) {
	for _, name := range []string{"", ":memory:", "a.db?nonsense=1", "a.db?synchronous=maybe", "a.db?busy_timeout=soon"} {
		if db, err := sql.Open("agentdb", name); err == nil {
			t.Errorf("%q was opened", name)
			_ = db.Close()
		}
	}
}

// A pool that was closed is replaced; the file's other users go on.
func TestSQLAfterItsClose(t *testing.T) {
	db := open(t, nil)
	first := db.SQL()
	if first != db.SQL() {
		t.Error("there are two")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	execSQL(t, db.SQL(), "CREATE TABLE t (a)")
	mustExec(t, db, "INSERT INTO t VALUES (1)")
}
