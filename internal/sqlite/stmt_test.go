package sqlite_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

func TestPrepareTail(t *testing.T) {
	c := newConn(t)
	s, tail, err := c.Prepare("SELECT 1; SELECT 2")
	if err != nil || s == nil || tail != " SELECT 2" || s.SQL() != "SELECT 1;" {
		t.Fatalf("%v %q %v", s, tail, err)
	}
	s.Finalize()
	for _, sql := range []string{"", "  \n", "-- comment", "/* comment */", ";", " ; ; "} {
		s, tail, err := c.Prepare(sql)
		if s != nil || err != nil {
			t.Errorf("%q: %v %q %v", sql, s, tail, err)
		}
		must(t, c.Exec(sql))
		if _, err := c.Cached(sql); !errors.Is(err, sqlite.ErrMisuse) {
			t.Errorf("Cached(%q): %v", sql, err)
		}
	}
	_, _, err = c.Prepare("SELECT 1\x00; DROP TABLE x")
	if e := (*sqlite.Error)(nil); !errors.As(err, &e) || e.Primary() != sqlite.CodeError || e.Offset != 8 {
		t.Errorf("NUL: %v", err)
	}
}

func TestPrepareError(t *testing.T) {
	c := newConn(t)
	_, _, err := c.Prepare("SELECT a FROM nowhere")
	var e *sqlite.Error
	if !errors.As(err, &e) || e.Primary() != sqlite.CodeError || !strings.Contains(e.Message, "no such table: nowhere") {
		t.Fatalf("%v", err)
	}
	_, _, err = c.Prepare("SELECT 1 FRM t")
	if !errors.As(err, &e) || e.Offset != len("SELECT 1 FRM ") || e.SQL != "SELECT 1 FRM t" {
		t.Fatalf("%v offset %d", err, e.Offset)
	}
	if want := `sqlite: near "t": syntax error (SQLITE_ERROR)`; err.Error() != want {
		t.Errorf("%q", err)
	}
	if _, err := c.Cached("SELECT 1; SELEKT"); err == nil {
		t.Error("bad tail accepted")
	}
	if _, err := c.Cached("SELECT 1; SELECT 2"); !errors.Is(err, sqlite.ErrMisuse) {
		t.Errorf("two statements: %v", err)
	}
}

func TestConstraintCodes(t *testing.T) {
	c := newConn(t, `CREATE TABLE p(id INTEGER PRIMARY KEY, u TEXT UNIQUE, n INT NOT NULL, k INT CHECK(k > 0)) STRICT;
		CREATE TABLE f(p REFERENCES p(id)); INSERT INTO p VALUES(1, 'u', 1, 1)`)
	for sql, code := range map[string]string{
		"INSERT INTO p VALUES(1, 'v', 1, 1)":    "SQLITE_CONSTRAINT_PRIMARYKEY",
		"INSERT INTO p VALUES(2, 'u', 1, 1)":    "SQLITE_CONSTRAINT_UNIQUE",
		"INSERT INTO p VALUES(2, 'v', NULL, 1)": "SQLITE_CONSTRAINT_NOTNULL",
		"INSERT INTO p VALUES(2, 'v', 1, 0)":    "SQLITE_CONSTRAINT_CHECK",
		"INSERT INTO p VALUES(2, 'v', 'x', 1)":  "SQLITE_CONSTRAINT_DATATYPE",
		"INSERT INTO f VALUES(9)":               "SQLITE_CONSTRAINT_FOREIGNKEY",
	} {
		err := c.ExecArgs(sql)
		wantCode(t, err, code)
		if !sqlite.IsConstraint(err) || sqlite.IsBusy(err) {
			t.Errorf("%v", err)
		}
		wantCode(t, c.Exec(sql), code)
	}
}

func TestStatementStates(t *testing.T) {
	c := newConn(t)
	s, _, err := c.Prepare("SELECT ?1 UNION ALL SELECT 2")
	must(t, err)
	if s.ColumnInt64(0) != 0 || s.ColumnKind(0) != sqlite.KindNull || s.ColumnRaw(0) != nil {
		t.Error("a column before the first row")
	}
	must(t, s.BindText(1, "a"))
	step(t, s)
	wantIs(t, s.BindText(1, "b"), sqlite.ErrMisuse)
	wantIs(t, s.BindInt64(1, 1), sqlite.ErrMisuse)
	wantIs(t, s.BindNull(1), sqlite.ErrMisuse)
	if s.ColumnText(0) != "a" {
		t.Error("a refused bind changed the row")
	}
	step(t, s)
	if row, err := s.Step(); row || err != nil {
		t.Fatal(row, err)
	}
	_, err = s.Step()
	wantIs(t, err, sqlite.ErrMisuse)
	must(t, s.Reset())
	step(t, s)
	if s.ColumnText(0) != "a" {
		t.Error("Reset lost a binding")
	}
	must(t, s.Reset())
	s.ClearBindings()
	step(t, s)
	if s.ColumnKind(0) != sqlite.KindNull {
		t.Error("ClearBindings kept one")
	}
	s.Finalize()
	s.Finalize()
	checkDead(t, s, sqlite.ErrClosed)
}

// checkDead calls everything on a statement that must answer without crashing.
func checkDead(t *testing.T, s *sqlite.Stmt, want error) {
	t.Helper()
	_, err := s.Step()
	for _, err := range []error{
		err, s.Reset(), s.Bind(1, sqlite.Text("x")), s.BindInt64(1, 1), s.BindNull(1), s.BindFloat(1, 1), s.BindBlob(1, nil),
	} {
		wantIs(t, err, want)
	}
	s.ClearBindings()
	s.Done()
	for i := -1; i < 3; i++ {
		if s.ColumnText(i) != "" || s.ColumnBlob(i) != nil || s.ColumnInt64(i) != 0 || s.ColumnFloat(i) != 0 || !s.Column(i).IsNull() {
			t.Errorf("dead statement has column %d", i)
		}
	}
	if errors.Is(want, sqlite.ErrClosed) {
		if s.ColumnCount() != 0 || s.BindCount() != 0 || s.BindName(1) != "" || s.BindIndex("x") != 0 || s.ReadOnly() || s.Bound() != nil || s.Reprepared() != 0 {
			t.Error("dead statement has facts")
		}
		if s.ColumnName(0) != "" || s.ColumnDeclType(0) != "" || s.ColumnTable(0) != "" {
			t.Error("dead statement has names")
		}
	}
}

func TestOutOfRange(t *testing.T) {
	c := newConn(t)
	s := cached(t, c, "SELECT ?1, 'x'")
	defer s.Done()
	for _, i := range []int{-1 << 62, -1, 0, 2, 1 << 31, 1<<32 + 1, 1 << 62} {
		wantCode(t, s.BindText(i, "x"), "SQLITE_RANGE")
		wantCode(t, s.BindInt64(i, 1), "SQLITE_RANGE")
		wantCode(t, s.BindFloat(i, 1), "SQLITE_RANGE")
		wantCode(t, s.BindNull(i), "SQLITE_RANGE")
		if s.BindName(i) != "" {
			t.Error("name")
		}
	}
	wantIs(t, s.Bind(1, sqlite.Value{Kind: 9}), sqlite.ErrMisuse)
	wantIs(t, s.BindArgs(), sqlite.ErrMisuse)
	step(t, s)
	for _, i := range []int{-1 << 62, -1, 2, 1 << 32, 1 << 62} {
		if s.ColumnText(i) != "" || s.ColumnKind(i) != sqlite.KindNull || s.ColumnName(i) != "" || s.ColumnDeclType(i) != "" || s.ColumnTable(i) != "" {
			t.Errorf("column %d exists", i)
		}
	}
}

func TestParameters(t *testing.T) {
	c := newConn(t)
	s := cached(t, c, "SELECT :a, @b, $c, ?5, ?")
	defer s.Done()
	if s.BindCount() != 6 || s.BindName(1) != ":a" || s.BindName(4) != "" || s.BindName(5) != "?5" || s.BindIndex("@b") != 2 || s.BindIndex("b") != 0 || s.BindIndex("") != 0 {
		t.Errorf("%d parameters", s.BindCount())
	}
	must(t, s.BindInt64(2, 7))
	must(t, s.BindText(3, "x"))
	if b := s.Bound(); len(b) != 6 || !b[0].IsNull() || b[1].I != 7 || b[2].Any() != "x" {
		t.Errorf("bound %v", b)
	}
}

func TestColumnFacts(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(a VARCHAR(10), b INT)")
	s := cached(t, c, "SELECT a AS x, b, a || b FROM t AS u")
	defer s.Done()
	if s.ColumnCount() != 3 || s.ColumnName(0) != "x" || s.ColumnName(2) != "a || b" || s.ColumnDeclType(0) != "VARCHAR(10)" ||
		s.ColumnDeclType(2) != "" || s.ColumnTable(1) != "t" || s.ColumnTable(2) != "" || !s.ReadOnly() {
		t.Error("facts of", s)
	}
	w := cached(t, c, "INSERT INTO t VALUES(1, 2)")
	defer w.Done()
	if w.ColumnCount() != 0 || w.ReadOnly() {
		t.Error("facts of", w)
	}
}

func TestReprepare(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
	s := cached(t, c, "SELECT * FROM t")
	step(t, s)
	if s.ColumnName(0) != "a" || s.ColumnCount() != 1 {
		t.Fatal("names")
	}
	before := s.Reprepared()
	must(t, s.Reset())
	exec(t, c, "ALTER TABLE t ADD COLUMN b DEFAULT 'new'")
	step(t, s)
	if s.ColumnCount() != 2 || s.ColumnName(1) != "b" || s.ColumnText(1) != "new" || s.Reprepared() == before {
		t.Error("columns after a schema change:", s.ColumnCount(), s.ColumnName(1), s.ColumnText(1))
	}
	s.Done()
	exec(t, c, "DROP TABLE t")
	s = cached(t, c, "SELECT * FROM t")
	defer s.Done()
	_, err := s.Step()
	wantCode(t, err, "SQLITE_ERROR")
}

func TestCache(t *testing.T) {
	c := newConn(t)
	s := cached(t, c, "SELECT ?1")
	s.Tag = "mine"
	must(t, s.BindText(1, "x"))
	s.Done()
	checkDead(t, s, sqlite.ErrMisuse)
	again := cached(t, c, "SELECT ?1")
	if again != s || again.Tag != "mine" {
		t.Fatal("not from the cache")
	}
	step(t, again)
	if again.ColumnKind(0) != sqlite.KindNull {
		t.Error("Done kept a binding")
	}
	nested := cached(t, c, "SELECT ?1")
	if nested == again {
		t.Fatal("one statement given out twice")
	}
	nested.Done()
	checkDead(t, nested, sqlite.ErrClosed)
	again.Done()

	var held []*sqlite.Stmt
	for i := range 300 {
		s := cached(t, c, fmt.Sprintf("SELECT %d", i))
		step(t, s)
		if i%3 == 0 {
			held = append(held, s)
			continue
		}
		s.Done()
	}
	for i, s := range held {
		if s.ColumnInt64(0) != int64(i*3) {
			t.Errorf("statement %d lost its row", i)
		}
		s.Done()
	}
	if cached(t, c, "SELECT ?1") == again {
		t.Error("an old statement was never evicted")
	}
}

func TestUseAfterClose(t *testing.T) {
	c, err := sqlite.Open(":memory:", sqlite.Options{})
	must(t, err)
	s := cached(t, c, "SELECT ?1, 'x'")
	p, _, err := c.Prepare("SELECT 1")
	must(t, err)
	step(t, s)
	must(t, c.Close())
	must(t, c.Close())
	checkDead(t, s, sqlite.ErrClosed)
	checkDead(t, p, sqlite.ErrClosed)
	s.Finalize()

	_, err = c.Cached("SELECT 1")
	wantIs(t, err, sqlite.ErrClosed)
	_, _, err = c.Prepare("SELECT 1")
	wantIs(t, err, sqlite.ErrClosed)
	_, err = c.QueryInt("SELECT 1")
	wantIs(t, err, sqlite.ErrClosed)
	_, err = c.DeferredFKs()
	wantIs(t, err, sqlite.ErrClosed)
	_, _, err = c.Checkpoint(sqlite.CheckpointFull)
	wantIs(t, err, sqlite.ErrClosed)
	wantIs(t, c.Exec("SELECT 1"), sqlite.ErrClosed)
	wantIs(t, c.ExecArgs("SELECT 1"), sqlite.ErrClosed)
	wantIs(t, c.DBConfig(sqlite.ConfigEnableFKey, true), sqlite.ErrClosed)
	wantIs(t, c.BackupTo(c), sqlite.ErrClosed)
	wantIs(t, c.CreateFunction("f", 0, false, nil), sqlite.ErrClosed)
	c.Interrupt()
	c.PreUpdate(func(*sqlite.PreUpdate) {})
	c.Authorize(func(sqlite.Action) sqlite.Verdict { return sqlite.Allow })
	c.WALHook(func(int) {})
	if c.Changes() != 0 || c.TotalChanges() != 0 || c.LastInsertRowID() != 0 || c.Filename() != "" || !c.AutoCommit() || c.Limit(sqlite.LimitLength, 1) != -1 {
		t.Error("closed connection has facts")
	}
}

func TestCounters(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(a)")
	exec(t, c, "INSERT INTO t VALUES(1),(2),(3)")
	if c.Changes() != 3 || c.TotalChanges() != 3 || c.LastInsertRowID() != 3 {
		t.Error(c.Changes(), c.TotalChanges(), c.LastInsertRowID())
	}
	exec(t, c, "BEGIN; DELETE FROM t")
	if c.AutoCommit() || c.Changes() != 3 || c.TotalChanges() != 6 {
		t.Error("in a transaction")
	}
	exec(t, c, "ROLLBACK")
	if !c.AutoCommit() {
		t.Error("after ROLLBACK")
	}
	if _, err := c.QueryInt("SELECT a FROM t WHERE a > 9"); !errors.Is(err, sqlite.ErrNoRow) {
		t.Errorf("no row: %v", err)
	}
	if n := queryInt(t, c, "INSERT INTO t VALUES(4) RETURNING a * 2"); n != 8 || queryInt(t, c, "SELECT count(*) FROM t") != 4 {
		t.Error("RETURNING", n)
	}
}

func TestDBConfigAndDeferredFKs(t *testing.T) {
	c := newConn(t, `CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE f(p REFERENCES p DEFERRABLE INITIALLY DEFERRED);
		CREATE TABLE log(x); CREATE TRIGGER tr AFTER INSERT ON p BEGIN INSERT INTO log VALUES(1); END; BEGIN`)
	deferred := func() bool {
		t.Helper()
		b, err := c.DeferredFKs()
		must(t, err)
		return b
	}
	if deferred() {
		t.Error("violation at the start")
	}
	exec(t, c, "INSERT INTO f VALUES(1)")
	if !deferred() {
		t.Error("violation not seen")
	}
	must(t, c.DBConfig(sqlite.ConfigEnableTrigger, false))
	exec(t, c, "INSERT INTO p VALUES(1)")
	if deferred() || queryInt(t, c, "SELECT count(*) FROM log") != 0 {
		t.Error("violation stays, or the trigger ran")
	}
	must(t, c.DBConfig(sqlite.ConfigEnableTrigger, true))
	must(t, c.DBConfig(sqlite.ConfigEnableFKey, false)) // PRAGMA could not do that in a transaction
	exec(t, c, "INSERT INTO p VALUES(2); INSERT INTO f VALUES(77); COMMIT")
	if queryInt(t, c, "SELECT count(*) FROM log") != 1 {
		t.Error("the trigger did not run")
	}
	if err := c.DBConfig(sqlite.DBConfigOp(9999), true); err == nil {
		t.Error("unknown option accepted")
	}
	must(t, c.DBConfig(sqlite.ConfigDefensive, true))
	if err := c.Exec("PRAGMA writable_schema=ON; DELETE FROM sqlite_schema"); err == nil {
		t.Error("defensive mode has no effect")
	}
}

// TestPassTriggers: a statement that passes triggers by keeps its bindings and
// answers as before, fires what the temp database has, and fires all once the
// schema has changed.
func TestPassTriggers(t *testing.T) {
	c := newConn(t, `CREATE TABLE t(a); CREATE TABLE log(x); CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES('main'); END;
		CREATE TEMP TRIGGER tt AFTER INSERT ON t BEGIN INSERT INTO log VALUES('temp'); END`)
	s := cached(t, c, "INSERT INTO t VALUES(?1) RETURNING a AS same, rowid")
	run := func(logs string) {
		t.Helper()
		step(t, s)
		if s.ColumnText(0) != "bound" || s.ColumnName(0) != "same" || s.ColumnCount() != 2 {
			t.Errorf("%s: %q as %q", logs, s.ColumnText(0), s.ColumnName(0))
		}
		if err := s.PassTriggers(); err == nil {
			t.Error("passed between two rows")
		}
		must(t, s.Reset())
		got, err := c.QueryText("SELECT group_concat(x) FROM (SELECT x FROM log ORDER BY x)")
		must(t, err)
		if got != logs {
			t.Errorf("logged %s, want %s", got, logs)
		}
		exec(t, c, "DELETE FROM log")
	}
	must(t, s.BindText(1, "bound"))
	run("main,temp")
	seen := s.Reprepared()
	must(t, s.PassTriggers())
	if s.Reprepared() == seen {
		t.Error("nobody can tell that it was compiled again")
	}
	run("temp")
	run("temp")
	exec(t, c, "INSERT INTO t VALUES(1)")
	exec(t, c, "CREATE TABLE other(x)")
	run("main,main,temp,temp")
	must(t, s.PassTriggers())
	exec(t, c, "DROP TABLE t")
	if _, err := s.Step(); err == nil {
		t.Error("a table that is gone was written")
	}
	must(t, c.DBConfig(sqlite.ConfigEnableTrigger, false))
	o := cached(t, c, "INSERT INTO other VALUES(1)")
	must(t, o.PassTriggers())
	exec(t, c, "CREATE TRIGGER tr AFTER INSERT ON other BEGIN INSERT INTO log VALUES('other'); END; INSERT INTO other VALUES(2)")
	if n := queryInt(t, c, "SELECT count(*) FROM log"); n != 0 {
		t.Error("triggers are on again")
	}
}
