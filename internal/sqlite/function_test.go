package sqlite_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

func TestFunction(t *testing.T) {
	c := newConn(t)
	var seen []sqlite.Value
	must(t, c.CreateFunction("echo", -1, true, func(args []sqlite.Value) (sqlite.Value, error) {
		seen = append(seen, args...)
		if len(args) == 0 {
			return sqlite.Null(), nil
		}
		return args[len(args)-1], nil
	}))
	values := []sqlite.Value{
		sqlite.Null(), sqlite.Int(-5), sqlite.Real(2.5), sqlite.Text("a\x00b"), sqlite.Text(""), sqlite.Blob(nil),
		sqlite.Blob([]byte{0, 1}), sqlite.Text(strings.Repeat("x", 100_000)),
	}
	for _, v := range values {
		checkValue(t, c, "SELECT echo(?1)", v, v)
	}
	for i, v := range values {
		if !seen[i].Equal(v) {
			t.Errorf("argument %d: %v", i, seen[i].Kind)
		}
	}
	if queryText(t, c, "SELECT coalesce(echo(), 'none') || echo(1, 2, 'last')") != "nonelast" {
		t.Error("arity")
	}
}

func TestFunctionErrors(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(a)")
	must(t, c.CreateFunction("fail", 1, false, func(args []sqlite.Value) (sqlite.Value, error) {
		switch args[0].I {
		case 0:
			return sqlite.Value{}, errors.New("plain error")
		case 1:
			return sqlite.Value{}, &sqlite.Error{Code: 2067, Message: "mine"}
		case 2:
			panic("boom")
		case 3:
			return sqlite.Value{Kind: 77}, nil
		}
		return sqlite.Int(1), nil
	}))
	err := c.Exec("SELECT fail(0)")
	wantCode(t, err, "SQLITE_ERROR")
	if !strings.Contains(err.Error(), "plain error") {
		t.Error(err)
	}
	wantCode(t, c.Exec("SELECT fail(1)"), "SQLITE_CONSTRAINT_UNIQUE")
	wantIs(t, c.Exec("INSERT INTO t VALUES(fail(2))"), sqlite.ErrPanic)
	wantCode(t, c.Exec("SELECT fail(3)"), "SQLITE_ERROR")
	wantCode(t, c.Exec("SELECT fail()"), "SQLITE_ERROR")
	exec(t, c, "SELECT fail(4)")
	if queryInt(t, c, "SELECT count(*) FROM t") != 0 {
		t.Error("a panic left a row")
	}
	wantIs(t, c.CreateFunction("f", -2, false, func([]sqlite.Value) (sqlite.Value, error) { return sqlite.Value{}, nil }), sqlite.ErrMisuse)
	if err := c.CreateFunction(strings.Repeat("n", 300), 1, false, func([]sqlite.Value) (sqlite.Value, error) { return sqlite.Value{}, nil }); err == nil {
		t.Error("name too long")
	}
}

func TestFunctionInTrigger(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(a)")
	must(t, c.CreateFunction("guard", 1, false, func(args []sqlite.Value) (sqlite.Value, error) {
		if args[0].I < 0 {
			return sqlite.Value{}, errors.New("guarded")
		}
		return sqlite.Null(), nil
	}))
	exec(t, c, "CREATE TRIGGER g BEFORE INSERT ON t BEGIN SELECT guard(new.a); END; INSERT INTO t VALUES(1)")
	if err := c.Exec("INSERT INTO t VALUES(-1)"); err == nil || !strings.Contains(err.Error(), "guarded") {
		t.Error(err)
	}
	// Replacing a function takes effect for statements prepared before.
	must(t, c.CreateFunction("guard", 1, false, func([]sqlite.Value) (sqlite.Value, error) { return sqlite.Null(), nil }))
	exec(t, c, "INSERT INTO t VALUES(-1)")
}

func TestBackup(t *testing.T) {
	src := newConn(t, "CREATE TABLE t(a); INSERT INTO t VALUES(1),(2); CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('hello')")
	dst := newConn(t, "CREATE TABLE old(a)")
	exec(t, dst, "SELECT * FROM old")
	must(t, src.BackupTo(dst))
	if queryInt(t, dst, "SELECT sum(a) FROM t") != 3 || queryInt(t, dst, "SELECT count(*) FROM f('hello')") != 1 {
		t.Error("content")
	}
	if got := queryText(t, dst, "PRAGMA integrity_check") + queryText(t, dst, "PRAGMA journal_mode"); got != "okwal" {
		t.Error(got)
	}
	mem := openPath(t, ":memory:", sqlite.Options{})
	must(t, src.BackupTo(mem))
	if queryInt(t, mem, "SELECT sum(a) FROM t") != 3 {
		t.Error("content in memory")
	}
	exec(t, dst, "BEGIN IMMEDIATE")
	if err := src.BackupTo(dst); err == nil {
		t.Error("backup into an open transaction")
	}
	exec(t, dst, "ROLLBACK")
	wantIs(t, src.BackupTo(src), sqlite.ErrMisuse)
	wantIs(t, src.BackupTo(nil), sqlite.ErrClosed)
	exec(t, src, "BEGIN; INSERT INTO t VALUES(10)")
	wantCode(t, src.BackupTo(dst), "SQLITE_BUSY")
	exec(t, src, "ROLLBACK")
}
