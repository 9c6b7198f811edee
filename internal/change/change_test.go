package change_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// file is a database with a capturing connection.
type file struct {
	t    *testing.T
	path string
	conn *sqlite.Conn
	cap  *change.Capture
}

func open(t *testing.T, opt change.Options) *file {
	t.Helper()
	f := &file{t: t, path: filepath.Join(t.TempDir(), "t.db")}
	var err error
	if f.conn, err = sqlite.Open(f.path, sqlite.Options{Synchronous: "OFF"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.conn.Close() })
	if err := f.conn.Exec(change.ConflictsSchema); err != nil {
		t.Fatal(err)
	}
	if f.cap, err = change.Attach(f.conn, opt); err != nil {
		t.Fatal(err)
	}
	return f
}

// do runs statements in one transaction and returns what was captured.
func (f *file) do(stmts ...string) *change.Change {
	f.t.Helper()
	f.must(f.conn.Exec("BEGIN IMMEDIATE"))
	f.must(f.cap.Begin())
	for _, sql := range stmts {
		f.must(f.step(sql))
	}
	c, err := f.cap.Finish()
	f.must(err)
	f.must(f.conn.Exec("COMMIT"))
	return c
}

func (f *file) step(sql string) error {
	st, _, err := f.conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer st.Finalize()
	if err := f.cap.Before(st); err != nil {
		return err
	}
	for {
		row, err := st.Step()
		if row && err == nil {
			continue
		}
		if aerr := f.cap.After(st, err); aerr != nil {
			return aerr
		}
		return err
	}
}

func (f *file) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// fresh runs fn on a new connection in one transaction.
func (f *file) fresh(fn func(c *sqlite.Conn, k *change.Capture) error) {
	f.t.Helper()
	c, err := sqlite.Open(f.path, sqlite.Options{Synchronous: "OFF"})
	f.must(err)
	defer func() { f.must(c.Close()) }()
	k, err := change.Attach(c, change.Options{})
	f.must(err)
	f.must(c.Exec("BEGIN IMMEDIATE"))
	f.must(fn(c, k))
	f.must(c.Exec("COMMIT"))
}

func (f *file) undo(c *change.Change) {
	f.t.Helper()
	f.fresh(func(conn *sqlite.Conn, k *change.Capture) error {
		k.Suspend()
		a, err := change.NewApplier(conn, nil)
		if err != nil {
			return err
		}
		if err := a.Undo(c); err != nil {
			return err
		}
		return a.Close()
	})
}

func (f *file) apply(c *change.Change) {
	f.t.Helper()
	f.fresh(func(conn *sqlite.Conn, k *change.Capture) error {
		k.Suspend()
		a, err := change.NewApplier(conn, nil)
		if err != nil {
			return err
		}
		if err := a.Apply(c); err != nil {
			return err
		}
		return a.Close()
	})
}

// exec executes a change as a server does, and returns its effects.
func (f *file) exec(x *change.Executor, c *change.Change) (*change.Change, []wire.OpResult) {
	f.t.Helper()
	f.must(f.conn.Exec("BEGIN IMMEDIATE"))
	f.must(f.cap.Begin())
	res, err := x.Run(c)
	f.must(err)
	eff, err := f.cap.Finish()
	f.must(err)
	f.must(f.conn.Exec("COMMIT"))
	return eff, res
}

func (f *file) dump() string {
	f.t.Helper()
	var b strings.Builder
	c, err := sqlite.Open(f.path, sqlite.Options{})
	f.must(err)
	defer func() { _ = c.Close() }()
	names := f.rows(c, "SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite_stat%' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name")
	for _, n := range names {
		for _, q := range []string{"SELECT '%[1]s', rowid, * FROM \"%[1]s\"", "SELECT '%[1]s', * FROM \"%[1]s\" ORDER BY 2"} {
			st, _, err := c.Prepare(fmt.Sprintf(q, n))
			if err != nil {
				continue
			}
			st.Finalize()
			for _, r := range f.rows(c, fmt.Sprintf(q, n)) {
				b.WriteString(r + "\n")
			}
			break
		}
	}
	for _, r := range f.rows(c, "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'agentdb_guard%' ORDER BY 1,2") {
		b.WriteString(r + "\n")
	}
	return b.String()
}

func (f *file) rows(c *sqlite.Conn, sql string) []string {
	f.t.Helper()
	st, _, err := c.Prepare(sql)
	f.must(err)
	defer st.Finalize()
	var out []string
	for {
		row, err := st.Step()
		f.must(err)
		if !row {
			return out
		}
		var cells []string
		for i := range st.ColumnCount() {
			cells = append(cells, fmt.Sprintf("%v", st.Column(i).Any()))
		}
		out = append(out, strings.Join(cells, "|"))
	}
}

func recode(t *testing.T, c *change.Change, v change.View) *change.Change {
	t.Helper()
	d, err := change.Decode(c.Append(nil, v))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var schema = []string{
	`CREATE TABLE p(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, n INT DEFAULT 0)`,
	`CREATE TABLE c(id INTEGER PRIMARY KEY, p INTEGER REFERENCES p(id) ON DELETE CASCADE, body TEXT)`,
	`CREATE TABLE k(k TEXT PRIMARY KEY, v)`,
	`CREATE TABLE w(a INT, b TEXT, v, PRIMARY KEY(a,b)) WITHOUT ROWID`,
	`CREATE TABLE nopk(a, b)`,
	`CREATE VIRTUAL TABLE f USING fts5(body, content='c', content_rowid='id')`,
	`CREATE TRIGGER ci AFTER INSERT ON c BEGIN INSERT INTO f(rowid, body) VALUES(new.id, new.body); UPDATE p SET n=n+1 WHERE id=new.p; END`,
	`CREATE TRIGGER cd AFTER DELETE ON c BEGIN INSERT INTO f(f, rowid, body) VALUES('delete', old.id, old.body); END`,
}

func TestCaptureUndoApply(t *testing.T) {
	a, b := open(t, change.Options{Guard: true}), open(t, change.Options{})
	empty := a.dump()
	changes := []*change.Change{a.do(schema...)}
	afterSchema := a.dump()
	steps := [][]string{
		{`INSERT INTO p(name) VALUES('x'),('y'),('z')`, `INSERT INTO c(p,body) VALUES(1,'hello world')`, `INSERT INTO c(p,body) VALUES(2,'good bye')`},
		{`INSERT INTO k VALUES('a',1.5),('b',x'00ff'),('c',NULL)`, `INSERT INTO w VALUES(1,'q',2),(1,'r',3)`, `INSERT INTO nopk VALUES(1,2),(3,4)`},
		{`UPDATE w SET b='s', v=9 WHERE b='q'`, `UPDATE k SET v=v||'!' WHERE k='a'`, `DELETE FROM nopk WHERE a=1`, `INSERT OR REPLACE INTO k VALUES('b','new')`},
		{`DELETE FROM p WHERE name='x'`, `UPDATE p SET id=77 WHERE name='z'`},
		{`INSERT INTO k VALUES('a',7) ON CONFLICT(k) DO UPDATE SET v=100`, `DELETE FROM c`},
	}
	var states []string
	for _, s := range steps {
		states = append(states, a.dump())
		changes = append(changes, a.do(s...))
	}
	final := a.dump()
	for _, c := range changes {
		b.apply(recode(t, c, change.ViewEffects))
	}
	if got := b.dump(); got != final {
		t.Fatalf("applied effects differ:\n%s\nwant:\n%s", got, final)
	}
	for i := len(changes) - 1; i > 0; i-- {
		a.undo(recode(t, changes[i], change.ViewFull))
		if got := a.dump(); got != states[i-1] {
			t.Fatalf("undo of %d differs:\n%s\nwant:\n%s", i, got, states[i-1])
		}
	}
	if a.dump() != afterSchema || empty == "" {
		t.Fatal("schema changed")
	}
	server := open(t, change.Options{})
	for i, c := range changes {
		eff, res := server.exec(change.NewExecutor(server.cap), recode(t, c, change.ViewIntents))
		if len(res) != 0 {
			t.Fatalf("change %d: results %v", i, res)
		}
		h1, _ := c.EffectsHash(nil)
		h2, _ := eff.EffectsHash(nil)
		if h1 != h2 {
			t.Fatalf("change %d: other effects:\n%+v\n%+v", i, c, eff)
		}
	}
	if got := server.dump(); got != final {
		t.Fatalf("executed intents differ:\n%s\nwant:\n%s", got, final)
	}
}

func TestTakenIDs(t *testing.T) {
	server := open(t, change.Options{})
	server.do(schema...)
	server.do(`INSERT INTO p(name) VALUES('theirs')`, `INSERT INTO c(p,body) VALUES(1,'theirs')`)
	a := open(t, change.Options{Guard: true})
	a.do(schema...)
	x := change.NewExecutor(server.cap)
	c1 := a.do(`INSERT INTO p(name) VALUES('mine')`, `INSERT INTO c(p,body) VALUES(1,'mine')`)
	c2 := a.do(`UPDATE c SET body='mine, too' WHERE id=1`, `UPDATE p SET name='still mine' WHERE id=1`)
	for _, c := range []*change.Change{c1, c2} {
		_, res := server.exec(x, recode(t, c, change.ViewIntents))
		t.Log(res)
	}
	got := strings.Join(server.rows(server.conn, "SELECT p.id,p.name,p.n,c.id,c.body FROM p JOIN c ON c.p=p.id ORDER BY 1"), "\n")
	want := "1|theirs|1|1|theirs\n2|still mine|1|2|mine, too"
	if got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

// A row whose triggers hold more than they may is refused; one without triggers
// may be as large.
func TestTriggersHoldLittle(t *testing.T) {
	a := open(t, change.Options{})
	server := open(t, change.Options{MaxHeld: 1 << 20})
	for _, f := range []*file{a, server} {
		f.do("CREATE TABLE t(id INTEGER PRIMARY KEY, x)", "CREATE TABLE u(id INTEGER PRIMARY KEY, x)", "CREATE TABLE w(id INTEGER PRIMARY KEY, x)")
	}
	server.do("CREATE TRIGGER tu BEFORE INSERT ON t BEGIN INSERT INTO u(x) VALUES (hex(zeroblob(new.x))); END")
	x := change.NewExecutor(server.cap)
	conflicts := 0
	for _, sql := range []string{"INSERT INTO t(x) VALUES (1000)", "INSERT INTO t(x) VALUES (100000)", "INSERT INTO w(x) VALUES (hex(zeroblob(100000)))"} {
		_, res := server.exec(x, recode(t, a.do(sql), change.ViewIntents))
		conflicts += len(res)
	}
	got := strings.Join(server.rows(server.conn, "SELECT 't', x FROM t UNION ALL SELECT 'u', length(x) FROM u UNION ALL SELECT 'w', length(x) FROM w"), " ")
	if got != "t|1000 u|2000 w|200000" {
		t.Error(got)
	}
	if conflicts != 1 {
		t.Errorf("%d conflicts", conflicts)
	}
}

// A statement that was prepared before its trigger was is bound as well.
func TestTriggersHoldLittleAtOnce(t *testing.T) {
	a := open(t, change.Options{})
	server := open(t, change.Options{MaxHeld: 1 << 20})
	for _, f := range []*file{a, server} {
		f.do("CREATE TABLE t(id INTEGER PRIMARY KEY, x)", "CREATE TABLE u(id INTEGER PRIMARY KEY, x)")
	}
	x := change.NewExecutor(server.cap)
	insert := func(sql string) int {
		_, res := server.exec(x, recode(t, a.do(sql), change.ViewIntents))
		return len(res)
	}
	if n := insert("INSERT INTO t(x) VALUES (1000)"); n != 0 {
		t.Errorf("%d conflicts", n)
	}
	server.do("CREATE TRIGGER tu BEFORE INSERT ON t BEGIN INSERT INTO u(x) VALUES (hex(zeroblob(new.x))); END")
	if n := insert("INSERT INTO t(x) VALUES (100000)"); n != 1 {
		t.Errorf("%d conflicts after a trigger was made", n)
	}
	server.must(server.cap.EnableTriggers(false))
	if n := insert("INSERT INTO t(x) VALUES (100001)"); n != 0 {
		t.Errorf("%d conflicts without triggers", n)
	}
	server.must(server.cap.EnableTriggers(true))
	if n := insert("INSERT INTO t(x) VALUES (100002)"); n != 1 {
		t.Errorf("%d conflicts with triggers again", n)
	}
}

// A failed statement whose triggers wrote rows leaves no trace; one that fails
// with OR FAIL leaves what it did before.
func TestFailedStatements(t *testing.T) {
	a := open(t, change.Options{})
	a.do(`CREATE TABLE log(id INTEGER PRIMARY KEY, what)`, `CREATE TABLE u(id INTEGER PRIMARY KEY, v UNIQUE)`,
		`CREATE TRIGGER ui AFTER INSERT ON u BEGIN INSERT INTO log(what) VALUES(new.v); END`)
	before := a.dump()
	a.must(a.conn.Exec("BEGIN IMMEDIATE"))
	a.must(a.cap.Begin())
	for _, sql := range []string{
		`INSERT INTO u(v) VALUES('a'),('b'),('a')`,
		`INSERT OR FAIL INTO u(v) VALUES('c'),('d'),('c')`,
		`INSERT INTO u(v) VALUES('e'),('c')`,
	} {
		if err := a.step(sql); err == nil {
			t.Fatalf("%s succeeded", sql)
		}
	}
	c, err := a.cap.Finish()
	a.must(err)
	a.must(a.conn.Exec("COMMIT"))
	if n := c.Rows(); n != 4 {
		t.Errorf("captured %d rows, want 4", n)
	}
	a.undo(recode(t, c, change.ViewFull))
	if got := a.dump(); got != before {
		t.Errorf("undone:\n%s\nwant:\n%s", got, before)
	}
}

// The room made for an encoding does not follow from its first rows alone: a
// few large ones before many small ones took gigabytes once.
func TestAppendRoom(t *testing.T) {
	tb := &change.Table{Name: "t", IPK: "id", Cols: []string{"a"}}
	c := &change.Change{}
	for i := range 20_000 {
		v := sqlite.Int(1)
		if i < 64 {
			v = sqlite.Blob(make([]byte, 10_000))
		}
		c.Events = append(c.Events, change.Event{Op: change.OpInsert, Effect: true, Intent: true, Table: tb, RowID: int64(i), NewRowID: int64(i), New: []sqlite.Value{v}})
	}
	if b := c.Append(nil, change.ViewIntents); cap(b) > 3*len(b) {
		t.Errorf("%d bytes of room for %d", cap(b), len(b))
	}
}

// A hostile change can't make its decoder take much more memory than allowed.
func TestDecodeBudget(t *testing.T) {
	a := open(t, change.Options{})
	cols := make([]string, 500)
	for i := range cols {
		cols[i] = fmt.Sprintf("c%d", i)
	}
	a.do("CREATE TABLE wide(id INTEGER PRIMARY KEY," + strings.Join(cols, ",") + ")")
	a.do("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200) INSERT INTO wide(id) SELECT i FROM n")
	b := a.do("UPDATE wide SET c7=1").Append(nil, change.ViewIntents)
	if _, err := (&change.Decoder{Budget: 1 << 20}).Decode(b); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	if _, err := (&change.Decoder{Budget: 32 << 20}).Decode(b); err != nil {
		t.Error(err)
	}
}
