package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/hrana"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/turso"
	"github.com/agentdb/agentdb/internal/wire"
)

// call is one call of fakeDatabases.Sync.
type call struct {
	name   string
	access tenant.Access
	create bool
	req    *wire.Request
}

// fakeDatabases answers as told and remembers what it was asked.
type fakeDatabases struct {
	answer func(ctx context.Context, c call) (*tenant.Answer, error) // an empty OK if nil

	quiet bool // don't remember

	mu    sync.Mutex
	calls []call

	failed chan struct{} // closed: the disk has; may be nil

	drainOnce sync.Once
	drained   chan struct{}
	closed    chan struct{}
}

func (f *fakeDatabases) Failed() <-chan struct{} { return f.failed }

func (f *fakeDatabases) Err() error {
	select {
	case <-f.failed:
		return fmt.Errorf("%w: %w", tenant.ErrFailed, syscall.EIO)
	default:
		return nil
	}
}

func (f *fakeDatabases) Suspect(_ context.Context, err error) error { return err }

func newFake() *fakeDatabases {
	return &fakeDatabases{drained: make(chan struct{}), closed: make(chan struct{})}
}

func (f *fakeDatabases) Sync(ctx context.Context, name string, acc tenant.Access, create bool, req *wire.Request) (*tenant.Answer, error) {
	c := call{name, acc, create, req}
	f.mu.Lock()
	if !f.quiet {
		f.calls = append(f.calls, c)
	}
	f.mu.Unlock()
	select {
	case <-f.closed:
		return nil, errors.New("used after Close")
	default:
	}
	if f.answer != nil {
		return f.answer(ctx, c)
	}
	return &tenant.Answer{Response: &wire.Response{}}, nil
}

func (f *fakeDatabases) SQL(string, tenant.SessionConfig) hrana.Conn { return nil }

func (f *fakeDatabases) Export(context.Context, string, uint32) (int64, iter.Seq2[[]byte, error], error) {
	return 0, nil, tenant.ErrNotFound
}

func (f *fakeDatabases) Generation(context.Context, string, uint32) (uint32, error) { return 1, nil }

func (f *fakeDatabases) Frames(context.Context, string, uint32, int, int) ([]byte, error) {
	return nil, tenant.ErrNotFound
}

func (f *fakeDatabases) Stats() tenant.Stats { return tenant.Stats{Open: 3, Commits: 42} }

func (f *fakeDatabases) Drain() { f.drainOnce.Do(func() { close(f.drained) }) }

func (f *fakeDatabases) Close(context.Context) error {
	close(f.closed)
	return nil
}

// last returns the last call, and fails if there was none.
func (f *fakeDatabases) last(t *testing.T) call {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.calls) == 0 {
		t.Fatal("the databases were not asked")
	}
	return f.calls[len(f.calls)-1]
}

func (f *fakeDatabases) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

// wait blocks like a long poll.
func (f *fakeDatabases) wait(ctx context.Context, c call) (*tenant.Answer, error) {
	timer := time.NewTimer(time.Duration(c.req.WaitMS) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-f.drained:
	case <-timer.C:
	}
	return &tenant.Answer{Response: &wire.Response{}}, nil
}

// newTest returns a server over a fake. cfg needs no DataDir.
func newTest(t *testing.T, f *fakeDatabases, cfg Config) *Server {
	t.Helper()
	cfg.DataDir = t.TempDir()
	cfg, err := cfg.defaults()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(cfg, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// start serves on a loopback port until the test ends; stop does so earlier.
func start(t *testing.T, s *Server) (addr string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String(), stop
}

func syncRequest(url string, m *wire.Request) *http.Request {
	r := httptest.NewRequest(http.MethodPost, url, bytes.NewReader(m.Append(nil)))
	r.Header.Set("Content-Type", wire.ContentType)
	return r
}

// do runs a request and returns the status, the error code if any, and the body.
func do(s http.Handler, r *http.Request) (status int, code Code, body string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, errorCode(w.Body.Bytes()), w.Body.String()
}

// pagesOf yields chunks and then an error, if not nil.
func pagesOf(err error, chunks ...[]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, c := range chunks {
			if !yield(c, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// syncWriter is a log that tests read.
type syncWriter struct {
	mu sync.Mutex
	b  strings.Builder
}

func (w *syncWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *syncWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func logTo(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

func (f *fakeDatabases) PullPages(context.Context, string, bool, *turso.PullRequest) (*tenant.PageAnswer, error) {
	return &tenant.PageAnswer{Revision: "0", Size: 1, Data: func(func(history.Page, error) bool) {}}, nil
}

func (f *fakeDatabases) SyncScoped(ctx context.Context, name string, acc tenant.Access, _ *tenant.Scope, create bool, req *wire.Request) (*tenant.Answer, error) {
	return f.Sync(ctx, name, acc, create, req)
}
