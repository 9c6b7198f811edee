package proof

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

// TestPushModeRowIDs changes rows of a push replica after the server gave them
// other numbers, in tables where a number is a row's only name.
func TestPushModeRowIDs(t *testing.T) {
	for kind, schema := range map[string]string{
		"none": "CREATE TABLE IF NOT EXISTS t (tok TEXT, v TEXT)",
		"null": "CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, tok TEXT, v TEXT)",
		"id":   "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT, v TEXT)",
		"fts":  "CREATE VIRTUAL TABLE IF NOT EXISTS t USING fts5(tok, v)",
	} {
		t.Run(kind, func(t *testing.T) {
			l := newLab(t)
			a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
			for _, x := range []*agent{a, p} {
				x.exec(schema)
			}
			a.exec("INSERT INTO t (tok, v) VALUES ('a1', '-'), ('a2', '-')")
			a.sync()
			p.exec("INSERT INTO t (tok, v) VALUES ('p1', '-'), ('p2', '-'), ('p3', '-')")
			p.exec("UPDATE t SET v = 'early' WHERE tok <> 'p2'")
			p.sync()
			p.exec("UPDATE t SET v = 'changed' WHERE tok = 'p1'")
			p.exec("DELETE FROM t WHERE tok = 'p2'")
			p.sync()
			p.exec("UPDATE t SET v = 'changed again' WHERE tok = 'p1'")
			p.sync()
			p.exec("UPDATE t SET v = 'late' WHERE tok = 'p3'")
			p.sync()
			a.sync()
			want(t, "rows", fmt.Sprint(a.texts("SELECT tok || ' ' || v FROM t ORDER BY tok")), "[a1 - a2 - p1 changed again p3 late]")
		})
	}
}

// TestPushModeReuse lets others delete a push replica's row and reuse its number.
func TestPushModeReuse(t *testing.T) {
	l := newLab(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT, v TEXT); CREATE TABLE IF NOT EXISTS c (t INTEGER REFERENCES t(id), tok TEXT)")
	}
	p.exec("INSERT INTO t VALUES (5, 'p', '-'), (6, 'p2', '-')")
	p.sync()
	a.sync()
	a.exec("DELETE FROM t")
	a.sync()
	a.exec("INSERT INTO t VALUES (5, 'a', '-'), (6, 'a2', '-')")
	a.sync()
	p.exec("UPDATE t SET v = 'of another row' WHERE id = 5")
	p.exec("INSERT INTO c VALUES (5, 'child of p')")
	p.exec("DELETE FROM t WHERE id = 6")
	p.sync()
	a.sync()
	want(t, "rows", fmt.Sprint(a.texts("SELECT tok || v FROM t ORDER BY id")), "[a- a2-]")
	want(t, "children", get[int](t, a.DB, "SELECT count(*) FROM c"), 0)
	st := inspect(t, a.path)
	for _, s := range []string{"of another row", "child of p"} {
		if !strings.Contains(st.lost, s) {
			t.Errorf("%q is nowhere: %s", s, st.lost)
		}
	}
}

// TestCascadeElsewhere deletes a row that others have made the parent of another:
// that one goes along on the server alone, and its number may be given to
// somebody else's row.
func TestCascadeElsewhere(t *testing.T) {
	for _, mode := range []agentdb.SyncMode{agentdb.SyncPush, agentdb.SyncFull} {
		for _, lost := range []bool{false, true} {
			for _, ddl := range []bool{false, true} {
				t.Run(fmt.Sprint(mode, " lost=", lost, " ddl=", ddl), func(t *testing.T) { cascadeElsewhere(t, mode, lost, ddl) })
			}
		}
	}
}

func cascadeElsewhere(t *testing.T, mode agentdb.SyncMode, lost, ddl bool) {
	l := newLabHere(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", mode)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT); CREATE TABLE IF NOT EXISTS c (id INTEGER PRIMARY KEY, t INTEGER REFERENCES t(id) ON DELETE CASCADE, tok TEXT)")
	}
	p.exec("INSERT INTO t VALUES (1, 'p1'), (2, 'p2'); INSERT INTO c VALUES (7, 1, 'child of p1')")
	p.sync()
	a.sync()
	a.exec("UPDATE c SET t = 2")
	a.sync()
	p.exec("DELETE FROM t WHERE id = 2")
	if lost {
		p.exec("INSERT INTO c VALUES (6, 1, 'early')")
		p.proxy.do(fault{kind: faultDropAnswer})
		p.fails()
	} else {
		p.sync()
	}
	a.sync()
	want(t, "children", get[int](t, a.DB, "SELECT count(*) FROM c WHERE id = 7"), 0)
	if s := inspect(t, a.path).lost; !strings.Contains(s, "child of p1") {
		t.Errorf("the child is nowhere: %s", s)
	}
	a.exec("INSERT INTO c VALUES (7, NULL, 'of a')")
	a.sync()
	if ddl {
		p.exec("CREATE TABLE gone (x); DROP TABLE gone")
	}
	p.exec("UPDATE c SET tok = 'of another row' WHERE id = 7")
	p.exec("UPDATE c SET tok = tok || ', changed' WHERE tok LIKE 'child%'")
	p.exec("INSERT INTO c (t, tok) VALUES (1, 'late')")
	p.sync()
	p.exec("UPDATE c SET tok = tok || ', later' WHERE tok NOT IN ('early', 'of a')")
	p.sync()
	a.sync()
	rows := "[late, later of a]"
	if lost {
		rows = "[early late, later of a]"
	}
	want(t, "rows", fmt.Sprint(a.texts("SELECT tok FROM c ORDER BY tok")), rows)
}

// TestCascadeInOne sends a row together with a delete that takes it along on the
// server alone, where others have moved what it hangs on.
func TestCascadeInOne(t *testing.T) {
	for i := range 8 {
		lost, ddl, apart := i&1 > 0, i&2 > 0, i&4 > 0
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
		for _, x := range []*agent{a, p} {
			x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, p INTEGER REFERENCES t(id) ON DELETE CASCADE, tok TEXT)")
		}
		p.exec("INSERT INTO t VALUES (1, NULL, 'p1'), (2, NULL, 'p2')")
		p.sync()
		a.sync()
		a.exec("UPDATE t SET p = 2 WHERE id = 1")
		a.sync()
		if ddl {
			p.exec("CREATE TABLE gone (x); DROP TABLE gone")
		}
		if apart {
			p.exec("INSERT INTO t VALUES (3, 1, 'child')")
			p.exec("DELETE FROM t WHERE id = 2")
		} else {
			p.exec("BEGIN; INSERT INTO t VALUES (3, 1, 'child'); DELETE FROM t WHERE id = 2; COMMIT")
		}
		if lost {
			p.proxy.do(fault{kind: faultDropAnswer})
			p.fails()
		}
		p.sync()
		a.sync()
		name := fmt.Sprint(" lost=", lost, " ddl=", ddl, " apart=", apart)
		want(t, "rows"+name, fmt.Sprint(a.texts("SELECT tok FROM t")), "[]")
		want(t, "own rows that the server has"+name, fmt.Sprint(p.texts("SELECT tok FROM t WHERE id > 0")), "[]")
		a.exec("INSERT INTO t VALUES (3, NULL, 'of a')")
		a.sync()
		p.exec("UPDATE t SET tok = tok || ' late' WHERE tok = 'child'")
		p.sync()
		a.sync()
		want(t, "rows in the end"+name, fmt.Sprint(a.texts("SELECT tok FROM t")), "[of a]")
	}
}

// TestPushModeReuseInOne moves a row and puts another in its place, in one
// transaction, after the server gave the first another number.
func TestPushModeReuseInOne(t *testing.T) {
	l := newLab(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT)")
	}
	a.exec("INSERT INTO t VALUES (1, 'a1'), (2, 'a2')")
	a.sync()
	p.exec("INSERT INTO t VALUES (1, 'first')")
	p.exec("BEGIN; UPDATE t SET id = 46 WHERE id = 1; INSERT INTO t VALUES (1, 'second'); DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'third'), (47, 'fourth'); COMMIT")
	p.sync()
	a.sync()
	own := fmt.Sprint(p.texts("SELECT id || ' ' || tok FROM t ORDER BY tok"))
	want(t, "rows", own, fmt.Sprint(a.texts("SELECT id || ' ' || tok FROM t WHERE tok NOT LIKE 'a_' ORDER BY tok")))
	want(t, "the moved row", get[int](t, p.DB, "SELECT id FROM t WHERE tok = 'first'"), 46)
}

// TestPushModeKeyToNull takes the key from a row, so that its number is its
// only name, after an answer was lost. The server's number is that of another
// row here, whose key may be anywhere.
func TestPushModeKeyToNull(t *testing.T) {
	l := newLab(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS t (k TEXT, n INTEGER, v TEXT DEFAULT '-', PRIMARY KEY (k, n))")
	}
	a.exec("INSERT INTO t (k, n) VALUES ('a', 0)")
	a.sync()
	p.exec("INSERT INTO t (k, n) VALUES ('p', 1), ('p', 2)")
	p.proxy.do(fault{kind: faultDropAnswer})
	p.fails()
	p.exec("UPDATE t SET k = NULL WHERE n = 1")
	p.sync()
	p.exec("UPDATE t SET v = 'late ' || n")
	p.sync()
	a.sync()
	want(t, "rows", fmt.Sprint(a.texts("SELECT coalesce(k, 'NULL') || n || v FROM t ORDER BY n")), "[a0- NULL1late 1 p2late 2]")
}

// TestPushModeMoved lets others move and delete a row after it got the number
// that its replica asked for, in a change whose answer was lost.
func TestPushModeMoved(t *testing.T) {
	for i := range 4 {
		ddl, overwrites := i%2 > 0, i/2 > 0
		for _, after := range []string{"UPDATE t SET id = 3 WHERE id = 20", "DELETE FROM t WHERE id = 20"} {
			l := newLabHere(t)
			a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
			for _, x := range []*agent{a, p} {
				x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT, v TEXT DEFAULT '-')")
			}
			p.exec("INSERT INTO t (id, tok) VALUES (7, 'p')")
			p.sync()
			if overwrites {
				a.sync()
				a.exec("UPDATE t SET v = 'of a'")
				a.sync()
			}
			if ddl {
				p.exec("CREATE TABLE gone (x); DROP TABLE gone")
			}
			p.exec("UPDATE t SET id = 20, v = 'early' WHERE id = 7")
			p.proxy.do(fault{kind: faultDropAnswer})
			p.fails()
			a.sync()
			a.exec(after)
			a.sync()
			a.exec("INSERT INTO t (id, tok) VALUES (20, 'a')")
			a.sync()
			p.exec("UPDATE t SET v = 'changed' WHERE tok = 'p'")
			p.sync()
			p.exec("UPDATE t SET v = 'late' WHERE tok = 'p'")
			p.sync()
			a.sync()
			rows := "[20 a -]"
			if strings.HasPrefix(after, "UPDATE") {
				rows = "[20 a - 3 p late]"
			}
			want(t, fmt.Sprint("ddl=", ddl, " overwrites=", overwrites, ", ", after), fmt.Sprint(a.texts("SELECT id || ' ' || tok || ' ' || v FROM t ORDER BY tok")), rows)
		}
	}
}

// TestPushModePendingDelete deletes a row that others have moved, and has put
// another where it is now: one number must not mean both.
func TestPushModePendingDelete(t *testing.T) {
	for _, ddl := range []bool{false, true} {
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
		for _, x := range []*agent{a, p} {
			x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT)")
		}
		p.exec("INSERT INTO t VALUES (8, 'moved')")
		p.sync()
		a.sync()
		a.exec("UPDATE t SET id = 17")
		a.sync()
		if ddl {
			p.exec("CREATE TABLE gone (x); DROP TABLE gone")
		}
		p.exec("INSERT INTO t VALUES (1, 'first')")
		racing(t, p, "INSERT INTO t VALUES (17, 'new')", "DELETE FROM t WHERE tok = 'moved'")
		p.sync()
		a.sync()
		rows := fmt.Sprint(a.texts("SELECT id || ' ' || tok FROM t ORDER BY tok"))
		want(t, fmt.Sprint("rows, ddl=", ddl), fmt.Sprint(p.texts("SELECT id || ' ' || tok FROM t ORDER BY tok")), rows)
		want(t, "tokens", fmt.Sprint(a.texts("SELECT tok FROM t ORDER BY tok")), "[first new]")
	}
}

// TestPushModeIntoPlace gives a row the number that another replica's row has
// left, which the push replica doesn't know of.
func TestPushModeIntoPlace(t *testing.T) {
	for _, ddl := range []bool{false, true} {
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
		for _, x := range []*agent{a, p} {
			x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT)")
		}
		a.exec("INSERT INTO t VALUES (37, 'a')")
		a.sync()
		p.exec("INSERT INTO t VALUES (74, 'p')")
		p.sync()
		a.sync()
		a.exec("UPDATE t SET id = 2 WHERE tok = 'a'")
		a.sync()
		if ddl {
			p.exec("CREATE TABLE gone (x); DROP TABLE gone")
		}
		p.exec("UPDATE t SET id = 37 WHERE tok = 'p'")
		p.sync()
		a.sync()
		want(t, "rows", fmt.Sprint(a.texts("SELECT id || ' ' || tok FROM t ORDER BY tok")), "[2 a 37 p]")
		want(t, fmt.Sprint("its own row, ddl=", ddl), fmt.Sprint(p.texts("SELECT id || ' ' || tok FROM t")), "[37 p]")
	}
}

// TestPushModeMoveRefused moves a row to a number that is taken on the server, and
// puts another where it was, in one transaction.
func TestPushModeMoveRefused(t *testing.T) {
	for _, ddl := range []bool{false, true} {
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
		for _, x := range []*agent{a, p} {
			x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT, v TEXT DEFAULT '-')")
		}
		p.exec("INSERT INTO t (id, tok) VALUES (59, 'first')")
		p.sync()
		a.exec("INSERT INTO t (id, tok) VALUES (16, 'a')")
		a.sync()
		if ddl {
			p.exec("CREATE TABLE gone (x); DROP TABLE gone")
		}
		p.exec("BEGIN; UPDATE t SET id = 16 WHERE tok = 'first'; INSERT INTO t (id, tok) VALUES (59, 'second'); COMMIT")
		p.sync()
		p.exec("UPDATE t SET v = tok || ' changed'")
		p.sync()
		a.sync()
		rows := fmt.Sprint(a.texts("SELECT id || ' ' || tok || ' ' || v FROM t WHERE tok <> 'a' ORDER BY tok"))
		want(t, fmt.Sprint("rows, ddl=", ddl), rows, "[59 first first changed 60 second second changed]")
		want(t, fmt.Sprint("its own, ddl=", ddl), fmt.Sprint(p.texts("SELECT id || ' ' || tok || ' ' || v FROM t ORDER BY tok")), rows)
	}
}

// TestPushModeMoveIntoRefused moves a row to the number of one that has left it,
// while the server refuses to let that one go.
func TestPushModeMoveIntoRefused(t *testing.T) {
	for _, ddl := range []bool{false, true} {
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
		for _, x := range []*agent{a, p} {
			x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT, v TEXT DEFAULT '-')")
		}
		p.exec("INSERT INTO t (id, tok) VALUES (24, 'first'), (52, 'second')")
		p.sync()
		a.exec("INSERT INTO t (id, tok) VALUES (50, 'a')")
		a.sync()
		if ddl {
			p.exec("CREATE TABLE gone (x); DROP TABLE gone")
		}
		p.exec("UPDATE t SET id = 50 WHERE tok = 'first'")
		racing(t, p, "UPDATE t SET id = 24 WHERE tok = 'second'", "UPDATE t SET v = 'early' WHERE tok = 'second'")
		p.sync()
		p.exec("UPDATE t SET v = v || ' ' || tok")
		p.sync()
		a.sync()
		rows := fmt.Sprint(a.texts("SELECT id || ' ' || tok || ' ' || v FROM t WHERE tok <> 'a' ORDER BY tok"))
		want(t, fmt.Sprint("rows, ddl=", ddl), rows, "[24 first - first 52 second early second]")
		want(t, fmt.Sprint("its own, ddl=", ddl), fmt.Sprint(p.texts("SELECT id || ' ' || tok || ' ' || v FROM t ORDER BY tok")), rows)
	}
}

// TestPushModePassing gives a row the number that another one of the replica's is
// about to get from the server, and takes it to yet another: who means the first
// must not be taken to mean it.
func TestPushModePassing(t *testing.T) {
	for n, pass := range map[int]string{6: "INSERT INTO t (id, tok) VALUES (6, 'passing')", 41: "UPDATE t SET id = 41 WHERE id = 40"} {
		for _, ddl := range []bool{false, true} {
			l := newLabHere(t)
			a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
			for _, x := range []*agent{a, p} {
				x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT, p INTEGER REFERENCES t(id), v TEXT DEFAULT '-')")
			}
			p.exec("INSERT INTO t (id, tok) VALUES (40, 'passing')")
			p.sync()
			if n == 6 {
				p.exec("DELETE FROM t")
				p.sync()
			}
			a.exec("INSERT INTO t (id, tok) VALUES (5, 'a')")
			a.sync()
			if ddl {
				p.exec("CREATE TABLE gone (x); DROP TABLE gone")
			}
			p.exec("INSERT INTO t (id, tok) VALUES (5, 'first')")
			want(t, "the number to come", get[int](t, a.DB, "SELECT max(id) + 1 FROM t"), n)
			racing(t, p, pass, fmt.Sprint("UPDATE t SET id = 50 WHERE id = ", n), "INSERT INTO t (id, tok, p) VALUES (51, 'child', 5)", "UPDATE t SET v = 'changed' WHERE tok = 'first'")
			p.sync()
			a.sync()
			want(t, fmt.Sprint(pass, ", ddl=", ddl), fmt.Sprint(a.texts("SELECT t.tok || ' ' || t.v || ' ' || coalesce(p.tok, '-') FROM t LEFT JOIN t p ON p.id = t.p ORDER BY t.tok")),
				"[a - - child - first first changed - passing - -]")
		}
	}
}

// TestPushModeDeleteTwice deletes and updates rows that others delete as well: they
// must not come back.
func TestPushModeDeleteTwice(t *testing.T) {
	for _, ddl := range []bool{false, true} {
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
		for _, x := range []*agent{a, p} {
			x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT, v TEXT DEFAULT '-')")
		}
		p.exec("INSERT INTO t (id, tok) VALUES (1, 'deleted'), (2, 'updated'), (3, 'both')")
		p.sync()
		a.sync()
		if ddl {
			p.exec("CREATE TABLE gone (x); DROP TABLE gone")
		}
		p.exec("DELETE FROM t WHERE id = 1")
		p.exec("UPDATE t SET v = 'changed'")
		a.exec("DELETE FROM t")
		a.sync()
		a.exec("INSERT INTO t VALUES (1, 'a1', '-'), (2, 'a2', '-')")
		a.sync()
		racing(t, p, "DELETE FROM t WHERE tok = 'both'")
		want(t, fmt.Sprint("its own, ddl=", ddl), fmt.Sprint(p.texts("SELECT tok FROM t")), "[updated]")
		p.sync()
		a.sync()
		want(t, fmt.Sprint("rows, ddl=", ddl), fmt.Sprint(a.texts("SELECT tok || ' ' || v FROM t ORDER BY tok")), "[a1 - a2 -]")
		want(t, fmt.Sprint("its own later, ddl=", ddl), fmt.Sprint(p.texts("SELECT tok FROM t")), "[updated]")
	}
}

// TestPushModeThrough takes a row through a number that somebody else's row has
// left, and that the push replica learns of on the way.
func TestPushModeThrough(t *testing.T) {
	for _, ddl := range []bool{false, true} {
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
		for _, x := range []*agent{a, p} {
			x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT, v TEXT DEFAULT '-')")
		}
		a.exec("INSERT INTO t (id, tok) VALUES (10, 'a')")
		a.sync()
		p.sync()
		a.exec("DELETE FROM t")
		a.sync()
		if ddl {
			p.exec("CREATE TABLE gone (x); DROP TABLE gone")
		}
		p.exec("INSERT INTO t (id, tok) VALUES (3, 'p')")
		racing(t, p, "UPDATE t SET id = 10", "UPDATE t SET id = 5", "UPDATE t SET v = 'changed'")
		p.sync()
		a.sync()
		want(t, fmt.Sprint("rows, ddl=", ddl), fmt.Sprint(a.texts("SELECT id || tok || v FROM t")), "[5pchanged]")
		want(t, fmt.Sprint("its own, ddl=", ddl), fmt.Sprint(p.texts("SELECT id || tok || v FROM t")), "[5pchanged]")
	}
}

// racing runs statements while a push is on its way, and its answer after them.
func racing(t *testing.T, p *agent, statements ...string) {
	t.Helper()
	p.proxy.do(fault{delay: 150 * time.Millisecond})
	done := make(chan error)
	go func() {
		_, err := p.Sync(bg(t))
		done <- err
	}()
	time.Sleep(50 * time.Millisecond)
	for _, s := range statements {
		p.exec(s)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
