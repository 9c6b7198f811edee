package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/hrana"
	"github.com/agentdb/agentdb/internal/platform"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/turso"
	"github.com/agentdb/agentdb/internal/wire"
)

// databases is what the server needs of the open databases.
type databases interface {
	// Sync applies a request to a database and answers it. With create the
	// database is created if there is none. It blocks for a request that
	// waits for news.
	Sync(ctx context.Context, name string, acc tenant.Access, create bool, req *wire.Request) (*tenant.Answer, error)
	// SyncScoped is Sync for somebody who may use some tables only.
	SyncScoped(ctx context.Context, name string, acc tenant.Access, scope *tenant.Scope, create bool, req *wire.Request) (*tenant.Answer, error)
	// PullPages answers a request of a Turso client for pages, like Sync.
	PullPages(ctx context.Context, name string, create bool, req *turso.PullRequest) (*tenant.PageAnswer, error)
	// SQL returns a connection of a SQL client. It opens nothing yet.
	SQL(name string, cfg tenant.SessionConfig) hrana.Conn
	// Export returns the size of a database's file, and the file in parts: of
	// the newest, or of that which a generation begins with.
	Export(ctx context.Context, name string, generation uint32) (int64, iter.Seq2[[]byte, error], error)
	// Generation returns the generation that a database is in.
	Generation(ctx context.Context, name string, of uint32) (uint32, error)
	// Frames returns frames of a generation.
	Frames(ctx context.Context, name string, generation uint32, from, to int) ([]byte, error)
	// Stats counts what happened so far.
	Stats() tenant.Stats
	// Drain answers the requests that wait for news, and lets none wait from
	// now on.
	Drain()
	// Failed is closed when the disk has failed, and Err then tells how. All
	// else returns errors from then on.
	Failed() <-chan struct{}
	Err() error
	// Suspect returns err, or another one if it is the disk that has failed.
	Suspect(ctx context.Context, err error) error
	// Close closes the databases. Nothing is called after it.
	Close(ctx context.Context) error
}

// Server is the server of all databases of a data directory. It is an
// http.Handler, safe for concurrent use.
type Server struct {
	cfg      Config
	log      *slog.Logger
	dbs      databases
	verifier *catalog.Verifier // nil in dev mode
	jwks     []byte            // the public key that tokens are signed with
	store    *catalog.Store    // nil if the databases are not those of a data directory
	api      *platform.API     // of the store
	metrics  *metrics
	tracing  *tracing
	streams  *hrana.Streams
	mux      *http.ServeMux
	memory   budget
	rates    limiter
	seed     maphash.Seed // of keys of rates
	live     live
	requests atomic.Uint64 // the last request's number
	draining atomic.Bool   // Serve was told to stop
	stopping context.Context
	stop     context.CancelFunc // ends WebSockets
	zips     struct{ small, tiny zippers }

	mu     sync.Mutex
	active int           // requests under way; guarded by mu
	idle   chan struct{} // made by Close, closed when active is 0; guarded by mu
	closed chan struct{} // closed when the databases are
	err    error         // of closing them; written before closed is
}

// New opens the data directory and returns its server.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.defaults()
	if err != nil {
		return nil, err
	}
	var key *catalog.Key
	if !cfg.Dev {
		if key, err = catalog.OpenKey(cfg.DataDir); err != nil {
			return nil, fmt.Errorf("server: open %s: %w", cfg.DataDir, err)
		}
	}
	dbs, err := openDatabases(cfg, key)
	if err != nil {
		if errors.Is(err, syscall.EAGAIN) { // how a held file lock answers
			err = fmt.Errorf("another server uses it: %w", err)
		}
		return nil, fmt.Errorf("server: open %s: %w", cfg.DataDir, err)
	}
	s, err := newServer(cfg, dbs)
	if err != nil {
		return nil, errors.Join(err, dbs.Close(context.Background()))
	}
	s.store, s.api = dbs.catalog, dbs.api
	s.store.Watch(s.recheck)
	return s, nil
}

// newServer returns a server of these databases; cfg has its defaults.
func newServer(cfg Config, dbs databases) (*Server, error) {
	s := &Server{
		cfg:    cfg,
		log:    cfg.Logger,
		dbs:    dbs,
		mux:    http.NewServeMux(),
		memory: budget{max: cfg.Limits.MaxMemory},
		seed:   maphash.MakeSeed(),
		closed: make(chan struct{}),
		streams: hrana.NewStreams(hrana.Config{
			Idle: cfg.Limits.TransactionIdle, MaxTransaction: cfg.Limits.TransactionTime, MaxAnswer: int(cfg.Limits.MaxAnswer),
		}),
	}
	s.tracing = newTracing(cfg.TracerProvider)
	s.stopping, s.stop = context.WithCancel(context.Background())
	if !cfg.Dev {
		key, err := catalog.OpenKey(cfg.DataDir)
		if err != nil {
			return nil, err
		}
		issuers := make([]catalog.Issuer, len(cfg.Issuers))
		for i, from := range cfg.Issuers {
			issuers[i] = catalog.Issuer(from)
		}
		if s.verifier, err = key.Verifier(nil, issuers...); err != nil {
			return nil, err
		}
		if s.jwks, err = key.JWKS(); err != nil {
			return nil, err
		}
	}
	s.metrics = newMetrics(dbs, s.streams.Waiting)
	s.mux.HandleFunc("/sync", s.handle("sync", s.sync))
	s.mux.HandleFunc("/db/{name}/sync", s.handle("sync", s.sync))
	s.sqlRoutes()
	for _, prefix := range []string{"", "/db/{name}"} {
		s.mux.HandleFunc(prefix+"/pull-updates", s.handle("pages", s.sqlHandler(s.pullUpdates)))
	}
	s.dumpRoutes()
	s.mux.HandleFunc("/health", s.handle("healthz", s.healthz))
	s.mux.HandleFunc("/healthz", s.handle("healthz", s.healthz))
	s.mux.HandleFunc("/readyz", s.handle("readyz", s.readyz))
	s.mux.HandleFunc("/version", s.handle("version", s.version))
	s.mux.HandleFunc("/.well-known/jwks.json", s.handle("jwks", s.serveJWKS))
	s.mux.HandleFunc("/metrics", s.handle("metrics", s.serveMetrics))
	for _, path := range []string{"/", "/db/{name}", "/db/{name}/{$}"} {
		s.mux.HandleFunc(path, s.handle("other", s.other))
	}
	return s, nil
}

// Handler returns the server as a handler; the same as the server itself.
func (s *Server) Handler() http.Handler { return s }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		asProblem(tenant.ErrClosed).write(w, "")
		return
	}
	defer s.leave()
	if s.api != nil && platform.Serves(r.URL.Path) { // before the mux, which redirects paths with double slashes
		s.handle("platform", s.platform)(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// platform serves the Platform API.
func (s *Server) platform(w *recorder, r *http.Request) error {
	w.sql = true // errors are for web pages too
	s.allowOrigin(w, r)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if s.cfg.Dev {
		if err := checkOrigin(r); err != nil {
			return err
		}
	}
	if err := s.spendAPI(r); err != nil {
		return err
	}
	if r.ContentLength == 0 {
		_ = w.ctl.SetReadDeadline(time.Time{})
	}
	body := r.Body
	// In a copy: net/http reads on from a body that it doesn't know, even if the
	// client waits to be told to send it.
	r = r.WithContext(r.Context())
	r.Body = &patientBody{ReadCloser: body, s: s, w: w}
	w.upload = r.ProtoMajor == 1 && (r.ContentLength < 0 || r.ContentLength >= unreadBody) && r.Header.Get("Expect") == "" && w.ctl.EnableFullDuplex() == nil
	s.api.ServeHTTP(w, r)
	if w.upload && w.status >= http.StatusBadRequest && w.ctl.Flush() == nil {
		s.extend(w) // once: this needs no token
		_, _ = io.CopyN(io.Discard, body, max(drained*s.cfg.Limits.MaxBody, s.cfg.Limits.MaxUpload))
	}
	return nil
}

// patientBody gives the client its time anew with each part of the body. The
// deadline ends with the body: if it struck later, the client would be taken for
// gone.
type patientBody struct {
	io.ReadCloser
	s *Server
	w *recorder
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.s.extend(b.w)
	n, err := b.ReadCloser.Read(p)
	b.w.in += int64(n)
	if err == io.EOF {
		_ = b.w.ctl.SetReadDeadline(time.Time{})
	}
	return n, err
}

// enter counts a request in, unless the server is closing.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		return false
	}
	s.active++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.active == 0 && s.idle != nil {
		close(s.idle)
	}
}

// Close turns new requests away, waits for those under way, and closes the
// databases. Requests that wait for news are answered at once. When ctx ends
// Close returns its error, and the databases are closed as soon as the last
// request is done. Close may be called more than once.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.idle == nil {
		s.idle = make(chan struct{})
		if s.active == 0 {
			close(s.idle)
		}
		go func(idle <-chan struct{}) {
			<-idle
			s.streams.Close()
			s.err = s.dbs.Close(context.WithoutCancel(ctx))
			close(s.closed)
		}(s.idle)
	}
	s.mu.Unlock()
	s.stop()
	s.dbs.Drain()
	select {
	case <-s.closed:
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("server: close: requests are still under way: %w", ctx.Err())
	}
}

// Failed is closed when the disk has failed. Then nothing is answered any more but
// errors: Serve returns, and the server is to be closed and opened anew, best by
// the process's end and another's start.
func (s *Server) Failed() <-chan struct{} { return s.dbs.Failed() }

func (s *Server) healthz(w *recorder, r *http.Request) error {
	if err := onlyGet(r); err != nil {
		return err
	}
	return w.json(map[string]string{"status": "ok"})
}

// readyz says whether requests should be sent here: from when everything is open
// until the server is told to stop. healthz says that it runs.
func (s *Server) readyz(w *recorder, r *http.Request) error {
	if err := onlyGet(r); err != nil {
		return err
	}
	if err := s.dbs.Err(); err != nil {
		why := "its log has the details"
		if no := syscall.Errno(0); errors.As(err, &no) {
			why = no.Error()
		}
		return &problem{code: CodeUnavailable, message: "the server's disk has failed, and it must be started again: " + why, err: err}
	}
	if s.draining.Load() || s.stopping.Err() != nil {
		return &problem{code: CodeUnavailable, message: "the server is shutting down"}
	}
	return w.json(map[string]string{"status": "ready"})
}

func (s *Server) version(w *recorder, r *http.Request) error {
	if err := onlyGet(r); err != nil {
		return err
	}
	return w.json(map[string]any{"version": Version(), "protocol": wire.Version})
}

// serveJWKS hands out the key that others can check tokens with.
func (s *Server) serveJWKS(w *recorder, r *http.Request) error {
	if err := onlyGet(r); err != nil {
		return err
	}
	if s.jwks == nil {
		return w.json(map[string]any{"keys": []any{}})
	}
	return w.json(json.RawMessage(s.jwks))
}

func (s *Server) serveMetrics(w *recorder, r *http.Request) error {
	if err := onlyGet(r); err != nil {
		return err
	}
	s.metrics.handler.ServeHTTP(w, r)
	return nil
}

// other answers what has no path of its own: WebSockets of SQL clients, and
// mistakes.
func (s *Server) other(w *recorder, r *http.Request) error {
	if (r.URL.Path == "/" || r.PathValue("name") != "") && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return s.socket(w, r)
	}
	return &problem{code: CodeNotFound, message: "nothing is here: a database syncs by POST to /db/NAME/sync and runs SQL by POST to /db/NAME/v2/pipeline, see also /healthz, /metrics and /version"}
}

func onlyGet(r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &problem{code: CodeMethod, message: "use GET here"}
	}
	return nil
}

// json answers with v.
func (w *recorder) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b) // the client is gone; there is nobody to tell
	return nil
}

// Version returns the version of the program that this package is built into,
// as the go command stamped it.
func Version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}
