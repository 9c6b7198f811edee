package proof

import (
	"fmt"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
)

// keyed returns a full replica and one of some mode, with a table whose rows have a
// key, or a NULL there.
func keyed(t *testing.T, mode agentdb.SyncMode) (a, p *agent) {
	t.Helper()
	l := newLabHere(t)
	a, p = l.agent("a", agentdb.SyncFull), l.agent("p", mode)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, tok TEXT, v TEXT)")
	}
	return a, p
}

// TestKeyBecomesNull takes a row's key away, so that its number is its only
// name, while that number is another row's on the server.
func TestKeyBecomesNull(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec("CREATE TABLE t (k1 TEXT, k2 INT, tok TEXT, v TEXT, PRIMARY KEY (k1, k2))")
	settle(as...)
	as[1].exec("INSERT INTO t VALUES (NULL, 2, 'b', '-')")
	as[1].sync()
	as[0].exec("INSERT INTO t VALUES ('k', 1, 'a', '-')")
	as[0].exec("UPDATE t SET k1 = NULL WHERE tok = 'a'")
	as[0].exec("UPDATE t SET v = 'changed' WHERE tok = 'a'")
	settle(as...)
	want(t, "rows", fmt.Sprint(as[1].texts("SELECT tok || v FROM t ORDER BY tok")), "[achanged b-]")
}

// TestKeyAgain takes a row's key away, gives it back and takes it away again: who
// means it by that key must not reach the row that has its number elsewhere.
func TestKeyAgain(t *testing.T) {
	for _, mode := range []agentdb.SyncMode{agentdb.SyncFull, agentdb.SyncPush} {
		l := newLabHere(t)
		a, b := l.agent("a", agentdb.SyncFull), l.agent("b", mode)
		for _, x := range []*agent{a, b} {
			x.exec("CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, tok TEXT, v TEXT)")
		}
		a.exec("INSERT INTO t VALUES ('a', 'a', '-')")
		a.sync()
		b.exec("INSERT INTO t VALUES ('b', 'b', '-')")
		b.exec("UPDATE t SET k = NULL")
		b.exec("UPDATE t SET k = 'b'")
		b.exec("UPDATE t SET k = NULL, v = 'changed'")
		b.exec("UPDATE t SET v = v || ' again'")
		b.sync()
		a.sync()
		want(t, fmt.Sprint("rows, mode ", mode), fmt.Sprint(a.texts("SELECT coalesce(k, 'NULL') || tok || v FROM t ORDER BY tok")), "[aa- NULLbchanged again]")
	}
}

// TestKeyLostAtUsedNumber takes a row's key away whose number was another row's
// that the push replica is told of in the same answer.
func TestKeyLostAtUsedNumber(t *testing.T) {
	a, p := keyed(t, agentdb.SyncPush)
	a.exec("INSERT INTO t VALUES ('a', 'a', '-'), (NULL, 'gone', '-')")
	a.sync()
	p.sync()
	a.exec("DELETE FROM t WHERE tok = 'gone'")
	a.sync()
	p.exec("INSERT INTO t VALUES ('p', 'p', '-')")
	p.exec("UPDATE t SET k = NULL")
	p.sync()
	p.exec("UPDATE t SET v = 'changed'")
	p.sync()
	a.sync()
	want(t, "rows", fmt.Sprint(a.texts("SELECT rowid || tok || v FROM t ORDER BY tok")), "[1a- 2pchanged]")
	want(t, "its own", fmt.Sprint(p.texts("SELECT rowid || tok || v FROM t")), "[2pchanged]")
}

// TestKeyLostInVain takes the key from a row, so that its number is its only name,
// while others have deleted the row, or while something else stands against it:
// what is said of it later must not reach the row that has its number there.
func TestKeyLostInVain(t *testing.T) {
	for _, mode := range []agentdb.SyncMode{agentdb.SyncFull, agentdb.SyncPush} {
		for i := range 8 {
			gone, ddl, lost := i&1 > 0, i&2 > 0, i&4 > 0
			t.Run(fmt.Sprint(mode, " gone=", gone, " ddl=", ddl, " lost=", lost), func(t *testing.T) { testKeyLostInVain(t, mode, gone, ddl, lost) })
		}
	}
}

func testKeyLostInVain(t *testing.T, mode agentdb.SyncMode, gone, ddl, lost bool) {
	l := newLabHere(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", mode)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, tok TEXT, v TEXT, u INTEGER UNIQUE)")
	}
	rows := "[1a-]"
	if !gone {
		rows = "[1a- 2pchanged, late]"
		a.exec("INSERT INTO t VALUES (NULL, 'a', '-', NULL)")
		a.sync()
	}
	if ddl { // it can't be undone
		p.exec("CREATE TABLE gone (x); DROP TABLE gone")
	}
	p.exec("INSERT INTO t VALUES ('p', 'p', '-', NULL)")
	if lost {
		p.proxy.do(fault{kind: faultDropAnswer})
		p.fails()
	} else {
		p.sync()
	}
	a.sync()
	if gone {
		a.exec("DELETE FROM t")
		a.exec("INSERT INTO t (rowid, tok, v) VALUES (1, 'a', '-')")
	}
	a.exec("UPDATE t SET u = 1 WHERE tok = 'a'")
	a.sync()
	if ddl {
		p.exec("CREATE TABLE gone (x); DROP TABLE gone")
	}
	p.exec("UPDATE t SET k = NULL, u = 1 WHERE tok = 'p'")
	p.exec("UPDATE t SET v = 'changed' WHERE tok = 'p'")
	p.sync()
	p.exec("UPDATE t SET v = v || ', late' WHERE tok = 'p'")
	p.sync()
	a.sync()
	if !gone && ddl && mode == agentdb.SyncPush { // the row has no key here any more, and what is said of it is recorded
		rows = "[1a- 2pchanged]"
		want(t, "recorded", get[int](t, a.DB, "SELECT count(*) FROM agentdb_conflicts WHERE losing LIKE '%late%'"), 1)
	}
	want(t, "rows", fmt.Sprint(a.texts("SELECT rowid || tok || v FROM t ORDER BY tok")), rows)
}

// TestKeyedRowAtUsedNumber moves a row that has a key to the number that another
// row gets on the server, and deletes it there: the other keeps that number.
func TestKeyedRowAtUsedNumber(t *testing.T) {
	a, p := keyed(t, agentdb.SyncPush)
	a.exec("INSERT INTO t VALUES (NULL, 'a', '-')")
	a.sync()
	p.exec("INSERT INTO t VALUES ('key', 'keyed', '-')")
	p.exec("INSERT INTO t VALUES (NULL, 'p', '-')")
	p.exec("UPDATE t SET rowid = 3 WHERE k = 'key'")
	p.exec("DELETE FROM t WHERE k = 'key'")
	p.sync()
	p.exec("UPDATE t SET v = 'changed'")
	p.sync()
	a.sync()
	want(t, "rows", fmt.Sprint(a.texts("SELECT rowid || tok || v FROM t ORDER BY tok")), "[1a- 3pchanged]")
	want(t, "its own", fmt.Sprint(p.texts("SELECT rowid || tok || v FROM t")), "[3pchanged]")
}

// TestKeyLostWhileMoved takes the key from a row while the answer is on its way that
// moves it, or puts another at its number, where that can't be undone and done again.
func TestKeyLostWhileMoved(t *testing.T) {
	for _, c := range []struct{ name, then, rows, first string }{
		{"gained and lost", "UPDATE t SET k = 'p'; UPDATE t SET k = NULL", "[1a- 2pchanged]", ""},
		{"gained and lost in one", "BEGIN; UPDATE t SET k = 'p'; UPDATE t SET k = NULL; COMMIT", "[1a- 2pchanged]", ""},
		{"gained and lost twice", "UPDATE t SET k = 'p'; UPDATE t SET k = NULL; UPDATE t SET k = 'p'; UPDATE t SET k = NULL", "[1a- 2pchanged]", ""},
		{"moved, gained and lost", "UPDATE t SET rowid = 5; UPDATE t SET k = 'p'; UPDATE t SET k = NULL", "[1a- 5pchanged]", ""},
		{"gained, moved and lost", "UPDATE t SET k = 'p'; UPDATE t SET rowid = 5; UPDATE t SET k = NULL", "[1a- 5pchanged]", ""},
		{"gained, lost and moved", "UPDATE t SET k = 'p'; UPDATE t SET k = NULL; UPDATE t SET rowid = 5", "[1a- 5pchanged]", ""},
		{"another at its number", "UPDATE t SET k = 'p'; UPDATE t SET rowid = 5; INSERT INTO t (rowid, tok, v) VALUES (1, 'q', '-'); UPDATE t SET k = NULL", "[1a- 5pchanged 6qchanged]", ""},
		{"lost, then moved", "UPDATE t SET rowid = 6", "[1a- 6pchanged]", "UPDATE t SET k = 'p'; UPDATE t SET k = NULL"},
		{"lost, then deleted", "DELETE FROM t; INSERT INTO t VALUES (NULL, 'r', '-')", "[1a- 2rchanged]", "UPDATE t SET k = 'p'; UPDATE t SET k = NULL"},
		{"lost again", "UPDATE t SET k = 'p'; UPDATE t SET k = NULL", "[1a- 2pchanged]", "UPDATE t SET k = 'p'; UPDATE t SET k = NULL"},
		{"in the way", "INSERT INTO t VALUES ('q', 'q', '-'); UPDATE t SET k = NULL", "[1a- 2pchanged 3qchanged]", ""},
		{"in the way, in one", "BEGIN; INSERT INTO t VALUES ('q', 'q', '-'); UPDATE t SET k = NULL; COMMIT", "[1a- 2pchanged 3qchanged]", ""},
		{"in the way, moved", "INSERT INTO t VALUES ('q', 'q', '-'); UPDATE t SET rowid = 7 WHERE tok = 'q'; UPDATE t SET k = NULL", "[1a- 2pchanged 7qchanged]", ""},
		{"at each other's number", "INSERT INTO t VALUES ('q', 'q', '-'); UPDATE t SET rowid = 9 WHERE tok = 'p'; UPDATE t SET rowid = 1 WHERE tok = 'q'; UPDATE t SET k = NULL", "[1a- 9pchanged 3qchanged]", ""},
		{"gone", "INSERT INTO t VALUES ('q', 'q', '-'); UPDATE t SET k = NULL WHERE tok = 'q'; DELETE FROM t WHERE tok = 'q'", "[1a- 2pchanged]", ""},
		{"gone, with another there", "INSERT INTO t VALUES ('q', 'q', '-'); UPDATE t SET k = NULL WHERE tok = 'q'; DELETE FROM t WHERE tok = 'q'; INSERT INTO t VALUES (NULL, 'r', '-')", "[1a- 2pchanged 3rchanged]", ""},
	} {
		for _, ddl := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " ddl=", ddl), func(t *testing.T) { testKeyLostWhileMoved(t, c.first, c.then, c.rows, ddl) })
		}
	}
}

func testKeyLostWhileMoved(t *testing.T, first, then, rows string, ddl bool) {
	a, p := keyed(t, agentdb.SyncPush)
	a.exec("INSERT INTO t VALUES (NULL, 'a', '-')")
	a.sync()
	p.exec("INSERT INTO t VALUES (NULL, 'p', '-');" + first)
	if ddl {
		p.exec("CREATE TABLE gone (x); DROP TABLE gone")
	}
	p.proxy.do(fault{watch: func(s step) {
		if s == stepExecuted {
			p.exec(then)
		}
	}})
	for range 3 {
		p.sync()
	}
	p.exec("UPDATE t SET v = 'changed'")
	p.sync()
	a.sync()
	want(t, "rows", fmt.Sprint(a.texts("SELECT rowid || tok || v FROM t ORDER BY tok")), rows)
	want(t, "its own", fmt.Sprint("[1a- ", strings.TrimPrefix(fmt.Sprint(p.texts("SELECT rowid || tok || v FROM t ORDER BY tok")), "[")), rows)
}

// TestNumberAfterKeyLost takes a row's key away, deletes it and inserts another at its
// number: that one keeps it.
func TestNumberAfterKeyLost(t *testing.T) {
	l := newLabHere(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, tok TEXT, v TEXT)")
		x.exec("CREATE VIRTUAL TABLE IF NOT EXISTS f USING fts5(x)")
	}
	p.exec("INSERT INTO t VALUES ('key', 'keyed', '-')")
	p.sync()
	a.sync()
	a.exec("INSERT INTO f VALUES ('-')")
	a.sync()
	p.exec("UPDATE t SET k = NULL")
	p.exec("DELETE FROM t")
	p.exec("INSERT INTO f (rowid, x) VALUES (8, '-')")
	p.exec("INSERT INTO t VALUES (NULL, 'p', '-')")
	p.sync()
	p.exec("UPDATE t SET v = 'changed'")
	p.sync()
	a.sync()
	want(t, "rows", fmt.Sprint(a.texts("SELECT rowid || tok || v FROM t")), "[1pchanged]")
	want(t, "its own", fmt.Sprint(p.texts("SELECT rowid || tok || v FROM t")), "[1pchanged]")
}

// TestNumberAfterKeyed lets others delete a row at whose number rows with keys were
// before it, until its author has the answer about all of them.
func TestNumberAfterKeyed(t *testing.T) {
	a, p := keyed(t, agentdb.SyncPush)
	p.exec("INSERT INTO t VALUES ('key', 'keyed', '-')")
	p.exec("DELETE FROM t")
	p.exec("INSERT INTO t VALUES (NULL, 'p', '-')")
	p.proxy.do(fault{kind: faultDropAnswer})
	p.fails()
	a.sync()
	a.exec("DELETE FROM t")
	a.exec("INSERT INTO t VALUES (NULL, 'a', '-')")
	a.sync()
	p.sync()
	p.exec("UPDATE t SET v = 'changed'")
	p.sync()
	a.sync()
	want(t, "rows", fmt.Sprint(a.texts("SELECT rowid || tok || v FROM t")), "[1a-]")
}

// TestKeyLostThenMoved takes a row's key away and lets others move the row, before its
// author has the answer.
func TestKeyLostThenMoved(t *testing.T) {
	for i := range 8 {
		ddl, known, again := i&1 > 0, i&2 > 0, i&4 > 0
		t.Run(fmt.Sprint("ddl=", ddl, " known=", known, " again=", again), func(t *testing.T) { testKeyLostThenMoved(t, ddl, known, again) })
	}
}

func testKeyLostThenMoved(t *testing.T, ddl, known, again bool) {
	a, p := keyed(t, agentdb.SyncPush)
	p.exec("INSERT INTO t VALUES ('p', 'p', '-')")
	if known {
		p.sync()
	}
	p.exec("UPDATE t SET k = NULL")
	if again {
		p.exec("UPDATE t SET v = 'again'")
	}
	if ddl {
		p.exec("CREATE TABLE gone (x); DROP TABLE gone")
	}
	p.proxy.do(fault{kind: faultDropAnswer})
	p.fails()
	a.sync()
	a.exec("UPDATE t SET rowid = 2")
	a.exec("INSERT INTO t (rowid, tok, v) VALUES (1, 'a', '-')")
	a.sync()
	p.sync()
	p.exec("UPDATE t SET v = 'changed'")
	p.sync()
	a.sync()
	want(t, "rows", fmt.Sprint(a.texts("SELECT rowid || tok || v FROM t ORDER BY tok")), "[1a- 2pchanged]")
	want(t, "its own", fmt.Sprint(p.texts("SELECT rowid || tok || v FROM t")), "[2pchanged]")
}

// TestKeyLostWhereOthersWere takes a row's key away at a number that somebody else's
// row had before it was moved.
func TestKeyLostWhereOthersWere(t *testing.T) {
	for _, mode := range []agentdb.SyncMode{agentdb.SyncFull, agentdb.SyncPush} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprint(mode, " lost=", lost), func(t *testing.T) { testKeyLostWhereOthersWere(t, mode, lost) })
		}
	}
}

func testKeyLostWhereOthersWere(t *testing.T, mode agentdb.SyncMode, lost bool) {
	l := newLabHere(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", mode)
	a.exec("CREATE TABLE t (k TEXT PRIMARY KEY, tok TEXT, v TEXT)")
	a.sync()
	p.exec("CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, tok TEXT, v TEXT)")
	p.sync()
	a.exec("INSERT INTO t VALUES ('a', 'a', '-')")
	a.sync()
	a.exec("UPDATE t SET rowid = 8")
	a.sync()
	p.exec("INSERT INTO t VALUES ('p', 'p', '-')")
	p.exec("UPDATE t SET k = NULL")
	if lost {
		p.proxy.do(fault{kind: faultDropAnswer})
		p.fails()
	}
	p.exec("UPDATE t SET v = 'changed'")
	p.sync()
	a.sync()
	want(t, "rows", fmt.Sprint(a.texts("SELECT rowid || tok || v FROM t ORDER BY tok")), "[8a- 1pchanged]")
}

// TestPushAfterMove inserts at a push replica a number that another row had on
// the server, and goes on with that row.
func TestPushAfterMove(t *testing.T) {
	for _, move := range []string{"UPDATE t SET id = 38", "BEGIN; UPDATE t SET id = 38; UPDATE t SET id = 1017; COMMIT", "UPDATE t SET id = 38; UPDATE t SET id = 1017"} {
		t.Run(move, func(t *testing.T) { testPushAfterMove(t, move) })
	}
}

func testPushAfterMove(t *testing.T, move string) {
	l := newLab(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY AUTOINCREMENT, tok TEXT, v TEXT)")
	}
	a.exec("INSERT INTO t VALUES (1, 'a', '-')")
	a.sync()
	a.exec(move)
	a.sync()
	p.exec("INSERT INTO t VALUES (1, 'p', '-')")
	p.sync()
	p.exec("CREATE TABLE IF NOT EXISTS other (x)")
	p.proxy.do(fault{kind: faultDropAnswer})
	p.fails()
	p.exec("UPDATE t SET v = 'changed' WHERE id = 1")
	p.sync()
	a.sync()
	want(t, "rows", fmt.Sprint(a.texts("SELECT tok || v FROM t ORDER BY tok")), "[a- pchanged]")
	want(t, "conflicts", a.kinds("t"), "")
}
