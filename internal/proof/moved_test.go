package proof

import (
	"fmt"
	"testing"

	"github.com/agentdb/agentdb"
)

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
	l := newLabHere(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, tok TEXT, v TEXT)")
	}
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
	l := newLabHere(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, tok TEXT, v TEXT)")
	}
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
