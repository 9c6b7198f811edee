package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
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

// TestDiskFails: a server whose disk can't be written ends, with one line that says
// so, and another one finds all that was acknowledged.
func TestDiskFails(t *testing.T) {
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	serve := func(log *bytes.Buffer) *exec.Cmd {
		cmd := exec.Command(exe, "serve", "--dev", "--listen", addr, "--data", filepath.Join(dir, "data"))
		cmd.Env = append(os.Environ(), "AGENTDB_TEST_MAIN=1")
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() }) // it is gone by then, if all is well
		waitUp(t, addr)
		return cmd
	}
	var log bytes.Buffer
	srv := serve(&log)
	query(t, addr, "", "CREATE TABLE t (id INTEGER PRIMARY KEY, by TEXT)")
	agent, err := agentdb.Open(t.Context(), filepath.Join(dir, "agent.db"), &agentdb.Options{URL: "http://" + addr + "/db/tasks"})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	if _, err := agent.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	acked := map[int64]bool{}
	var workers sync.WaitGroup
	for w := range int64(4) {
		workers.Go(func() {
			for i := range int64(100_000) {
				id := w*1_000_000 + i + 1
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
					mu.Lock()
					acked[id] = true
					mu.Unlock()
				}
			}
		})
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

	again := serve(&bytes.Buffer{})
	if _, err := agent.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept := map[int64]bool{}
	for id, err := range agentdb.Iter[int64](t.Context(), agent, "SELECT id FROM t WHERE by = 'sql'") {
		if err != nil {
			t.Fatal(err)
		}
		kept[id] = true
	}
	maps.DeleteFunc(acked, func(id int64, _ bool) bool { return kept[id] })
	if len(acked) > 0 {
		t.Errorf("acknowledged, and lost: %v", acked)
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
