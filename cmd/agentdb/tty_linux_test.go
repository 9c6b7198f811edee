package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a new pseudo-terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 60})
	}
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// typist types at a shell and reads its screen.
type typist struct {
	t      *testing.T
	master *os.File

	mu     sync.Mutex
	screen strings.Builder // since the last look; guarded by mu
}

func (p *typist) read() {
	buf := make([]byte, 4096)
	for {
		n, err := p.master.Read(buf)
		p.mu.Lock()
		p.screen.Write(buf[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// see waits until all of the texts have been on the screen since it was last
// looked at, and returns what was.
func (p *typist) see(texts ...string) string {
	p.t.Helper()
	var got string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		got = p.screen.String()
		all := true
		for _, text := range texts {
			all = all && strings.Contains(got, text)
		}
		if all {
			p.screen.Reset()
			p.mu.Unlock()
			return got
		}
		p.mu.Unlock()
	}
	p.t.Fatalf("didn't see all of %q, but:\n%s", texts, got)
	return ""
}

func (p *typist) enter(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.master, text); err != nil {
		p.t.Fatal(err)
	}
}

// TestTerminal is what a person sees: prompts, statements over several lines,
// errors that don't end the shell, Ctrl-C, wide results as lines, a history.
func TestTerminal(t *testing.T) {
	master, slave := openTerminal(t)
	home := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "shell", "a.db")
	cmd.Path, cmd.Dir = exe, home
	cmd.Env = append(os.Environ(), "AGENTDB_TEST_MAIN=1", "HOME="+home, "XDG_CACHE_HOME="+home, "TERM=xterm", "NO_COLOR=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may be gone already
	p := &typist{t: t, master: master}
	go p.read()

	p.see("agentdb: a.db", "agentdb> ")
	p.enter("CREATE TABLE t(a);\r")
	p.see("agentdb> ")
	p.enter("INSERT INTO t\rVALUES (5), (6);\r")
	p.see("...> ", "2 rows changed", "agentdb> ")
	p.enter("SELECT * FROM nope;\r")
	p.see("no such table: nope", "agentdb> ")
	p.enter("SELECT count(*) AS n FROM t;\r")
	p.see("│ n │", "│ 2 │", "1 row", "agentdb> ")
	p.enter("BEGIN;\r")
	p.see("agentdb*> ")
	p.enter("ROLLBACK;\r")
	p.see("agentdb> ")
	p.enter("SELECT 'typed, then given up\x03")
	p.enter("SELECT 'complete';\r")
	p.see("│ complete", "agentdb> ")
	p.enter("WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c;\r")
	time.Sleep(200 * time.Millisecond) // it must have begun, and it never ends
	p.enter("\x03")
	p.see("interrupted", "agentdb> ")
	p.enter("SELECT printf('%050d', 1) AS wide, 2 AS narrow;\r")
	if got := p.see("  wide = 0000", "narrow = 2", "agentdb> "); strings.Contains(got, "│") {
		t.Errorf("a table wider than the terminal:\n%s", got)
	}
	p.enter(".ta\t") // completed
	p.enter("\r")
	p.see("t\r\n", "agentdb> ")
	p.enter("\x1b[A\x1b[A\r") // up, up
	p.see("narrow = 2", "agentdb> ")
	p.enter(".quit\r")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	history, err := os.ReadFile(filepath.Join(home, "agentdb", "shell_history"))
	if err != nil || !strings.Contains(string(history), "INSERT INTO t VALUES (5), (6);\n") {
		t.Errorf("history: %q, %v", history, err)
	}
}
