package proof

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/server"
)

// The parameters of a child.
const (
	childPath  = "AGENTDB_PROOF_PATH"
	childURL   = "AGENTDB_PROOF_URL"
	childAddr  = "AGENTDB_PROOF_ADDR"
	childStart = "AGENTDB_PROOF_START"
	childName  = "AGENTDB_PROOF_NAME"
)

// runChild is the main function of a process that is going to be killed.
func runChild(role string) error {
	switch role {
	case "agent":
		return runAgent()
	case "once":
		return runOnce()
	case "server":
		return runServer()
	}
	return fmt.Errorf("no role %q", role)
}

const work = `CREATE TABLE IF NOT EXISTS work (who TEXT, n INT);
	CREATE TABLE IF NOT EXISTS twin (id INTEGER PRIMARY KEY, who TEXT, n INT)`

// runAgent writes and syncs for ever, and says what was committed.
func runAgent() error {
	ctx := context.Background()
	start, err := strconv.Atoi(os.Getenv(childStart))
	if err != nil {
		return err
	}
	db, err := agentdb.Open(ctx, os.Getenv(childPath), &agentdb.Options{URL: os.Getenv(childURL)})
	if err != nil {
		return err
	}
	if _, err := db.Exec(ctx, work); err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		for {
			_, _ = db.Sync(ctx) // the server may be away; what counts is checked in the end
			time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		}
	}()
	who := os.Getenv(childName)
	for n := start; ; n++ {
		err := db.Update(ctx, func(tx *agentdb.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO work VALUES (?, ?)", who, n); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "INSERT INTO twin (who, n) VALUES (?, ?)", who, n)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Println("committed", n)
	}
}

// runServer serves until it is killed.
func runServer() error {
	srv, err := server.New(server.Config{DataDir: os.Getenv(childPath), Dev: true})
	if err != nil {
		return err
	}
	ln, err := listen(os.Getenv(childAddr))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return srv.Serve(context.Background(), ln)
}

// child is a process of this binary.
type child struct {
	cmd *osexec.Cmd
	out *bufio.Reader
	log *strings.Builder
}

func spawn(t *testing.T, role string, env ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: osexec.Command(self), log: &strings.Builder{}}
	c.cmd.Env = append(append(os.Environ(), childRole+"="+role), env...)
	c.cmd.Stderr = c.log
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	line, err := c.out.ReadString('\n')
	if err != nil || line != "ready\n" {
		_ = c.cmd.Wait()
		t.Fatalf("%s said %q (%v) and %s", role, line, err, c.log)
	}
	return c
}

// kill ends the process at once, and returns what it still said.
func (c *child) kill(t *testing.T) string {
	t.Helper()
	_ = c.cmd.Process.Kill() // it may have ended by itself; then it has said why
	rest, err := io.ReadAll(c.out)
	if err != nil {
		t.Error(err)
	}
	_ = c.cmd.Wait()
	if c.log.Len() > 0 {
		t.Errorf("a process had to say: %s", c.log)
	}
	return string(rest)
}

// TestKillAgents kills agents while they write and sync.
func TestKillAgents(t *testing.T) {
	l := newLab(t)
	type life struct {
		name, path string
		acked      int
	}
	lives := []*life{{name: "x"}, {name: "y"}}
	for _, v := range lives {
		v.path = filepath.Join(l.dir, v.name+".db")
	}
	rng := rand.New(rand.NewPCG(baseSeed(), 9))
	for range *flagKills {
		var wg sync.WaitGroup
		for _, v := range lives {
			pause := time.Duration(20+rng.IntN(150)) * time.Millisecond
			wg.Go(func() {
				c := spawn(t, "agent", childPath+"="+v.path, childURL+"="+l.node.url(database), childName+"="+v.name, fmt.Sprintf("%s=%d", childStart, v.acked+1))
				time.Sleep(pause)
				for line := range strings.Lines(c.kill(t)) {
					if n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "committed "))); err == nil && strings.HasSuffix(line, "\n") {
						v.acked = max(v.acked, n)
					}
				}
			})
		}
		wg.Wait()
		for _, v := range lives {
			db := opened(t, v.path, nil)
			n := get[int](t, db, "SELECT coalesce(max(n), 0) FROM work WHERE who = ?", v.name)
			if n < v.acked || n > v.acked+1 {
				t.Errorf("%s: %d transactions were acknowledged, %d are there", v.name, v.acked, n)
			}
			v.acked = n // the last one was committed, but not acknowledged any more
			closed(t, db)
		}
	}
	var as []*agent
	for _, v := range lives {
		as = append(as, l.agent(v.name, agentdb.SyncFull))
	}
	as = append(as, l.agent("fresh", agentdb.SyncFull))
	settle(as...)
	for _, v := range lives {
		for _, table := range []string{"work", "twin"} {
			got := get[string](t, as[2].DB, "SELECT count(*) || ' ' || count(DISTINCT n) || ' ' || coalesce(max(n), 0) FROM "+table+" WHERE who = ?", v.name)
			want(t, v.name+" in "+table, got, fmt.Sprintf("%d %d %d", v.acked, v.acked, v.acked))
		}
		t.Logf("%s: %d transactions", v.name, v.acked)
	}
}

// TestKillServer kills the server while agents push.
func TestKillServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ln, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	start := func() *child {
		return spawn(t, "server", childPath+"="+filepath.Join(dir, "data"), childAddr+"="+addr)
	}
	c := start()
	var dbs []*agentdb.DB
	for i := range 3 {
		db := opened(t, filepath.Join(dir, fmt.Sprint(i, ".db")), &agentdb.Options{
			URL: "http://" + addr + "/db/" + database, Synchronous: "OFF",
			HTTPClient: &http.Client{Timeout: 10 * time.Second},
		})
		exec(t, db, work)
		dbs = append(dbs, db)
	}
	stop := make(chan struct{})
	acked := make([]int, len(dbs))
	var wg sync.WaitGroup
	for i, db := range dbs {
		wg.Go(func() { acked[i] = pushUntil(t, db, fmt.Sprint(i), stop) })
	}
	rng := rand.New(rand.NewPCG(baseSeed(), 10))
	for k := range *flagKills {
		time.Sleep(time.Duration(50+rng.IntN(200)) * time.Millisecond)
		c.kill(t)
		if k%2 == 1 {
			if err := os.RemoveAll(filepath.Join(dir, "data", "cache")); err != nil {
				t.Error(err)
			}
		}
		c = start()
	}
	time.Sleep(50 * time.Millisecond)
	close(stop)
	wg.Wait()
	fresh := opened(t, filepath.Join(dir, "fresh.db"), &agentdb.Options{URL: "http://" + addr + "/db/" + database})
	synced(t, fresh)
	for i, n := range acked {
		got := get[string](t, fresh, "SELECT count(*) || ' ' || count(DISTINCT n) || ' ' || coalesce(max(n), 0) FROM work WHERE who = ?", fmt.Sprint(i))
		want(t, fmt.Sprint("rows of ", i), got, fmt.Sprintf("%d %d %d", n, n, n))
		t.Logf("%d: %d transactions", i, n)
	}
	for _, db := range dbs {
		synced(t, db)
	}
	same(t, filepath.Join(dir, "fresh.db"), filepath.Join(dir, "0.db"), filepath.Join(dir, "1.db"), filepath.Join(dir, "2.db"))
	c.kill(t)
}

// pushUntil writes and pushes, and returns how many transactions the server
// has acknowledged in the end, which is all of them.
func pushUntil(t *testing.T, db *agentdb.DB, who string, stop <-chan struct{}) int {
	ctx := bg(t)
	n := 0
	for {
		select {
		case <-stop:
			for {
				if _, err := db.Sync(ctx); err == nil && db.Status().Pending == 0 {
					return n
				} else if ctx.Err() != nil {
					t.Errorf("the last sync: %v", err)
					return n
				}
			}
		default:
		}
		n++
		if _, err := db.Exec(ctx, "INSERT INTO work VALUES (?, ?)", who, n); err != nil {
			t.Error(err)
			return n
		}
		if _, err := db.Sync(ctx); err != nil && !errors.Is(err, agentdb.ErrOffline) {
			t.Errorf("sync: %v", err)
		}
	}
}
