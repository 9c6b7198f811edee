package proof

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

// lab is a server and some agents, for the tests of one case each.
type lab struct {
	t    *testing.T
	dir  string
	node *node
}

// agent is one file, synced through a proxy of its own.
type agent struct {
	*agentdb.DB
	lab   *lab
	path  string
	opts  agentdb.Options
	proxy *proxy
}

func newLab(t *testing.T) *lab {
	t.Helper()
	t.Parallel()
	return newLabHere(t)
}

// newLabHere is newLab for a test that runs by itself.
func newLabHere(t *testing.T) *lab {
	t.Helper()
	return &lab{t: t, dir: t.TempDir(), node: newNode(t)}
}

// agent opens a new synced file.
func (l *lab) agent(name string, mode agentdb.SyncMode) *agent {
	l.t.Helper()
	a := &agent{lab: l, path: filepath.Join(l.dir, name+".db"), proxy: newProxy(l.t, l.node)}
	a.opts = agentdb.Options{URL: a.proxy.url(database), Sync: mode, Synchronous: "OFF"}
	a.reopen()
	return a
}

// full opens n files in full mode.
func (l *lab) full(n int) []*agent {
	l.t.Helper()
	out := make([]*agent, n)
	for i := range out {
		out[i] = l.agent(string(rune('a'+i)), agentdb.SyncFull)
	}
	return out
}

// reopen opens the agent's file, after it was closed if it was open.
func (a *agent) reopen() {
	a.lab.t.Helper()
	if a.DB != nil {
		closed(a.lab.t, a.DB)
	}
	a.DB = opened(a.lab.t, a.path, &a.opts)
}

func (a *agent) exec(text string, args ...any) agentdb.Result {
	a.lab.t.Helper()
	return exec(a.lab.t, a.DB, text, args...)
}

func (a *agent) sync() agentdb.Report {
	a.lab.t.Helper()
	return synced(a.lab.t, a.DB)
}

// fails syncs and demands an error.
func (a *agent) fails() error {
	a.lab.t.Helper()
	rep, err := a.Sync(bg(a.lab.t))
	if err == nil {
		a.lab.t.Errorf("a sync that had to fail reports %+v", rep)
	}
	return err
}

// settle syncs all agents until they are equal, and checks that.
func settle(as ...*agent) *state {
	t := as[0].lab.t
	t.Helper()
	for range 2 {
		for _, a := range as {
			a.sync()
		}
	}
	paths := make([]string, len(as))
	for i, a := range as {
		paths[i] = a.path
		if n := a.Status().Pending; n != 0 {
			t.Errorf("%s still has %d pending", filepath.Base(a.path), n)
		}
	}
	return same(t, paths...)
}

// texts reads one column.
func (a *agent) texts(query string, args ...any) []string {
	a.lab.t.Helper()
	return all[string](a.lab.t, a.DB, query, args...)
}

// conflicts returns the kinds of all conflicts of a table.
func (a *agent) conflicts(table string) []agentdb.Conflict {
	a.lab.t.Helper()
	return all[agentdb.Conflict](a.lab.t, a.DB, "SELECT * FROM agentdb_conflicts WHERE table_name = ? ORDER BY id", table)
}

// want fails the test unless got is as wanted.
func want[T comparable](t testing.TB, what string, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Errorf("%s: %v, want %v", what, got, wanted)
	}
}

// eventually waits until ok returns true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("%s: still not so after 20 s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
