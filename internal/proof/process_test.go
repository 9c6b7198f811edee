package proof

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

// TestTwoProcesses lets two processes write and sync one file at the same
// time; one of them is killed now and then.
func TestTwoProcesses(t *testing.T) {
	l := newLab(t)
	a := l.agent("a", agentdb.SyncFull)
	a.exec(work)
	n, acked := 0, 0
	for range *flagKills {
		c := spawn(t, "agent", childPath+"="+a.path, childURL+"="+l.node.url(database), childName+"=child", fmt.Sprintf("%s=%d", childStart, acked+1))
		for range 15 {
			n++
			a.exec("INSERT INTO work VALUES ('parent', ?)", n)
			if n%3 == 0 {
				a.sync()
			}
			time.Sleep(2 * time.Millisecond)
		}
		for line := range strings.Lines(c.kill(t)) {
			if k, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "committed "))); err == nil && strings.HasSuffix(line, "\n") {
				acked = max(acked, k)
			}
		}
		have := get[int](t, a.DB, "SELECT coalesce(max(n), 0) FROM work WHERE who = 'child'")
		if have < acked || have > acked+1 {
			t.Errorf("%d transactions were acknowledged, %d are there", acked, have)
		}
		acked = have
	}
	other := l.agent("other", agentdb.SyncFull)
	settle(a, other)
	for who, k := range map[string]int{"parent": n, "child": acked} {
		got := get[string](t, other.DB, "SELECT count(*) || ' ' || count(DISTINCT n) || ' ' || max(n) FROM work WHERE who = ?", who)
		want(t, who, got, fmt.Sprintf("%d %d %d", k, k, k))
	}
	t.Logf("%d and %d transactions", n, acked)
}

// TestTwoHandles gives two handles of one file to one process.
func TestTwoHandles(t *testing.T) {
	l := newLab(t)
	a, other := l.agent("a", agentdb.SyncFull), l.agent("other", agentdb.SyncFull)
	b := &agent{lab: l, path: a.path, opts: a.opts, proxy: a.proxy}
	b.reopen()
	a.exec("CREATE TABLE tasks (id INTEGER PRIMARY KEY, name TEXT); CREATE VIRTUAL TABLE f USING fts5(tok, body)")
	for i := range 20 {
		for j, x := range []*agent{a, b} {
			x.exec("INSERT INTO tasks (name) VALUES (?)", fmt.Sprint(i, "-", j))
			x.exec("INSERT INTO f VALUES (?, 'ant')", fmt.Sprint(i, "-", j))
		}
		other.exec("CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY, name TEXT)")
		other.exec("INSERT INTO tasks (name) VALUES (?)", fmt.Sprint("other", i))
		[]*agent{a, b, other}[i%3].sync()
	}
	settle(a, b, other)
	want(t, "tasks", get[int](t, other.DB, "SELECT count(DISTINCT name) FROM tasks"), 60)
	want(t, "full text", get[int](t, other.DB, "SELECT count(*) FROM f WHERE f MATCH 'ant'"), 40)
	want(t, "replica", a.Status().Replica, b.Status().Replica)
}

// TestHandlesSyncing lets several handles of one file write and sync without a
// pause: each keeps moving the file under the others, and none may fail for it,
// or report that it is done before its row is at the server.
func TestHandlesSyncing(t *testing.T) {
	const handles, rows = 4, 60
	l := newLab(t)
	a, reader := l.agent("a", agentdb.SyncFull), l.agent("reader", agentdb.SyncFull)
	a.exec(work)
	a.sync()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for h := range handles {
		x := &agent{lab: l, path: a.path, opts: a.opts, proxy: a.proxy}
		x.reopen()
		wg.Go(func() {
			for i := range rows {
				if _, err := x.Exec(bg(t), "INSERT INTO work VALUES (?, ?)", fmt.Sprint("h", h), i); err != nil {
					t.Errorf("insert: %v", err)
				}
				if _, err := x.Sync(bg(t)); err != nil {
					t.Errorf("sync %d of %d: %v", i, h, err)
				}
				if i%10 == 0 {
					mu.Lock()
					reader.sync()
					n, err := agentdb.Get[int](bg(t), reader.DB, "SELECT count(*) FROM work WHERE who = ? AND n = ?", fmt.Sprint("h", h), i)
					mu.Unlock()
					if err != nil || n != 1 {
						t.Errorf("row %d of %d is there %d times after its sync: %v", i, h, n, err)
					}
				}
			}
		})
	}
	wg.Wait()
	reader.sync()
	want(t, "rows", get[int](t, reader.DB, "SELECT count(*) FROM work"), handles*rows)
}

// TestFileTimes sets the clock of the files back and forth: no decision may
// hang on it.
func TestFileTimes(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
	as[0].exec("INSERT INTO t VALUES (1, 'start')")
	settle(as...)
	for i, year := range []int{1990, 2090, 1971} {
		closed(t, as[0].DB)
		when := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		if err := os.Chtimes(as[0].path, when, when); err != nil {
			t.Fatal(err)
		}
		l.node.down()
		err := filepath.Walk(l.node.cfg.DataDir, func(path string, _ os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			return os.Chtimes(path, when, when)
		})
		if err != nil {
			t.Fatal(err)
		}
		l.node.up()
		as[0].DB = opened(t, as[0].path, &as[0].opts)
		as[0].exec("UPDATE t SET v = ?", fmt.Sprint("first", i))
		as[1].exec("UPDATE t SET v = ?", fmt.Sprint("last", i))
		as[0].sync()
		as[1].sync()
		settle(as...)
		want(t, "value", get[string](t, as[0].DB, "SELECT v FROM t"), fmt.Sprint("last", i))
	}
}
