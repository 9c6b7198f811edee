package agentdb_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/server"
)

// Environment of the processes that TestFullDisk starts.
const (
	fullDiskDir   = "AGENTDB_TEST_FULL_DISK"   // in it, two small file systems may be mounted
	fullDiskServe = "AGENTDB_TEST_FULL_SERVER" // run a server with this data directory, at the address
)

// TestFullDisk fills the disks of an agent and of its server. It runs in a
// process of its own that may mount file systems.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(fullDiskServe); dir != "" {
		serveUntilKilled(t, dir)
		return
	}
	dir := os.Getenv(fullDiskDir)
	if dir == "" {
		inNamespace(t, fullDiskDir+"="+t.TempDir())
		return
	}
	here, there := filepath.Join(dir, "agent"), filepath.Join(dir, "server")
	mountSmall(t, here, 12)
	mountSmall(t, there, 400)
	srv := &serverProcess{t: t, dir: there, addr: freeAddr(t)}
	srv.start()
	t.Cleanup(srv.kill)
	t.Run("agent", func(t *testing.T) { fullAgent(t, srv, here) })
	t.Run("server", func(t *testing.T) { fullServer(t, srv) })
	t.Run("pull", func(t *testing.T) { fullPull(t, srv) })
}

// inNamespace runs this test again where it is root and may mount.
func inNamespace(t *testing.T, env ...string) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	cmd.WaitDelay = 10 * time.Second // a server may be left over
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || strings.Contains(string(out), "SKIP: TestFullDisk") {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func mountSmall(t *testing.T, dir string, mib int) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// fill leaves so many bytes of a file system, and returns how to empty it.
func fill(t *testing.T, dir string, left uint64) (empty func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for tries := 0; ; tries++ {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		n := int64(st.Bavail)*st.Bsize - int64(left)
		if n <= 0 {
			break
		}
		err := syscall.Fallocate(int(f.Fd()), 0, 0, n)
		if err == nil {
			break
		}
		if err != syscall.ENOSPC || tries == 100 { // somebody else may write as well
			t.Fatal(err)
		}
	}
	return func() { _ = os.Remove(f.Name()) }
}

// serverProcess is a server that can be killed.
type serverProcess struct {
	t         *testing.T
	dir, addr string
	cmd       *exec.Cmd
}

func freeAddr(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func (s *serverProcess) start() {
	s.cmd = exec.Command(os.Args[0], "-test.run=^TestFullDisk$")
	s.cmd.Env = append(os.Environ(), fullDiskServe+"="+s.dir+" "+s.addr)
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "serving\n" {
		s.t.Fatalf("the server says %q, %v", line, err)
	}
}

func (s *serverProcess) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func serveUntilKilled(t *testing.T, where string) {
	dir, addr, _ := strings.Cut(where, " ")
	srv, err := server.New(server.Config{DataDir: filepath.Join(dir, "data"), Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("serving")
	t.Fatal(srv.Serve(context.Background(), ln))
}

func (s *serverProcess) open(t *testing.T, path, database string) *agentdb.DB {
	t.Helper()
	db, err := agentdb.Open(t.Context(), path, &agentdb.Options{URL: "http://" + s.addr + "/db/" + database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func rowsOf(t *testing.T, db *agentdb.DB) int {
	t.Helper()
	n, err := agentdb.Get[int](t.Context(), db, "SELECT count(*) FROM tasks")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// isFull reports whether an error says that there is no room on the disk.
func isFull(err error) bool {
	var e *agentdb.Error
	return errors.As(err, &e) && e.Name == "SQLITE_FULL" || errors.Is(err, syscall.ENOSPC)
}

// fullAgent: commits fail with SQLite's own word for it, what they wrote is
// gone, what was committed before is there, and when there is room again all
// goes on.
func fullAgent(t *testing.T, srv *serverProcess, dir string) {
	a, b := srv.open(t, filepath.Join(dir, "agent.db"), "a"), srv.open(t, tmp(t), "a")
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('first')")
	mustSync(t, a)
	mustSync(t, b)
	runSQL(t, b, "INSERT INTO tasks(v) VALUES(hex(zeroblob(500000)))")
	mustSync(t, b)
	empty := fill(t, dir, 300<<10)
	rows := 1
	var err error
	for err == nil && rows < 1000 {
		err = a.Update(t.Context(), func(tx *agentdb.Tx) error {
			for range 3 {
				if _, err := tx.Exec(t.Context(), "INSERT INTO tasks(v) VALUES(hex(randomblob(5000)))"); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			rows += 3
		}
	}
	if !isFull(err) {
		t.Fatalf("a commit on a full disk: %v", err)
	}
	for range 3 { // whatever a sync can do now, it does it whole
		_, err := a.Sync(t.Context())
		if !isFull(err) {
			t.Errorf("a sync on a full disk: %v", err)
		}
		if got := rowsOf(t, a); got != rows {
			t.Errorf("%d rows, committed were %d", got, rows)
		}
	}
	if _, err := agentdb.Open(t.Context(), filepath.Join(dir, "new.db"), &agentdb.Options{URL: "http://" + srv.addr + "/db/new"}); !isFull(err) {
		t.Errorf("a new file on a full disk: %v", err)
	}
	empty()
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('room again')")
	both(t, a, b)

	// The same with news that are small: nothing but a commit here is too much.
	runSQL(t, b, "UPDATE tasks SET v='changed' WHERE v='first'")
	mustSync(t, b)
	rows += 2
	empty = fill(t, dir, 8<<10)
	for err = nil; err == nil && rows < 1000; {
		if _, err = a.Exec(t.Context(), "INSERT INTO tasks(v) VALUES(?)", rows); err == nil {
			rows++
		}
	}
	if _, serr := a.Sync(t.Context()); !isFull(err) || !isFull(serr) || rowsOf(t, a) != rows {
		t.Errorf("a full disk: commit %v, sync %v", err, serr)
	}
	empty()
	both(t, a, b)
	for _, db := range []*agentdb.DB{a, b} {
		want(t, db, "SELECT count(*), count(DISTINCT v) FROM tasks", fmt.Sprintf("[[%d %d]]", rows, rows))
		want(t, db, "PRAGMA integrity_check", "[[ok]]")
		want(t, db, "SELECT count(*) FROM agentdb_conflicts", "[[0]]")
	}
}

// fullServer: below its reserve a server refuses pushes, serves pulls, and goes
// on by itself; if there is no room at all, what it acknowledged is there
// after a restart.
func fullServer(t *testing.T, srv *serverProcess) {
	a, b := srv.open(t, tmp(t), "b"), srv.open(t, tmp(t), "b")
	runSQL(t, a, tasks)
	mustSync(t, a)
	pushed := func() error {
		runSQL(t, a, "INSERT INTO tasks(v) VALUES(hex(randomblob(10000)))")
		_, err := a.Sync(t.Context())
		return err
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	empty := fill(t, srv.dir, 200<<20)
	until("pushes are not refused", func() bool { return errors.Is(pushed(), agentdb.ErrQuota) })
	acked := rowsOf(t, a) - a.Status().Pending
	mustSync(t, b)
	if got := rowsOf(t, b); got != acked {
		t.Errorf("%d rows were pulled, %d were acknowledged", got, acked)
	}
	empty()
	until("pushes are not taken again", func() bool { _, err := a.Sync(t.Context()); return err == nil })

	empty = fill(t, srv.dir, 0)
	until("no push fails", func() bool { return pushed() != nil })
	for range 3 {
		_ = pushed()
	}
	acked = rowsOf(t, a) - a.Status().Pending
	empty()
	srv.kill()
	srv.start()
	mustSync(t, b)
	if got := rowsOf(t, b); got < acked {
		t.Errorf("%d rows are there, %d were acknowledged", got, acked)
	}
	both(t, a, b)
	for _, db := range []*agentdb.DB{a, b} {
		n := rowsOf(t, a)
		want(t, db, "SELECT count(*), count(DISTINCT v) FROM tasks", fmt.Sprintf("[[%d %d]]", n, n))
		want(t, db, "SELECT count(*) FROM agentdb_conflicts", "[[0]]")
	}
}

// fullPull: without room to compress it, a Turso client on another machine gets
// its pages as they are.
func fullPull(t *testing.T, srv *serverProcess) {
	a := srv.open(t, tmp(t), "c")
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES(hex(zeroblob(2000000)))")
	mustSync(t, a)
	pull := func(agent string, body []byte) (encoding string, answer []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+srv.addr+"/db/c/pull-updates", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"User-Agent": {agent}, "X-Forwarded-For": {"192.0.2.7"}, "Accept-Encoding": {"gzip"}}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(b)) {
			t.Errorf("%s, %d bytes: %v; %v", resp.Status, len(b), err, resp.Header)
		}
		return resp.Header.Get("Content-Encoding"), b
	}
	_, raw := pull("x", nil)
	pinned := append([]byte{2<<3 | 2}, raw[2:3+raw[2]]...) // asks for the revision that the answer begins with
	empty := fill(t, srv.dir, 0)
	if encoding, b := pull("node", pinned); encoding != "" || !bytes.Equal(b, raw) {
		t.Errorf("on a full disk: %d bytes, not %d, %q", len(b), len(raw), encoding)
	}
	empty()
	if encoding, b := pull("node", pinned); encoding != "gzip" || len(b) > len(raw)/10 {
		t.Errorf("with room: %d bytes, %q", len(b), encoding)
	}
}
