package main

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/wire"
)

// freeAddr returns a loopback address with a free port.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// waitUp waits until a server answers.
func waitUp(t *testing.T, addr string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if res, err := http.Get("http://" + addr + "/healthz"); err == nil {
			res.Body.Close()
			return
		}
	}
	t.Fatal("no server")
}

// serveProcess starts a server for development as a process of its own.
func serveProcess(t *testing.T, addr, data string, log *bytes.Buffer) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "serve", "--dev", "--listen", addr, "--data", data)
	cmd.Env = append(os.Environ(), "AGENTDB_TEST_MAIN=1")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it is gone by then, if all is well
	waitUp(t, addr)
	return cmd
}

// TestSIGTERM: polls are answered at once, the process ends with 0, and soon.
func TestSIGTERM(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no SIGTERM")
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := serveProcess(t, addr, t.TempDir(), &log)
	answered := make(chan int, 1)
	go func() {
		poll := &wire.Request{Mode: wire.ModePull, WaitMS: 40_000}
		res, err := http.Post("http://"+addr+"/sync", wire.ContentType, bytes.NewReader(poll.Append(nil)))
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		res.Body.Close()
		answered <- res.StatusCode
	}()
	time.Sleep(300 * time.Millisecond) // for the poll to be there
	begin := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the poll got %d", status)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if l := log.String(); strings.Contains(l, "level=ERROR") || strings.Count(l, "msg=request") != 1 {
		t.Errorf("log:\n%s", l)
	}
}
