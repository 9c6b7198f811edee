package proof

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

// TestChildrenOfRefusedRows gives children to a row that the server refuses,
// while another row has its number there.
func TestChildrenOfRefusedRows(t *testing.T) {
	for _, mode := range []agentdb.SyncMode{agentdb.SyncFull, agentdb.SyncPush} {
		for _, how := range []string{"one push", "two pushes", "lost answer", "during the sync", "lost answer and restart", "after a new view"} {
			t.Run(fmt.Sprintf("%v/%s", mode, how), func(t *testing.T) { testChildrenOfRefusedRows(t, mode, how) })
		}
	}
}

func testChildrenOfRefusedRows(t *testing.T, mode agentdb.SyncMode, how string) {
	l := newLab(t)
	a, b := l.agent("a", agentdb.SyncFull), l.agent("b", mode)
	for _, x := range []*agent{a, b} {
		x.exec(`CREATE TABLE IF NOT EXISTS p (id INTEGER PRIMARY KEY, name TEXT, u INT UNIQUE);
			CREATE TABLE IF NOT EXISTS one (id INTEGER PRIMARY KEY REFERENCES p(id), name TEXT);
			CREATE TABLE IF NOT EXISTS later (id INTEGER PRIMARY KEY REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED, name TEXT);
			CREATE TABLE IF NOT EXISTS many (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p(id), name TEXT)`)
	}
	a.sync()
	b.sync()
	a.exec("INSERT INTO p VALUES (24, 'a', 1)")
	a.sync()
	b.exec("INSERT INTO p VALUES (24, 'b', 1)") // refused: u
	children := func() {
		t.Helper()
		for _, child := range []string{"INSERT INTO one VALUES (24, 'child of b')", "INSERT INTO later VALUES (24, 'child of b')", "INSERT INTO many (p, name) VALUES (24, 'child of b')"} {
			if _, err := b.Exec(bg(t), child); err != nil && !refused(err) {
				t.Errorf("%s: %v", child, err)
			}
		}
	}
	switch how {
	case "after a new view":
		b.exec("CREATE VIEW v AS SELECT name FROM p")
		children()
	case "one push":
		children()
	case "two pushes":
		b.sync()
		if n := get[int](t, b.DB, "SELECT count(*) FROM p WHERE name = 'b'"); n == 1 {
			children()
		}
	case "lost answer":
		b.proxy.do(fault{kind: faultDropAnswer})
		b.fails()
		children()
	case "lost answer and restart":
		b.proxy.do(fault{kind: faultDropAnswer})
		b.fails()
		children()
		l.node.down()
		l.node.dropCache()
		l.node.up()
	case "during the sync":
		b.proxy.do(fault{delay: 100 * time.Millisecond})
		done := make(chan error)
		go func() { _, err := b.Sync(bg(t)); done <- err }()
		time.Sleep(150 * time.Millisecond)
		children()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	b.sync()
	b.sync()
	a.sync()
	want(t, "children of a", get[int](t, a.DB, "SELECT (SELECT count(*) FROM one) + (SELECT count(*) FROM later) + (SELECT count(*) FROM many)"), 0)
	st := inspect(t, a.path)
	if how != "two pushes" && strings.Count(st.lost, "child of b") != 3 {
		t.Errorf("the children are nowhere: %s", st.lost)
	}
	inspect(t, b.path)
}
