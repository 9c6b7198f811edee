package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a child process that listens on loopback.
type server struct {
	addr string
	cmd  *exec.Cmd
	log  *os.File
}

// startServer runs a command whose arguments contain the address, and waits until it answers HTTP.
func startServer(ctx context.Context, logPath string, command func(addr string) *exec.Cmd) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	s := &server{addr: addr, cmd: command(addr), log: log}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	for range 200 {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			return s, c.Close()
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), s.stop())
		case <-time.After(50 * time.Millisecond):
		}
	}
	out, _ := os.ReadFile(logPath)
	return nil, errors.Join(fmt.Errorf("%s doesn't listen: %s", s.cmd.Path, out), s.stop())
}

// stop ends the process: politely, and by force after 10 s.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(10*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	_ = s.cmd.Wait()
	return s.log.Close()
}

func (s *server) pid() int { return s.cmd.Process.Pid }

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// usage is what a process holds: resident memory in bytes and open descriptors.
type usage struct {
	rss   float64
	fds   int
	store int // of them, those of our store's files, which all databases share
	cpu   time.Duration
}

func usageOf(pid int) (usage, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	b, err := os.ReadFile(dir + "/status")
	if err != nil {
		return usage{}, err
	}
	var u usage
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(v)[0])
			if err != nil {
				return usage{}, err
			}
			u.rss = float64(kb) * 1024
		}
	}
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return usage{}, err
	}
	u.fds = len(fds)
	for _, fd := range fds {
		if to, err := os.Readlink(dir + "/fd/" + fd.Name()); err == nil && filepath.Base(filepath.Dir(to)) == "history" {
			u.store++
		}
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return usage{}, err
	}
	// Fields 14 and 15 are user and system ticks of 10 ms; the name before them, in brackets, may hold spaces.
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, x := range f[11:13] {
		ticks, err := strconv.Atoi(x)
		if err != nil {
			return usage{}, err
		}
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	return u, nil
}

// reference starts the reference server on a fresh database.
func reference(ctx context.Context, s *settings, dir string) (*server, error) {
	bin := filepath.Join(s.bench, "node_modules", "@tursodatabase", "cli-linux-x64-gnu", "tursodb")
	if _, err := os.Stat(bin); err != nil {
		return nil, fmt.Errorf("the peers from npm are missing, run `npm install` here: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return startServer(ctx, filepath.Join(dir, "server.log"), func(addr string) *exec.Cmd {
		return exec.Command(bin, filepath.Join(dir, "server.db"), "--sync-server", addr)
	})
}

// npmVersion is the version of an installed package.
func npmVersion(s *settings, name string) string {
	b, err := os.ReadFile(filepath.Join(s.bench, "node_modules", filepath.FromSlash(name), "package.json"))
	if err != nil {
		return "missing"
	}
	var p struct{ Version string }
	_ = json.Unmarshal(b, &p)
	return p.Version
}

// node is a Node process that runs commands for us, one at a time.
type node struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// reply is the answer to a command.
type reply struct {
	Seconds float64 `json:"seconds"` // what the command took inside Node
	Value   float64 `json:"value"`
	Error   string  `json:"error"`
}

func startNode(s *settings, script string) (*node, error) {
	cmd := exec.Command("node", filepath.Join(s.bench, "node", script))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &node{cmd, in, bufio.NewReaderSize(out, 1<<16)}, cmd.Start()
}

// do runs a command; its fields are the script's business.
func (n *node) do(command map[string]any) (reply, error) {
	if err := json.NewEncoder(n.in).Encode(command); err != nil {
		return reply{}, err
	}
	line, err := n.out.ReadBytes('\n')
	if err != nil {
		return reply{}, fmt.Errorf("node: %w", err)
	}
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		return reply{}, fmt.Errorf("node: %q: %w", line, err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("node: %v: %s", command["op"], r.Error)
	}
	return r, nil
}

func (n *node) stop() error {
	err := n.in.Close()
	return errors.Join(err, n.cmd.Wait())
}

// newHTTP returns a client that keeps n connections to a host.
func newHTTP(n int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n, MaxConnsPerHost: n, DisableCompression: true}}
}
