package proof

import (
	"fmt"
	"testing"

	"github.com/agentdb/agentdb"
)

// TestMoveInVain moves a row to a key that somebody else's row turns out to
// have, after which that key means the other row.
func TestMoveInVain(t *testing.T) {
	for name, key := range map[string][3]string{
		"id":  {"INTEGER PRIMARY KEY", "10", "2"},
		"key": {"TEXT PRIMARY KEY", "'old'", "'new'"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			as := l.full(3)
			a, b := as[0], as[1]
			a.exec("CREATE TABLE t (k " + key[0] + ", tok TEXT, v TEXT); CREATE TABLE c (k REFERENCES t(k), tok TEXT)")
			a.exec("INSERT INTO t VALUES (" + key[1] + ", 'a', '-')")
			settle(as...)
			a.exec("UPDATE t SET k = " + key[2])
			a.exec("INSERT INTO c VALUES (" + key[2] + ", 'a')")
			b.exec("INSERT INTO t VALUES (" + key[2] + ", 'b', '-')")
			b.sync()
			if _, err := a.Pull(t.Context()); err != nil {
				t.Fatal(err)
			}
			want(t, "at a", fmt.Sprint(a.texts("SELECT c.tok || t.tok FROM c JOIN t USING (k)")), "[aa]")
			a.exec("INSERT INTO c VALUES (" + key[2] + ", 'b')")
			a.exec("UPDATE t SET v = 'changed' WHERE k = " + key[2])
			settle(as...)
			for _, x := range as {
				want(t, "rows", fmt.Sprint(x.texts("SELECT tok || v FROM t ORDER BY tok")), "[a- bchanged]")
				want(t, "children", fmt.Sprint(x.texts("SELECT c.tok || t.tok FROM c JOIN t USING (k) ORDER BY 1")), "[aa bb]")
			}
			want(t, "conflicts", a.kinds("t"), "unique")
		})
	}
}

// TestFullTextReuse lets others delete a row of a full-text table and use its
// number again.
func TestFullTextReuse(t *testing.T) {
	for _, push := range []bool{false, true} {
		l := newLabHere(t)
		a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncFull)
		if push {
			p = l.agent("push", agentdb.SyncPush)
		}
		for _, x := range []*agent{a, p} {
			x.exec("CREATE VIRTUAL TABLE IF NOT EXISTS f USING fts5(tok, v)")
			x.sync()
		}
		p.exec("INSERT INTO f VALUES ('p', '-'), ('p2', '-')")
		p.sync()
		a.sync()
		a.exec("UPDATE f SET v = 'seen' WHERE tok = 'p'")
		a.exec("DELETE FROM f WHERE tok = 'p2'")
		a.sync()
		a.exec("INSERT INTO f VALUES ('a', '-')") // gets the number 2 again
		a.sync()
		p.exec("UPDATE f SET v = 'changed' WHERE tok = 'p'")
		p.exec("UPDATE f SET v = 'again' WHERE tok = 'p2'")
		p.exec("INSERT INTO f VALUES ('p3', '-')")
		p.sync()
		p.exec("UPDATE f SET v = 'late' WHERE tok = 'p3'")
		p.sync()
		a.sync()
		want(t, "rows", fmt.Sprint(a.texts("SELECT tok || ' ' || v FROM f ORDER BY tok")), "[a - p changed p3 late]")
		want(t, "conflicts", a.kinds("f"), "overwrite missing")
	}
}
