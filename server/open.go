package server

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/hrana"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// Folders of the data directory.
const (
	historyDir = "history" // the truth
	cacheDir   = "cache"   // emptied at each start
)

// stored is the databases of a data directory.
type stored struct {
	*tenant.Manager
	history history.Store

	draining context.Context // ends when requests shall no longer wait
	drain    context.CancelFunc
}

// openDatabases opens the history and the databases of a data directory.
func openDatabases(cfg Config) (*stored, error) {
	// The engine's own chatter is for its developers.
	log := slog.New(atLeast{cfg.Logger.Handler(), slog.LevelWarn})
	store, err := history.Open(history.Options{Dir: filepath.Join(cfg.DataDir, historyDir), Logger: log})
	if err != nil {
		return nil, err
	}
	m, err := tenant.New(tenant.Config{
		Store:            store,
		CacheDir:         filepath.Join(cfg.DataDir, cacheDir),
		Logger:           cfg.Logger,
		MaxWait:          cfg.Limits.MaxWait,
		StatementTimeout: cfg.Limits.StatementTimeout,
		BusyTimeout:      cfg.Limits.BusyTimeout,
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	d := &stored{Manager: m, history: store}
	d.draining, d.drain = context.WithCancel(context.Background())
	return d, nil
}

// Drain implements databases.
func (d *stored) Drain() { d.drain() }

// Sync implements databases. A request whose wait is ended by Drain is asked
// again without one: it then gets an ordinary answer.
func (d *stored) Sync(ctx context.Context, name string, acc tenant.Access, create bool, req *wire.Request) (*tenant.Answer, error) {
	if req.WaitMS > 0 {
		waiting, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(d.draining, cancel)
		ans, err := d.Manager.Sync(waiting, name, acc, create, req)
		stop()
		if err == nil || d.draining.Err() == nil || ctx.Err() != nil {
			return ans, err // not cancelled here: an answer's pages come later
		}
	}
	req.WaitMS = 0
	return d.Manager.Sync(ctx, name, acc, create, req)
}

// SQL implements databases.
func (d *stored) SQL(name string, cfg tenant.SessionConfig) hrana.Conn { return d.Session(name, cfg) }

// Close implements databases.
func (d *stored) Close(ctx context.Context) error {
	d.drain()
	return errors.Join(d.Manager.Close(ctx), d.history.Close())
}

// atLeast is a log handler that drops what is below a level.
type atLeast struct {
	slog.Handler
	level slog.Level
}

func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}
