package proof

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

// TestKillAtEachStep kills an agent at each step of one sync: when its request
// has left, when the server has executed it, and then every so many
// microseconds while it takes in the answer, which undoes, applies, redoes and
// renumbers rows. Whatever the file looks like then, nothing is missing or
// twice after the next sync.
func TestKillAtEachStep(t *testing.T) {
	l := newLab(t)
	other := l.agent("other", agentdb.SyncFull)
	other.exec(work)
	other.sync()
	seen := map[bool]int{}
	for i := range *flagKills * 6 {
		name := fmt.Sprint("k", i)
		at, pause := stepAnswered, time.Duration(i-2)*150*time.Microsecond
		if i < int(stepAnswered) {
			at, pause = step(i), 0
		}
		a := l.agent(name, agentdb.SyncFull)
		a.sync()
		other.exec("INSERT INTO twin (who, n) VALUES ('other', ?)", i) // takes the next id
		other.exec("UPDATE twin SET n = n WHERE n < 0 OR id % 3 = 1")
		other.sync()
		for n := range 3 {
			a.exec("INSERT INTO twin (who, n) VALUES (?, ?)", name, n)
			a.exec("INSERT INTO work VALUES (?, ?)", name, n)
		}
		closed(t, a.DB)
		said := killAt(t, a, at, pause)
		seen[strings.Contains(said, "synced")]++
		a.reopen()
		want(t, name+": integrity", get[string](t, a.DB, "PRAGMA integrity_check"), "ok")
		a.sync()
		other.sync()
		for _, table := range []string{"work", "twin"} {
			for _, x := range []*agent{a, other} {
				got := get[string](t, x.DB, "SELECT count(*) || ' ' || count(DISTINCT n) FROM "+table+" WHERE who = ?", name)
				want(t, fmt.Sprint(name, " in ", table, " of ", filepath.Base(x.path), ", step ", at, " and ", pause), got, "3 3")
			}
		}
		want(t, "rows of the other", get[int](t, a.DB, "SELECT count(*) FROM twin WHERE who = 'other'"), i+1)
		same(t, a.path, other.path)
	}
	t.Logf("killed before the sync had returned, and after: %d and %d", seen[false], seen[true])
	if seen[false] < 3 {
		t.Error("hardly any sync was interrupted")
	}
}

// killAt lets a process sync the agent's file, kills it a while after a step of
// its request, and returns what it still said.
func killAt(t *testing.T, a *agent, at step, pause time.Duration) string {
	t.Helper()
	reached := make(chan struct{})
	// The child waits for the answer of the step before.
	hold := make(chan struct{})
	a.proxy.do(fault{watch: func(s step) {
		if s == at {
			close(reached)
			if s != stepAnswered {
				<-hold
			}
		}
	}})
	c := spawn(t, "once", childPath+"="+a.path, childURL+"="+a.proxy.url(database))
	<-reached
	for end := time.Now().Add(pause); time.Now().Before(end); { // no timer is as fine
	}
	said := c.kill(t)
	close(hold)
	return said
}
