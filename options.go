package agentdb

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"
)

// SyncMode says which way a synced database's rows travel.
type SyncMode int

const (
	// SyncFull sends local commits and receives everybody's. The default.
	SyncFull SyncMode = iota
	// SyncPull receives only: a write to a synced table fails with ErrReadOnly.
	SyncPull
	// SyncPush sends only: other agents' rows never arrive.
	SyncPush
)

// String returns "full", "pull" or "push".
func (m SyncMode) String() string {
	switch m {
	case SyncFull:
		return "full"
	case SyncPull:
		return "pull"
	case SyncPush:
		return "push"
	}
	return fmt.Sprintf("SyncMode(%d)", int(m))
}

// Options says how a database is opened. A nil *Options, like the zero value,
// is an ordinary local file with the defaults below.
type Options struct {
	// URL is the database on a server that the file is kept in step with:
	// https://host/db/name, http://… or libsql://…. Default "": a local file, nothing else.
	URL string
	// AuthToken is sent to the server. Default "": none.
	AuthToken string
	// TokenFunc returns the token to send, and is asked again after the server has refused one.
	// It goes before AuthToken. Default nil: AuthToken is used.
	TokenFunc func(ctx context.Context) (string, error)
	// Sync is the direction of the sync. Default SyncFull.
	Sync SyncMode
	// Interval is the longest time between two background syncs. Default 0: no background sync, only the
	// methods Sync, Pull and Push.
	Interval time.Duration

	// Synchronous is how hard a commit is written to the disk: "OFF", "NORMAL", "FULL" or "EXTRA".
	// Default "FULL": a commit that has returned survives a power cut. NORMAL may lose the last commits
	// in a power cut, but not in a crash of the process.
	Synchronous string
	// BusyTimeout is how long a statement waits for another process that holds the file's lock.
	// Within this process writers queue for as long as their contexts live. Default 30 s; negative: don't wait.
	BusyTimeout time.Duration
	// Readers is how many connections for reading are kept open. When all of them stay busy more are opened,
	// and closed again afterwards. Default: the number of CPUs, at least 2.
	Readers int
	// CacheKB is how far each connection's page cache may grow, in KiB. Default 8192.
	CacheKB int

	// Logger hears about what happens in the background. Default nil: nothing is logged.
	Logger *slog.Logger
	// HTTPClient talks to the server. Default nil: a client with pooled connections and no overall time-out.
	HTTPClient *http.Client
}

// Defaults of Options.
const (
	defaultBusyTimeout = 30 * time.Second
	defaultSynchronous = "FULL"
	defaultCacheKB     = 8 << 10
)

// withDefaults returns a copy of o with every default filled in.
func (o *Options) withDefaults() (Options, error) {
	var r Options
	if o != nil {
		r = *o
	}
	switch r.Synchronous {
	case "":
		r.Synchronous = defaultSynchronous
	case "OFF", "NORMAL", "FULL", "EXTRA":
	default:
		return r, fmt.Errorf("agentdb: Options.Synchronous is %q; it can be OFF, NORMAL, FULL or EXTRA", r.Synchronous)
	}
	if r.Sync < SyncFull || r.Sync > SyncPush {
		return r, fmt.Errorf("agentdb: Options.Sync is %v", r.Sync)
	}
	if r.BusyTimeout == 0 {
		r.BusyTimeout = defaultBusyTimeout
	}
	if r.CacheKB <= 0 {
		r.CacheKB = defaultCacheKB
	}
	if r.Readers <= 0 {
		r.Readers = max(2, runtime.GOMAXPROCS(0))
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	return r, nil
}
