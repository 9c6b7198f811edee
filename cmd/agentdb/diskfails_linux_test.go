package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/agentdb/agentdb"
)

// failWrites makes the files of a process impossible to grow.
func failWrites(t *testing.T, pid int) {
	t.Helper()
	none := syscall.Rlimit{Cur: 0, Max: syscall.RLIM_INFINITY & (1<<63 - 1)}
	const fsize = 1 // RLIMIT_FSIZE
	if _, _, no := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), fsize, uintptr(unsafe.Pointer(&none)), 0, 0, 0); no != 0 {
		t.Fatal(no)
	}
}

// problems returns what a log says beside requests.
func problems(log string) (bad string) {
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "level=INFO") {
			bad += line
		}
	}
	return bad
}

// sqlWorkers insert rows by SQL over HTTP.
type sqlWorkers struct {
	sync.WaitGroup
	mu    sync.Mutex
	acked map[int64]bool
}

// insert inserts rows from an id on until the server is gone.
func (w *sqlWorkers) insert(t *testing.T, addr string, first int64) {
	for id := first; id < first+100_000; id++ {
		body := fmt.Sprintf(`{"requests":[{"type":"execute","stmt":{"sql":"INSERT INTO t VALUES (%d, 'sql')"}}]}`, id)
		res, err := http.Post("http://"+addr+"/db/tasks/v2/pipeline", "application/json", strings.NewReader(body))
		if err != nil {
			return // it is gone
		}
		var answer bytes.Buffer
		_, err = answer.ReadFrom(res.Body)
		res.Body.Close()
		switch {
		case res.StatusCode == http.StatusServiceUnavailable && strings.Contains(answer.String(), "disk has failed"):
		case res.StatusCode != http.StatusOK || !strings.Contains(answer.String(), `"type":"ok"`):
			t.Errorf("%d %s", res.StatusCode, &answer)
			return
		case err == nil:
			w.mu.Lock()
			w.acked[id] = true
			w.mu.Unlock()
		}
	}
}

// TestDiskFails: a server whose disk can't be written ends, with one line that says
// so, and another one finds all that was acknowledged.
func TestDiskFails(t *testing.T) {
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	var log bytes.Buffer
	srv := serveProcess(t, addr, data, &log)
	query(t, addr, "", "CREATE TABLE t (id INTEGER PRIMARY KEY, by TEXT)")
	agent, err := agentdb.Open(t.Context(), filepath.Join(dir, "agent.db"), &agentdb.Options{URL: "http://" + addr + "/db/tasks"})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	if _, err := agent.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}

	workers := &sqlWorkers{acked: map[int64]bool{}}
	for w := range int64(4) {
		workers.Go(func() { workers.insert(t, addr, w*1_000_000+1) })
	}
	pushed := make(chan int64)
	go func() {
		for id := int64(9_000_001); ; id++ {
			if _, err := agent.Exec(t.Context(), "INSERT INTO t VALUES (?, 'agent')", id); err != nil {
				t.Error(err)
			}
			if _, err := agent.Sync(t.Context()); err != nil {
				pushed <- id
				return
			}
		}
	}()
	time.Sleep(300 * time.Millisecond)
	failWrites(t, srv.Process.Pid)
	failed := time.Now()
	err = srv.Wait()
	if e := (*exec.ExitError)(nil); !errors.As(err, &e) || e.ExitCode() != 1 && e.ExitCode() != 2 { // 2 if the engine gave up first
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(failed); took > 8*time.Second {
		t.Errorf("stopping took %v", took)
	}
	workers.Wait()
	last := <-pushed
	said := "level=ERROR msg=\"history: the disk failed: nothing is read or written until the server is started again\""
	if l := problems(log.String()); strings.Count(l, said) != 1 || !strings.Contains(l, "file too large") {
		t.Errorf("log:\n%s", l)
	}

	again := serveProcess(t, addr, data, &bytes.Buffer{})
	if _, err := agent.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept, err := agentdb.All[int64](t.Context(), agent, "SELECT id FROM t WHERE by = 'sql'")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range kept {
		delete(workers.acked, id)
	}
	if len(workers.acked) > 0 {
		t.Errorf("acknowledged, and lost: %v", workers.acked)
	}
	n, err := agentdb.Get[int64](t.Context(), agent, "SELECT count(*) FROM t WHERE by = 'agent'")
	if want := last - 9_000_000; err != nil || n != want {
		t.Errorf("the agent has %d of its %d rows, %v", n, want, err)
	}
	if got := query(t, addr, "", "SELECT count(*) FROM t WHERE by = 'agent'"); !strings.Contains(got, fmt.Sprintf(`"%d"`, n)) {
		t.Errorf("the server has %s of %d", got, n)
	}
	t.Logf("%d kept of those by SQL, %d of the agent", len(kept), n)
	if err := again.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := again.Wait(); err != nil {
		t.Error(err)
	}
}
