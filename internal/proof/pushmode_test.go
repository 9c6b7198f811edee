package proof

import (
	"fmt"
	"strings"
	"testing"

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
