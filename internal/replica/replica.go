package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// Mode says which way changes go.
type Mode uint8

// The modes.
const (
	Full Mode = iota
	PullOnly
	PushOnly
)

// Errors to branch on.
var (
	// ErrOffline: the server was not reached, or its answer did not arrive.
	ErrOffline = errors.New("server not reached")
	// ErrUnauthorized: the server refused the token.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrQuota: a limit of the server's.
	ErrQuota = errors.New("quota exceeded")
	// ErrDiverged: the file and the server contradict one another.
	ErrDiverged = errors.New("diverged")
	// ErrStrictCaptured is returned by Tracker.BeforeCommit for a transaction
	// that was captured to be sent rather than committed.
	ErrStrictCaptured = errors.New("captured")
	// ErrRejected: the server did not take a strict transaction.
	ErrRejected = errors.New("rejected by the server")
)

// Config describes a replica.
type Config struct {
	Path        string // of the file
	URL         string
	Token       func(ctx context.Context, refresh bool) (string, error) // nil: none
	Mode        Mode
	Interval    time.Duration // >0: sync in the background
	Synchronous string
	HTTPClient  *http.Client // nil: one of its own
	Logger      *slog.Logger
	// Lock takes the lock that every writer of this process holds.
	Lock func(ctx context.Context) (unlock func(), err error)
}

// Replica syncs one file. It is safe for concurrent use.
type Replica struct {
	cfg    Config
	base   string // the URL's, without a trailing slash
	client *http.Client
	bg     *background

	syncing sync.Mutex // one sync at a time
	watch   watchers

	mu     sync.Mutex // guards what follows
	status Status
}

// Status is where a replica stands.
type Status struct {
	LastSync      time.Time
	LastError     error
	BytesSent     int64
	BytesReceived int64
}

// Report says what a sync did.
type Report struct {
	Pushed, Pulled, Conflicts int
	IDs                       []IDChange
	BytesSent, BytesReceived  int64
	RoundTrips                int
	Revision                  uint64
	Resent                    int
	Diverged                  string
}

// IDChange says that a row has another id now.
type IDChange struct {
	Table    string
	Old, New int64
}

// Open makes the file ready for sync: it adds the tables of its own, and turns
// what the file holds already into a change to be sent. It needs no network.
func Open(ctx context.Context, cfg Config) (*Replica, error) {
	base, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	r := &Replica{cfg: cfg, base: base, client: cfg.HTTPClient}
	if r.client == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 4
		t.DisableCompression = true // bodies are compressed already
		r.client = &http.Client{Transport: t}
	}
	if !r.create() {
		if err := r.prepare(ctx); err != nil {
			return nil, err
		}
	}
	r.watch.init()
	return r, nil
}

// Start begins the background sync, if there is one.
func (r *Replica) Start() {
	if r.cfg.Interval > 0 {
		r.bg = startBackground(r)
	}
}

// Close ends the background sync and all watches. It is safe to call twice.
func (r *Replica) Close() {
	if r.bg != nil {
		r.bg.stop()
	}
	r.watch.close()
	r.client.CloseIdleConnections()
}

// parseURL turns libsql:// into https:// and drops what follows the path.
func parseURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", fmt.Errorf("bad URL: %w", errors.Unwrap(err))
	}
	switch u.Scheme {
	case "http", "https":
	case "libsql":
		u.Scheme = "https"
		if u.Query().Get("tls") == "0" {
			u.Scheme = "http"
		}
	default:
		return "", fmt.Errorf("bad URL: scheme %q; it can be http, https or libsql", u.Scheme)
	}
	if u.Host == "" {
		return "", errors.New("bad URL: no host in it")
	}
	if u.User != nil {
		return "", errors.New("bad URL: credentials in it; give the token as AuthToken")
	}
	return u.Scheme + "://" + u.Host + strings.TrimRight(u.Path, "/"), nil
}

// open returns a fresh connection to the file, with capture attached.
func (r *Replica) open() (*sqlite.Conn, *change.Capture, error) {
	c, err := sqlite.Open(r.cfg.Path, sqlite.Options{Synchronous: r.cfg.Synchronous, BusyTimeout: 30 * time.Second})
	if err != nil {
		return nil, nil, err
	}
	k, err := change.Attach(c, change.Options{Guard: true})
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c, k, nil
}

// locked runs fn on a fresh connection, in one transaction, as the only writer.
func (r *Replica) locked(ctx context.Context, fn func(c *sqlite.Conn, k *change.Capture) error) error {
	unlock, err := r.cfg.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	c, k, err := r.open()
	if err != nil {
		return err
	}
	err = transact(c, func() error { return fn(c, k) })
	return errors.Join(err, c.Close())
}

// transact runs fn between BEGIN IMMEDIATE and COMMIT.
func transact(c *sqlite.Conn, fn func() error) error {
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		err = c.Exec("COMMIT")
	}
	if err != nil && !c.AutoCommit() {
		err = errors.Join(err, c.Exec("ROLLBACK"))
	}
	return err
}

// Status returns where the replica stands.
func (r *Replica) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

func (r *Replica) noteSync(rep *Report, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.BytesSent += rep.BytesSent
	r.status.BytesReceived += rep.BytesReceived
	if errors.Is(err, errWoken) {
		return // the long poll was given up, for a sync
	}
	r.status.LastError = err
	if err == nil {
		r.status.LastSync = time.Now()
	}
}

// Facts are what the file itself says of its sync.
type Facts struct {
	Pending  int
	Revision uint64
	Replica  string
}

// ReadFacts reads the file's facts through a connection of the caller's.
func ReadFacts(c *sqlite.Conn) (Facts, error) {
	s, err := readState(c)
	if err != nil {
		return Facts{}, err
	}
	n, err := c.QueryInt("SELECT count(*) FROM agentdb_pending WHERE id>?", sqlite.Int(int64(s.acked)))
	return Facts{Pending: int(n), Revision: s.base.Seq, Replica: s.replica.String()}, err
}
