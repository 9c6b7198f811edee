package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentdb/agentdb/agentdbtest"
)

// TestOnTerminal: heads are bold there, and what can't be undone is asked for.
func TestOnTerminal(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	env := append(os.Environ(), "AGENTDB_TEST_MAIN=1", "TERM=xterm", "AGENTDB_API_URL=http://"+srv.Host(), "AGENTDB_API_TOKEN="+srv.APIToken("test"))
	start := func(color string, args ...string) (*typist, *exec.Cmd) {
		master, slave := openTerminal(t)
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, args...)
		cmd.Env = append(env, color)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		slave.Close()
		t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may be gone already
		p := &typist{t: t, master: master}
		go p.read()
		return p, cmd
	}
	p, _ := start("NO_COLOR=", "db", "create", "one")
	p.see("Created database one")
	p, _ = start("NO_COLOR=", "db", "list")
	p.see("\x1b[1mNAME\x1b[0m", "one ")
	p, _ = start("NO_COLOR=1", "db", "list")
	if got := p.see("NAME", "/db/one"); strings.Contains(got, "\x1b") {
		t.Errorf("colours: %q", got)
	}
	p, cmd := start("NO_COLOR=1", "db", "destroy", "one")
	p.see("Delete one with all history? [y/N] ")
	p.enter("no\r")
	p.see("nothing was done")
	if err := cmd.Wait(); err == nil {
		t.Error("it succeeded")
	}
	p, _ = start("NO_COLOR=1", "db", "destroy", "one")
	p.see("[y/N] ")
	p.enter("y\r")
	p.see("Deleted database one.")
}

func TestProgress(t *testing.T) {
	var screen bytes.Buffer
	p := &progress{screen: &screen, what: "uploading", total: 10 << 20, begin: time.Now()}
	p.add(1 << 20)
	if screen.Len() > 0 {
		t.Errorf("at once: %q", screen.String())
	}
	p.begin = p.begin.Add(-2 * time.Second)
	p.add(1 << 20)
	p.add(1 << 20) // too soon to be shown again
	p.end()
	if got := screen.String(); !strings.HasPrefix(got, "\ruploading 2.0 MiB of 10.0 MiB, 20%, ") || strings.Count(got, "\r") != 2 || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("%q", got)
	}
	quiet := (&console{err: &screen}).progress("x", 0)
	quiet.begin = quiet.begin.Add(-time.Hour)
	quiet.add(1)
	quiet.end()
	if strings.Contains(screen.String(), "x 1 B") {
		t.Error("progress without a terminal")
	}
}
