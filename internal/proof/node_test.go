package proof

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/server"
)

// node is a server on loopback that can be stopped and started again at the
// same address. Its tests need no tokens unless cfg says so.
type node struct {
	t    testing.TB
	cfg  server.Config
	addr string

	srv  *server.Server // nil while stopped
	stop context.CancelFunc
	done chan error
}

const anyPort = "127.0.0.1:0"

// newNode starts a server on a fresh data directory.
func newNode(t testing.TB) *node {
	t.Helper()
	return newNodeWith(t, server.Config{DataDir: filepath.Join(t.TempDir(), "data"), Dev: true})
}

func newNodeWith(t testing.TB, cfg server.Config) *node {
	t.Helper()
	n := &node{t: t, cfg: cfg, addr: anyPort}
	n.up()
	t.Cleanup(n.down)
	return n
}

// up starts the server. It does nothing if it is running.
func (n *node) up() {
	n.t.Helper()
	if n.srv != nil {
		return
	}
	srv, err := server.New(n.cfg)
	if err != nil {
		if strings.Contains(err.Error(), "not there yet") {
			n.t.Skip("the server is not there yet")
		}
		n.t.Fatalf("server: %v", err)
	}
	ln, err := listen(n.addr)
	if err != nil {
		n.t.Fatalf("listen: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.srv, n.stop, n.done = srv, cancel, make(chan error, 1)
	if n.addr == anyPort { // later it stays the same, and others read it
		n.addr = ln.Addr().String()
	}
	go func() { n.done <- srv.Serve(ctx, ln) }()
}

// listen takes an address that a server before may just have given up.
func listen(addr string) (ln net.Listener, err error) {
	for range 100 {
		if ln, err = net.Listen("tcp", addr); err == nil {
			return ln, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, err
}

// down stops the server. It does nothing if it isn't running.
func (n *node) down() {
	n.t.Helper()
	if n.srv == nil {
		return
	}
	n.stop()
	if err := <-n.done; err != nil {
		n.t.Errorf("serve: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.srv.Close(ctx); err != nil {
		n.t.Errorf("close server: %v", err)
	}
	n.srv = nil
}

// url is the address of a database, without a proxy.
func (n *node) url(db string) string { return "http://" + n.addr + "/db/" + db }

// dropCache deletes the server's cached files. It must be down.
func (n *node) dropCache() {
	n.t.Helper()
	if n.srv != nil {
		n.t.Fatal("the server is running")
	}
	if err := os.RemoveAll(filepath.Join(n.cfg.DataDir, "cache")); err != nil && !errors.Is(err, os.ErrNotExist) {
		n.t.Fatal(err)
	}
}
