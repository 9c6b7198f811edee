// Package agentdbtest helps to test programs that use agentdb: it runs a real
// server for the length of a test, and opens databases that are closed and
// removed with it.
//
//	func TestAgents(t *testing.T) {
//		srv := agentdbtest.NewServer(t)
//		alice := agentdbtest.Open(t, srv.Options("tasks"))
//		bob := agentdbtest.Open(t, srv.Options("tasks"))
//		…
//	}
//
// The server listens on a loopback port, asks for tokens as a real one does,
// and keeps its data in the test's temporary directory. Stop and Start take it
// off the network for a while.
package agentdbtest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/server"
)

// closeTimeout is how long a server may take to stop before the test fails.
const closeTimeout = 20 * time.Second

// Server is a server that lives as long as a test.
type Server struct {
	t    testing.TB
	dir  string
	addr string

	// Of the running server; nil while it is stopped.
	srv    *server.Server
	cancel context.CancelFunc
	served chan error
}

// NewServer starts a server, and stops it when the test ends.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts the server again after Stop, with the same data and at the same
// address. It does nothing if the server runs.
func (s *Server) Start() {
	s.t.Helper()
	if s.srv != nil {
		return
	}
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatalf("agentdbtest: listen: %v", err)
	}
	log := slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	srv, err := server.New(server.Config{DataDir: s.dir, Logger: log})
	if err != nil {
		s.t.Fatalf("agentdbtest: %v", errors.Join(err, ln.Close()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.addr, s.srv, s.cancel, s.served = ln.Addr().String(), srv, cancel, make(chan error, 1)
	go func() { s.served <- srv.Serve(ctx, ln) }()
}

// Stop stops the server: clients are offline until Start. It does nothing if
// the server is stopped.
func (s *Server) Stop() {
	s.t.Helper()
	if s.srv == nil {
		return
	}
	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := errors.Join(<-s.served, s.srv.Close(ctx)); err != nil {
		s.t.Errorf("agentdbtest: stop: %v", err)
	}
	s.srv = nil
}

// URL returns the address of a database, which needs not exist: it is created
// by its first push.
func (s *Server) URL(database string) string { return "http://" + s.addr + "/db/" + database }

// Token returns a token for a database, or for all of them if that is "*".
// access is full, read, push or pull.
func (s *Server) Token(database, access string) string {
	s.t.Helper()
	tok, err := server.CreateToken(s.dir, server.TokenSpec{Database: database, Access: access, Expires: 24 * time.Hour})
	if err != nil {
		s.t.Fatalf("agentdbtest: %v", err)
	}
	return tok
}

// Host returns the server's address, such as 127.0.0.1:4321.
func (s *Server) Host() string { return s.addr }

// APIToken returns a new token for the server's Platform API, of its first owner.
func (s *Server) APIToken(name string) string {
	s.t.Helper()
	tok, err := server.CreateAPIToken(s.t.Context(), s.dir, server.APITokenSpec{Name: name})
	if err != nil {
		s.t.Fatalf("agentdbtest: %v", err)
	}
	return tok
}

// Options returns options for a full replica of a database.
func (s *Server) Options(database string) *agentdb.Options {
	s.t.Helper()
	return &agentdb.Options{URL: s.URL(database), AuthToken: s.Token(database, "full")}
}

// Open opens a new database in a directory of its own, and closes it when the
// test ends. o may be nil.
func Open(t testing.TB, o *agentdb.Options) *agentdb.DB {
	t.Helper()
	return OpenFile(t, filepath.Join(t.TempDir(), "agent.db"), o)
}

// OpenFile is Open for a certain file.
func OpenFile(t testing.TB, path string, o *agentdb.Options) *agentdb.DB {
	t.Helper()
	db, err := agentdb.Open(context.Background(), path, o)
	if err != nil {
		t.Fatalf("agentdbtest: open %s: %v", path, err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, agentdb.ErrClosed) {
			t.Errorf("agentdbtest: close %s: %v", path, err)
		}
	})
	return db
}
