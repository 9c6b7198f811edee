package server

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/hrana"
	"github.com/agentdb/agentdb/internal/platform"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// Folders of the data directory.
const (
	historyDir = "history" // the truth
	cacheDir   = "cache"   // emptied at each start
	uploadDir  = "uploads" // emptied at each start
)

// stored is the databases of a data directory.
type stored struct {
	*tenant.Manager
	history *history.Pebble
	catalog *catalog.Store
	api     *platform.API

	background sync.WaitGroup
	stop       context.CancelFunc // ends the background

	draining context.Context // ends when requests shall no longer wait
	drain    context.CancelFunc
}

// openDatabases opens the history and the databases of a data directory.
func openDatabases(cfg Config, key *catalog.Key) (*stored, error) {
	// The engine's own chatter is for its developers.
	log := slog.New(atLeast{cfg.Logger.Handler(), slog.LevelWarn})
	store, err := history.Open(history.Options{Dir: filepath.Join(cfg.DataDir, historyDir), CompactRate: cfg.CompactRate, Logger: log})
	if err != nil {
		return nil, err
	}
	d := &stored{history: store}
	d.draining, d.drain = context.WithCancel(context.Background())
	if err := d.open(cfg, key); err != nil {
		return nil, errors.Join(err, d.Close(context.Background()))
	}
	return d, nil
}

func (d *stored) open(cfg Config, key *catalog.Key) (err error) {
	if d.catalog, err = catalog.OpenStore(cfg.DataDir, nil); err != nil {
		return err
	}
	if err := dropHalfBackups(cfg.DataDir); err != nil {
		return err
	}
	lineage, err := lineage(cfg.DataDir)
	if err != nil {
		return err
	}
	spans := newTracing(cfg.TracerProvider)
	d.Manager, err = tenant.New(tenant.Config{
		Lineage:          lineage,
		Store:            spans.store(d.history),
		Opening:          spans.opening(),
		Created:          d.created,
		Limit:            d.limit,
		CacheDir:         filepath.Join(cfg.DataDir, cacheDir),
		Logger:           cfg.Logger,
		MaxWait:          cfg.Limits.MaxWait,
		StatementTimeout: cfg.Limits.StatementTimeout,
		MaxTemp:          cfg.Limits.MaxTemp,
		BusyTimeout:      cfg.Limits.BusyTimeout,
		MaxLoad:          cfg.Limits.MaxUpload,
	})
	if err != nil {
		return err
	}
	d.api, err = platform.New(context.Background(), platform.Config{
		Store: d.catalog, Key: key, Databases: d.Manager, Logger: cfg.Logger, UploadDir: filepath.Join(cfg.DataDir, uploadDir),
		Org: cfg.Organization, Domain: cfg.Domain, Open: cfg.Dev,
		Backup:    func(ctx context.Context) (string, error) { return d.backup(ctx, cfg.DataDir, time.Now()) },
		MaxUpload: cfg.Limits.MaxUpload, ExpiredExport: cfg.ExpiredExport,
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	if cfg.Retention > 0 {
		d.background.Go(func() { retain(ctx, d.Manager, cfg.Retention, cfg.Logger) })
	}
	return nil
}

// created adds a database to the catalog that a client has made.
func (d *stored) created(name string) { d.api.Adopt(name) }

// limit returns the size that a database may have, in bytes; 0 if it has no
// limit of its own.
func (d *stored) limit(name string) int64 {
	p, err := d.catalog.Policy(name)
	if err != nil {
		return 0 // the catalog is being closed
	}
	return p.SizeLimit
}

// Failed implements databases.
func (d *stored) Failed() <-chan struct{} { return d.history.Failed() }

// Err implements databases.
func (d *stored) Err() error { return d.history.Err() }

// Drain implements databases.
func (d *stored) Drain() { d.drain() }

// Sync implements databases. A request whose wait is ended by Drain is asked
// again without one: it then gets an ordinary answer.
func (d *stored) Sync(ctx context.Context, name string, acc tenant.Access, create bool, req *wire.Request) (*tenant.Answer, error) {
	return d.SyncScoped(ctx, name, acc, nil, create, req)
}

// SyncScoped implements databases.
func (d *stored) SyncScoped(ctx context.Context, name string, acc tenant.Access, scope *tenant.Scope, create bool, req *wire.Request) (*tenant.Answer, error) {
	if req.WaitMS > 0 {
		waiting, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(d.draining, cancel)
		ans, err := d.Manager.SyncScoped(waiting, name, acc, scope, create, req)
		stop()
		if err == nil || d.draining.Err() == nil || ctx.Err() != nil {
			return ans, err // not cancelled here: an answer's pages come later
		}
	}
	req.WaitMS = 0
	return d.Manager.SyncScoped(ctx, name, acc, scope, create, req)
}

// SQL implements databases.
func (d *stored) SQL(name string, cfg tenant.SessionConfig) hrana.Conn { return d.Session(name, cfg) }

// Close implements databases.
func (d *stored) Close(ctx context.Context) error {
	d.drain()
	var errs []error
	if d.stop != nil {
		d.stop()
		d.background.Wait()
	}
	if d.api != nil {
		d.api.Close()
	}
	if d.Manager != nil {
		errs = append(errs, d.Manager.Close(ctx))
	}
	if d.catalog != nil {
		errs = append(errs, d.catalog.Close())
	}
	return errors.Join(append(errs, d.history.Close())...)
}

// atLeast is a log handler that drops what is below a level.
type atLeast struct {
	slog.Handler
	level slog.Level
}

func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}
