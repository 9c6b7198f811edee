package sqlite_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// record attaches a hook that writes down each row change.
func record(c *sqlite.Conn) *[]string {
	var log []string
	c.PreUpdate(func(p *sqlite.PreUpdate) {
		op := map[byte]string{sqlite.Insert: "insert", sqlite.Update: "update", sqlite.Delete: "delete"}[p.Op]
		line := fmt.Sprintf("%s %s.%s %d>%d depth %d:", op, p.DB, p.Table, p.OldRowID, p.NewRowID, p.Depth())
		row := func(get func(int) (sqlite.Value, error)) {
			for i := range p.Columns() {
				v, err := get(i)
				if err != nil {
					line += " " + err.Error()
					continue
				}
				line += fmt.Sprintf(" %v", v.Any())
			}
		}
		if p.Op != sqlite.Insert {
			row(p.Old)
		}
		if p.Op == sqlite.Update {
			line += " =>"
		}
		if p.Op != sqlite.Delete {
			row(p.New)
		}
		if p.BlobWrite() != -1 {
			line += " blob"
		}
		log = append(log, line)
	})
	return &log
}

func wantLog(t *testing.T, log *[]string, want ...string) {
	t.Helper()
	if !slices.Equal(*log, want) {
		t.Errorf("hook saw\n  %s\nwant\n  %s", strings.Join(*log, "\n  "), strings.Join(want, "\n  "))
	}
	*log = nil
}

func TestPreUpdateRows(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b UNIQUE)")
	log := record(c)
	exec(t, c, "INSERT INTO t VALUES(1, 'x', 1.5),(2, NULL, x'00')")
	wantLog(t, log, "insert main.t 1>1 depth 0: 1 x 1.5", "insert main.t 2>2 depth 0: 2 <nil> [0]")
	exec(t, c, "UPDATE t SET a = 'y' WHERE id = 1")
	wantLog(t, log, "update main.t 1>1 depth 0: 1 x 1.5 => 1 y 1.5")
	exec(t, c, "UPDATE t SET id = 7 WHERE id = 1")
	wantLog(t, log, "update main.t 1>7 depth 0: 1 y 1.5 => 7 y 1.5")
	exec(t, c, "REPLACE INTO t VALUES(7, 'z', x'00')")
	wantLog(t, log, "delete main.t 7>7 depth 0: 7 y 1.5", "delete main.t 2>2 depth 0: 2 <nil> [0]", "insert main.t 7>7 depth 0: 7 z [0]")
	exec(t, c, "INSERT INTO t VALUES(7, 'q', 1) ON CONFLICT(id) DO UPDATE SET a = excluded.a")
	wantLog(t, log, "update main.t 7>7 depth 0: 7 z [0] => 7 q [0]")
	exec(t, c, "DELETE FROM t") // must not use the truncate optimization
	wantLog(t, log, "delete main.t 7>7 depth 0: 7 q [0]")
	c.PreUpdate(nil)
	exec(t, c, "INSERT INTO t VALUES(1, 1, 1)")
	wantLog(t, log)
}

func TestPreUpdateDepth(t *testing.T) {
	c := newConn(t, `CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE f(p REFERENCES p ON DELETE CASCADE);
		CREATE TABLE l1(x); CREATE TABLE l2(x);
		CREATE TRIGGER t1 AFTER INSERT ON p BEGIN INSERT INTO l1 VALUES(new.id); END;
		CREATE TRIGGER t2 AFTER INSERT ON l1 BEGIN INSERT INTO l2 VALUES(new.x); END`)
	log := record(c)
	exec(t, c, "INSERT INTO p VALUES(5)")
	wantLog(t, log, "insert main.p 5>5 depth 0: 5", "insert main.l1 1>1 depth 1: 5", "insert main.l2 1>1 depth 2: 5")
	exec(t, c, "INSERT INTO f VALUES(5); DELETE FROM p")
	wantLog(t, log, "insert main.f 1>1 depth 0: 5", "delete main.p 5>5 depth 0: 5", "delete main.f 1>1 depth 1: 5")
}

func TestPreUpdateOtherTables(t *testing.T) {
	c := newConn(t, "CREATE TABLE w(a, b, c, PRIMARY KEY(c, a)) WITHOUT ROWID; CREATE TEMP TABLE tmp(x)")
	log := record(c)
	exec(t, c, "INSERT INTO temp.tmp VALUES('t')")
	wantLog(t, log, "insert temp.tmp 1>1 depth 0: t")
	exec(t, c, "INSERT INTO w VALUES(1, 2, 3); UPDATE w SET b = 9; UPDATE w SET c = 4; DELETE FROM w")
	var got []string
	for _, l := range *log {
		head, row, _ := strings.Cut(l, ":")
		got = append(got, strings.Fields(head)[0]+row)
	}
	// A changed key is one update, not a delete and an insert.
	want := []string{"insert 1 2 3", "update 1 2 3 => 1 9 3", "update 1 9 3 => 1 9 4", "delete 1 9 4"}
	if !slices.Equal(got, want) {
		t.Errorf("WITHOUT ROWID: %q, want %q", got, want)
	}
	*log = nil
	exec(t, c, "CREATE TABLE n(a); INSERT INTO n VALUES(1); ALTER TABLE n ADD COLUMN b DEFAULT 'dflt'; DELETE FROM n")
	wantLog(t, log, "insert main.n 1>1 depth 0: 1", "delete main.n 1>1 depth 0: 1 dflt")
}

func TestPreUpdateValuesAreCopies(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(a)")
	var kept []sqlite.Value
	var hook *sqlite.PreUpdate
	c.PreUpdate(func(p *sqlite.PreUpdate) {
		v, err := p.New(0)
		must(t, err)
		kept = append(kept, v)
		hook = p
		if _, err := p.New(1); err == nil {
			t.Error("column out of range")
		}
		if _, err := p.New(-1); err == nil {
			t.Error("column -1")
		}
		if _, err := p.New(1 << 40); err == nil {
			t.Error("column 1<<40")
		}
		if _, err := p.Old(0); err == nil {
			t.Error("old row of an insert")
		}
	})
	for i := range 100 {
		must(t, c.ExecArgs("INSERT INTO t VALUES(?)", sqlite.Text(fmt.Sprintf("value %d", i))))
	}
	for i, v := range kept {
		if v.Any() != fmt.Sprintf("value %d", i) {
			t.Errorf("value %d is %q", i, v.Any())
		}
	}
	if _, err := hook.New(0); err == nil || hook.Depth() != 0 || hook.Columns() != 0 || hook.BlobWrite() != -1 {
		t.Error("a row outlives its callback")
	}
}

func TestPreUpdateAllocatesNothing(t *testing.T) {
	c := newConn(t, "CREATE TABLE a(x); CREATE TABLE b(x); BEGIN")
	rows := 0
	c.PreUpdate(func(p *sqlite.PreUpdate) {
		if _, err := p.New(0); err != nil || p.DB != "main" || len(p.Table) != 1 {
			t.Error(p.DB, p.Table, err)
		}
		rows++
	})
	insert := func() {
		for _, sql := range []string{"INSERT INTO a VALUES(?1)", "INSERT INTO b VALUES(?1)"} {
			s, _ := c.Cached(sql)
			must(t, s.BindInt64(1, 1))
			if _, err := s.Step(); err != nil {
				t.Fatal(err)
			}
			s.Done()
		}
	}
	insert()
	if n := testing.AllocsPerRun(100, insert); n != 0 || rows < 100 {
		t.Errorf("%v allocations", n)
	}
}

func TestPreUpdatePanic(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(a); INSERT INTO t VALUES(0)")
	boom := true
	c.PreUpdate(func(p *sqlite.PreUpdate) {
		if boom {
			panic("boom")
		}
	})
	wantIs(t, c.ExecArgs("INSERT INTO t VALUES(1)"), sqlite.ErrPanic)
	if n := queryInt(t, c, "SELECT count(*) FROM t"); n != 1 {
		t.Errorf("the row of a panic was committed: %d rows", n)
	}
	exec(t, c, "BEGIN")
	wantIs(t, c.ExecArgs("INSERT INTO t VALUES(1)"), sqlite.ErrPanic)
	boom = false
	if err := c.Exec("COMMIT"); err == nil {
		t.Error("COMMIT after a panic")
	}
	if n := queryInt(t, c, "SELECT count(*) FROM t"); n != 1 || !c.AutoCommit() {
		t.Errorf("the transaction of a panic was committed: %d rows", n)
	}
	exec(t, c, "INSERT INTO t VALUES(1)")
	exec(t, c, "BEGIN; INSERT INTO t VALUES(2); COMMIT")
	if n := queryInt(t, c, "SELECT count(*) FROM t"); n != 3 {
		t.Errorf("%d rows", n)
	}
}

func TestPanicOfLongStatement(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(a)")
	calls := 0
	c.PreUpdate(func(*sqlite.PreUpdate) { calls++; panic("boom") })
	err := c.Exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) INSERT INTO t SELECT i FROM n")
	wantIs(t, err, sqlite.ErrPanic)
	if calls != 1 || queryInt(t, c, "SELECT count(*) FROM t") != 0 {
		t.Errorf("%d calls", calls)
	}
}

func TestAuthorizer(t *testing.T) {
	c := newConn(t, "CREATE TABLE secret(a); CREATE TABLE t(a); CREATE TRIGGER tr AFTER INSERT ON t BEGIN DELETE FROM secret; END")
	var acts []string
	deny := ""
	c.Authorize(func(a sqlite.Action) sqlite.Verdict {
		if a.Code == sqlite.ActRead || a.Code == sqlite.ActDelete || a.Code == sqlite.ActPragma {
			acts = append(acts, fmt.Sprintf("%d %s %s %s %s", a.Code, a.Arg1, a.Arg2, a.DB, a.Trigger))
		}
		if deny == "panic" {
			panic("boom")
		}
		switch {
		case a.Code == sqlite.ActPragma && a.Arg2 == "ignored":
			return sqlite.Ignore
		case deny != "" && a.Arg1 == deny:
			return sqlite.Deny
		}
		return sqlite.Allow
	})
	exec(t, c, "SELECT a FROM t; PRAGMA cache_size=100; INSERT INTO t VALUES(1)")
	want := []string{"20 t a main ", "19 cache_size 100  ", "9 secret  main tr"}
	if !slices.Equal(acts, want) {
		t.Errorf("%q", acts)
	}
	s := cached(t, c, "SELECT a FROM secret")
	s.Done()
	deny = "secret"
	_, err := c.Cached("SELECT count(a) FROM secret")
	wantCode(t, err, "SQLITE_AUTH")
	exec(t, c, "SELECT a FROM t")
	exec(t, c, "CREATE TABLE ignored(a)")
	if n := queryInt(t, c, "SELECT count(*) FROM pragma_table_info('t') UNION ALL SELECT 10*count(*) FROM pragma_table_info('ignored') ORDER BY 1 DESC"); n != 1 {
		t.Errorf("a pragma that is ignored: %d", n)
	}
	deny = "panic"
	_, err = c.Cached("SELECT max(a) FROM t")
	wantIs(t, err, sqlite.ErrPanic)
	deny = ""
	c.Authorize(nil)
	exec(t, c, "SELECT min(a) FROM secret")
}

func TestWALHook(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(a)")
	var frames []int
	c.WALHook(func(n int) { frames = append(frames, n) })
	exec(t, c, "INSERT INTO t VALUES(1)")
	exec(t, c, "BEGIN; INSERT INTO t VALUES(1); INSERT INTO t VALUES(2); ROLLBACK; SELECT 1")
	exec(t, c, "INSERT INTO t VALUES(1)")
	if len(frames) != 2 || frames[1] <= frames[0] {
		t.Errorf("frames %v", frames)
	}
	c.WALHook(func(int) { panic("boom") })
	wantIs(t, c.Exec("INSERT INTO t VALUES(1)"), sqlite.ErrPanic)
	c.WALHook(nil)
	for range 1500 {
		exec(t, c, "INSERT INTO t VALUES(1)")
	}
	log, done, err := c.Checkpoint(sqlite.CheckpointPassive)
	must(t, err)
	if log < 1500 || done != log {
		t.Errorf("without a hook nobody should have made a checkpoint: %d of %d frames", done, log)
	}
	if log, done, err = c.Checkpoint(sqlite.CheckpointTruncate); err != nil || log != 0 || done != 0 {
		t.Error(log, done, err)
	}
}

// TestFrozen: a pre-update hook and an authorizer cannot reach the connection.
func TestFrozen(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
	s, _, err := c.Prepare("SELECT a FROM t")
	must(t, err)
	step(t, s)
	try := func() {
		_, err := s.Step()
		wantIs(t, err, sqlite.ErrMisuse)
		wantIs(t, s.Reset(), sqlite.ErrMisuse)
		wantIs(t, c.Exec("SELECT 1"), sqlite.ErrMisuse)
		wantIs(t, c.ExecArgs("SELECT 1"), sqlite.ErrMisuse)
		wantIs(t, c.DBConfig(sqlite.ConfigEnableFKey, false), sqlite.ErrMisuse)
		wantIs(t, c.Close(), sqlite.ErrMisuse)
		_, _, err = c.Checkpoint(sqlite.CheckpointFull)
		wantIs(t, err, sqlite.ErrMisuse)
		s.Finalize()
		c.PreUpdate(nil)
		c.Authorize(nil)
		if s.ColumnInt64(0) != 1 {
			t.Error("a row was lost")
		}
	}
	calls := 0
	c.PreUpdate(func(*sqlite.PreUpdate) { calls++; try() })
	c.Authorize(func(sqlite.Action) sqlite.Verdict { calls++; try(); return sqlite.Allow })
	exec(t, c, "INSERT INTO t VALUES(2)")
	if calls < 2 {
		t.Errorf("%d calls", calls)
	}
	s.Finalize()
}

func TestMisuseInsideCallback(t *testing.T) {
	c := newConn(t, "CREATE TABLE t(a)")
	var s *sqlite.Stmt
	must(t, c.CreateFunction("evil", 0, false, func([]sqlite.Value) (sqlite.Value, error) {
		if err := c.Close(); err == nil {
			t.Error("Close inside a callback")
		}
		s.Finalize()
		s.Done()
		_, err := s.Step()
		wantIs(t, err, sqlite.ErrMisuse)
		wantIs(t, s.Reset(), sqlite.ErrMisuse)
		wantIs(t, s.BindInt64(1, 1), sqlite.ErrMisuse)
		wantIs(t, c.BackupTo(c), sqlite.ErrMisuse)
		n, err := c.QueryInt("SELECT 41 + ?", sqlite.Int(1)) // another statement is fine
		return sqlite.Int(n), err
	}))
	s = cached(t, c, "SELECT evil(), ?")
	step(t, s)
	if s.ColumnInt64(0) != 42 {
		t.Error(s.Column(0))
	}
	s.Done()
}
