package proof

import (
	"fmt"
	"testing"

	"github.com/agentdb/agentdb"
)

// TestPushModeFullText inserts and updates a full text row in one push, and
// goes on with it.
func TestPushModeFullText(t *testing.T) {
	for _, reopen := range []bool{false, true} {
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
		for _, x := range []*agent{a, p} {
			x.exec("CREATE VIRTUAL TABLE IF NOT EXISTS f USING fts5(tok, v)")
		}
		p.sync()
		a.exec("INSERT INTO f VALUES ('a', '-')")
		a.sync()
		p.exec("INSERT INTO f VALUES ('p', '-')")
		if reopen {
			p.reopen()
		}
		p.exec("UPDATE f SET v = 'early' WHERE tok = 'p'")
		p.sync()
		p.exec("UPDATE f SET v = 'late' WHERE tok = 'p'")
		p.sync()
		a.sync()
		want(t, "rows", fmt.Sprint(a.texts("SELECT tok || v FROM f ORDER BY tok")), "[a- plate]")
	}
}

// TestPushModeFullTextGone updates a full text row that others delete before the
// answer, which is lost, and whose number they use again.
func TestPushModeFullTextGone(t *testing.T) {
	for i := range 4 {
		ddl, late := i%2 > 0, i/2 > 0
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
		for _, x := range []*agent{a, p} {
			x.exec("CREATE VIRTUAL TABLE IF NOT EXISTS f USING fts5(tok, v)")
		}
		p.exec("INSERT INTO f VALUES ('p', '-')")
		p.sync()
		a.sync()
		if ddl {
			p.exec("CREATE TABLE gone (x); DROP TABLE gone")
		}
		p.exec("UPDATE f SET v = 'early'")
		p.proxy.do(fault{kind: faultDropAnswer})
		p.fails()
		a.sync()
		a.exec("DELETE FROM f")
		a.sync()
		if late {
			p.sync()
			want(t, fmt.Sprint("rows that the server has not, ddl=", ddl), get[int](t, p.DB, "SELECT count(*) FROM f WHERE rowid > 0"), 0)
		}
		a.exec("INSERT INTO f VALUES ('a', '-')")
		a.sync()
		want(t, "the number", get[int](t, a.DB, "SELECT rowid FROM f"), 1)
		p.exec("UPDATE f SET v = 'late'")
		p.sync()
		p.exec("UPDATE f SET v = 'later'")
		p.sync()
		a.sync()
		want(t, fmt.Sprint("rows, ddl=", ddl), fmt.Sprint(a.texts("SELECT tok || v FROM f")), "[a-]")
	}
}

// TestPushModeFullTextAside updates a full-text row that others have deleted,
// while the answer to another push is on its way: the row keeps its number, which
// no row of the server has.
func TestPushModeFullTextAside(t *testing.T) {
	for _, ddl := range []bool{false, true} {
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
		for _, x := range []*agent{a, p} {
			x.exec("CREATE VIRTUAL TABLE IF NOT EXISTS f USING fts5(tok, v); CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT)")
		}
		p.exec("INSERT INTO f VALUES ('p', '-')")
		p.sync()
		a.sync()
		a.exec("DELETE FROM f; INSERT INTO f (rowid, tok, v) VALUES (5, 'a', '-'); INSERT INTO t VALUES (1, 'a')")
		a.sync()
		p.sync()
		want(t, "rows that the server has not", get[int](t, p.DB, "SELECT count(*) FROM f WHERE rowid < 0"), 1)
		p.exec("INSERT INTO f (rowid, tok, v) VALUES (4, 'p4', '-')")
		p.sync()
		if ddl {
			p.exec("CREATE TABLE gone (x); DROP TABLE gone")
		}
		p.exec("INSERT INTO t VALUES (1, 'p')")
		racing(t, p, "UPDATE f SET v = 'late' WHERE tok = 'p'; UPDATE t SET tok = 'p late'")
		want(t, fmt.Sprint("rows that the server has not, ddl=", ddl), fmt.Sprint(p.texts("SELECT tok || v FROM f WHERE rowid < 0")), "[plate]")
		p.sync()
		a.sync()
		want(t, fmt.Sprint("rows, ddl=", ddl), fmt.Sprint(a.texts("SELECT tok || v FROM f ORDER BY tok")), "[a- p4-]")
		want(t, fmt.Sprint("others, ddl=", ddl), fmt.Sprint(a.texts("SELECT id || tok FROM t ORDER BY id")), "[1a 2p late]")
	}
}

// TestPushModeNewColumn pushes to a table that has got a column since the last
// push: what is recorded of the row is all of it.
func TestPushModeNewColumn(t *testing.T) {
	l := newLabHere(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v TEXT)")
	}
	p.exec("INSERT INTO t VALUES (1, '1'), (2, '2')")
	p.sync()
	p.exec("DELETE FROM t WHERE id = 1")
	p.sync()
	a.sync()
	a.exec("ALTER TABLE t ADD COLUMN added TEXT; UPDATE t SET v = 'a', added = 'kept'")
	a.sync()
	p.exec("DELETE FROM t WHERE id = 2")
	p.sync()
	a.sync()
	want(t, "the record", fmt.Sprint(a.texts("SELECT kind || ' ' || losing FROM agentdb_conflicts")), `[delete {"id":2,"v":"a","added":"kept"}]`)
}

// TestPushModeParentElsewhere refers to a row that the push replica has lost to
// another's with the same key: the server takes the transaction, but here one
// operation of it would violate a foreign key. The others hold.
func TestPushModeParentElsewhere(t *testing.T) {
	for _, when := range []string{"", " DEFERRABLE INITIALLY DEFERRED"} {
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
		for _, x := range []*agent{a, p} {
			x.exec("CREATE TABLE IF NOT EXISTS parent (k TEXT PRIMARY KEY, u INTEGER UNIQUE); CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT, v TEXT)")
			x.exec("CREATE TABLE IF NOT EXISTS child (id INTEGER PRIMARY KEY, k TEXT REFERENCES parent(k)" + when + ", tok TEXT)")
			x.exec("CREATE TABLE IF NOT EXISTS grandchild (child INTEGER REFERENCES child(id)" + when + ", tok TEXT)")
		}
		a.exec("INSERT INTO parent VALUES ('x', 1), ('k', 2); INSERT INTO child VALUES (1, 'k', 'of a')")
		a.sync()
		p.exec("INSERT INTO t VALUES (1, 'moved', '-'), (2, 'deleted', '-')")
		p.sync()
		p.exec("INSERT INTO parent VALUES ('k', 1)") // refused: u is taken
		p.exec("BEGIN; UPDATE t SET id = 7 WHERE id = 1; INSERT INTO child VALUES (1, 'k', 'of p'); DELETE FROM t WHERE id = 2; COMMIT")
		racing(t, p, "INSERT INTO grandchild VALUES (1, 'of the child')")
		want(t, "own rows"+when, fmt.Sprint(p.texts("SELECT id || tok FROM t")), "[7moved]")
		p.exec("UPDATE t SET v = 'late' WHERE tok = 'moved'")
		p.sync()
		a.sync()
		want(t, "rows"+when, fmt.Sprint(a.texts("SELECT id || tok || v FROM t")), "[7movedlate]")
		want(t, "children"+when, fmt.Sprint(a.texts("SELECT c.id || ' ' || k || ' ' || c.tok || ' ' || coalesce(g.tok, '-') FROM child c LEFT JOIN grandchild g ON g.child = c.id ORDER BY c.id")), "[1 k of a - 2 k of p of the child]")
	}
}

// TestPushModeTakenBack takes a transaction back at the push replica, since the
// row that it refers to was refused meanwhile, and another's is in its place.
func TestPushModeTakenBack(t *testing.T) {
	for _, ddl := range []bool{false, true} {
		for _, lost := range []bool{false, true} {
			l := newLabHere(t)
			a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
			for _, x := range []*agent{a, p} {
				x.exec("CREATE TABLE IF NOT EXISTS parent (k TEXT PRIMARY KEY, u INTEGER UNIQUE); CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, tok TEXT, v TEXT DEFAULT '-')")
				x.exec("CREATE TABLE IF NOT EXISTS child (id INTEGER PRIMARY KEY, k TEXT REFERENCES parent(k) DEFERRABLE INITIALLY DEFERRED, tok TEXT); CREATE VIRTUAL TABLE IF NOT EXISTS f USING fts5(tok, v)")
			}
			a.exec("INSERT INTO parent VALUES ('x', 1), ('k', 2)")
			a.sync()
			p.exec("INSERT INTO t (id, tok) VALUES (1, 'deleted'), (2, 'moved'), (3, 'replaced'), (4, 'stays'); INSERT INTO f VALUES ('f', '-')")
			p.sync()
			p.exec("INSERT INTO parent VALUES ('k', 1)") // refused: u is taken
			racing(t, p, "BEGIN; INSERT INTO child VALUES (1, 'k', 'c'); DELETE FROM t WHERE id IN (1, 3); UPDATE t SET id = 9 WHERE id = 2; INSERT INTO t (id, tok) VALUES (3, 'new'); UPDATE f SET v = 'early'; COMMIT")
			want(t, "taken back", fmt.Sprint(p.texts("SELECT id || tok FROM t ORDER BY id")), "[1deleted 2moved 3replaced 4stays]")
			if ddl {
				p.exec("CREATE TABLE gone (x); DROP TABLE gone")
			}
			p.exec("UPDATE t SET v = 'early' WHERE tok IN ('stays', 'moved')")
			if lost {
				p.proxy.do(fault{kind: faultDropAnswer})
				p.fails()
			} else {
				p.sync()
			}
			a.sync()
			a.exec("INSERT INTO t (id, tok) VALUES (1, 'a1'), (2, 'a2')")
			a.sync()
			p.exec("UPDATE f SET v = v || ' late'")
			p.exec("UPDATE t SET v = v || ' late' WHERE tok NOT IN ('replaced', 'new')")
			p.sync()
			p.exec("UPDATE t SET v = v || ' later' WHERE tok <> 'new'")
			p.sync()
			a.sync()
			got := fmt.Sprint(a.texts("SELECT tok || ' ' || v FROM t ORDER BY tok"))
			want(t, fmt.Sprint("rows, ddl=", ddl, " lost=", lost), got, "[a1 - a2 - moved early late later new - stays early late later]")
			want(t, fmt.Sprint("full text, ddl=", ddl, " lost=", lost), fmt.Sprint(a.texts("SELECT trim(replace(v, 'early', ''), '- ') FROM f")), "[late]")
		}
	}
}
