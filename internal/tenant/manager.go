package tenant

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/turso"
	"github.com/agentdb/agentdb/internal/wire"
)

// Config says where a Manager keeps its databases and how much it may use.
type Config struct {
	Store    history.Store // the truth; the caller closes it after the Manager
	CacheDir string        // for cached files; emptied by New
	Logger   *slog.Logger  // nil: nothing is logged
	Lineage  uint32        // another one each time that the Store was restored from a backup

	MaxOpen     int           // open databases; 0: 1024
	MaxCached   int           // cached files of closed databases; 0: 8192
	MaxChunks   int64         // bytes of encoded snapshots kept in CacheDir, for each protocol; 0: 256 MiB
	MaxSpooled  int64         // bytes of answers in CacheDir that are being sent; 0: 1 GiB
	IdleClose   time.Duration // a database unused for as long is closed; 0: ten seconds
	MaxWait     time.Duration // longest long poll; 0: one minute
	MaxPages    uint32        // largest database, in pages of 4096 bytes; 0: 2^24 (64 GiB)
	MaxDecoded  int           // memory of one request's decoded changes, bytes, beyond 16 times their size; 0: 256 MiB
	MaxConflict int           // conflicts recorded for one request; 0: 1,000,000
	MaxEffects  int64         // bytes of values that one request may write, by triggers too; 0: 256 MiB
	// MaxTemp is how many bytes of temporary files a connection's statements
	// may use at a time; 0: 1 GiB. Those of all connections may use four times
	// as many.
	MaxTemp int64
	// KeepPushes is how many of each replica's pushes are remembered, to
	// recognise them in a file that is restored from a backup; 0: 1024. Those
	// that the replica may send again are remembered besides.
	KeepPushes int
	// A strict transaction is remembered, to recognise it when it is sent
	// again, for at least KeepStrict (0: one hour) and KeepStrictCommits
	// commits (0: 10,000).
	KeepStrict        time.Duration
	KeepStrictCommits uint64
	// StatementTimeout bounds the time a request's changes may take to
	// execute; 0: 30 seconds.
	StatementTimeout time.Duration
	// Created is told of a database that a client has made, in a request that
	// waits for it; nil: nobody is. It must not use the Manager.
	Created func(name string)
	// Opening is told of a database that is being opened; what it returns is called
	// afterwards. nil: nobody is told.
	Opening func(ctx context.Context, name string) func(error)
	// Limit returns the size that a database may have, in bytes, 0 if MaxPages
	// is its limit; nil: no database has a limit of its own. It must be quick.
	Limit func(name string) int64
	// MaxLoad is the largest file, in bytes, that a database is made from, also
	// the one that a dump makes; 0: 1 GiB. LoadTimeout is how long that may
	// take; 0: ten minutes. It is held in memory, of two requests at a time.
	MaxLoad     int64
	LoadTimeout time.Duration
	// BusyTimeout is how long to wait for a database that somebody else
	// writes to; 0: ten seconds.
	BusyTimeout time.Duration
}

func (c *Config) withDefaults() {
	if c.MaxLoad <= 0 {
		c.MaxLoad = 1 << 30
	}
	if c.LoadTimeout <= 0 {
		c.LoadTimeout = 10 * time.Minute
	}
	if c.MaxOpen <= 0 {
		c.MaxOpen = 1024
	}
	if c.MaxCached <= 0 {
		c.MaxCached = 8192
	}
	if c.MaxChunks <= 0 {
		c.MaxChunks = 256 << 20
	}
	if c.MaxSpooled <= 0 {
		c.MaxSpooled = 1 << 30
	}
	if c.IdleClose <= 0 {
		c.IdleClose = 10 * time.Second
	}
	if c.MaxWait <= 0 {
		c.MaxWait = time.Minute
	}
	if c.MaxPages == 0 {
		c.MaxPages = 1 << 24
	}
	if c.MaxDecoded <= 0 {
		c.MaxDecoded = 256 << 20
	}
	if c.MaxConflict <= 0 {
		c.MaxConflict = 1_000_000
	}
	if c.MaxEffects <= 0 {
		c.MaxEffects = 256 << 20
	}
	if c.MaxTemp <= 0 {
		c.MaxTemp = 1 << 30
	}
	if c.KeepPushes <= 0 {
		c.KeepPushes = 1024
	}
	if c.KeepStrict <= 0 {
		c.KeepStrict = time.Hour
	}
	if c.KeepStrictCommits == 0 {
		c.KeepStrictCommits = 10_000
	}
	if c.StatementTimeout <= 0 {
		c.StatementTimeout = 30 * time.Second
	}
	if c.BusyTimeout <= 0 {
		c.BusyTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Manager opens databases when they are asked for and closes those that have
// been idle for longest. It is safe for concurrent use.
type Manager struct {
	cfg       Config
	stats     counters
	chunks    *chunkCache
	blocks    *chunkCache // for Turso's clients
	packing   turns       // of databases whose blocks are being made
	spooled   atomic.Int64
	loads     chan struct{} // one for each file that is being loaded
	walFrames atomic.Int64  // in memory, of all databases, see walReader.count
	feeds     feeds
	pulls     pulls
	meters    meters
	counted   counted
	frames    frameLogs
	selects   selects
	temp      *sqlite.TempSpace // of all connections

	recentBytes atomic.Int64 // of the newest commits in memory, of all databases

	mu     sync.Mutex
	dbs    map[string]*database // open, opening or closing
	lru    *list.List           // of *database, the most recently used first
	cold   *coldFiles
	closed bool

	done chan struct{} // closed by Close: ends long polls
	idle sync.WaitGroup
}

type counters struct {
	waiting                                          atomic.Int64
	commits, changes, conflicts, snapshots, rebuilds atomic.Uint64
	pushedBytes, pulledBytes                         atomic.Uint64
}

// New returns a Manager. It empties the cache directory: files of an earlier
// process can't be trusted after a crash, and are rebuilt when needed.
func New(cfg Config) (*Manager, error) {
	cfg.withDefaults()
	if err := os.RemoveAll(cfg.CacheDir); err != nil {
		return nil, fmt.Errorf("tenant: empty the cache: %w", err)
	}
	if err := os.MkdirAll(cfg.CacheDir, 0o700); err != nil {
		return nil, fmt.Errorf("tenant: make the cache: %w", err)
	}
	chunks, err := newChunkCache(filepath.Join(cfg.CacheDir, "snapshots"), cfg.MaxChunks, wire.Intact)
	blocks, err2 := newChunkCache(filepath.Join(cfg.CacheDir, "blocks"), cfg.MaxChunks, func(b []byte) bool { return turso.Block(b).Intact() })
	if err := errors.Join(err, err2); err != nil {
		return nil, fmt.Errorf("tenant: make the cache: %w", err)
	}
	m := &Manager{
		chunks: chunks, blocks: blocks, temp: sqlite.NewTempSpace(4*cfg.MaxTemp, nil), loads: make(chan struct{}, 2),
		cfg: cfg, dbs: map[string]*database{}, lru: list.New(), done: make(chan struct{}),
		cold: newColdFiles(cfg.MaxCached), counted: counted{seed: maphash.MakeSeed(), dbs: map[string]*statements{}}, pulls: pulls{seed: maphash.MakeSeed(), boot: rand.Uint64()},
	}
	m.idle.Add(1)
	go m.sweep()
	return m, nil
}

// Close ends long polls, waits for running requests and closes every database.
// It is safe to call twice.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.done)
	}
	m.mu.Unlock()
	m.idle.Wait()
	for {
		m.mu.Lock()
		var db *database
		for _, db = range m.dbs {
			break
		}
		m.mu.Unlock()
		if db == nil {
			return nil
		}
		if err := db.waitUnused(ctx); err != nil {
			return fmt.Errorf("tenant: close: %w", err)
		}
		m.evict(db)
	}
}

// Stats returns what the databases have done.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	open := len(m.dbs)
	m.mu.Unlock()
	s := &m.stats
	return Stats{
		Open: open, Waiting: int(s.waiting.Load()),
		Commits: s.commits.Load(), Changes: s.changes.Load(), Conflicts: s.conflicts.Load(),
		Snapshots: s.snapshots.Load(), Rebuilds: s.rebuilds.Load(),
		PushedBytes: s.pushedBytes.Load(), PulledBytes: s.pulledBytes.Load(),
	}
}

// Create makes an empty database.
func (m *Manager) Create(ctx context.Context, name string) error {
	if _, err := ParseName(name); err != nil {
		return err
	}
	return translate(m.cfg.Store.Create(ctx, history.DBID(name)))
}

// List returns up to n names of databases greater than after, ascending.
func (m *Manager) List(ctx context.Context, after string, n int) ([]string, error) {
	ids, err := m.cfg.Store.List(ctx, history.DBID(after), n)
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	return names, translate(err)
}

// Delete removes a database for good.
func (m *Manager) Delete(ctx context.Context, name string) error {
	m.mu.Lock()
	db := m.dbs[name]
	m.mu.Unlock()
	if err := m.cfg.Store.Delete(ctx, history.DBID(name)); err != nil {
		return translate(err)
	}
	if db != nil {
		db.fail() // whoever holds it finds it gone
		m.evict(db)
	}
	m.feeds.wake(name)
	m.mu.Lock()
	m.cold.drop(name, m.path(name))
	m.mu.Unlock()
	m.chunks.drop(name)
	m.blocks.drop(name)
	m.counted.drop(name)
	return nil
}

// tempSpace returns the temporary space of one connection.
func (m *Manager) tempSpace() *sqlite.TempSpace { return sqlite.NewTempSpace(m.cfg.MaxTemp, m.temp) }

// path returns where a database's cached file is.
func (m *Manager) path(name string) string {
	return filepath.Join(m.cfg.CacheDir, name+".db")
}

// acquire returns an open database, opening it if need be; release gives it
// back.
func (m *Manager) acquire(ctx context.Context, name string, create bool) (*database, error) {
	if create { // or a database that was just deleted would be made anew
		if err := guard(ctx); err != nil {
			return nil, err
		}
	}
	db, err := m.find(ctx, name, create)
	if err == nil {
		if err = guard(ctx); err != nil {
			m.release(db)
			return nil, err
		}
	}
	return db, err
}

// find is acquire for whoever is allowed to.
func (m *Manager) find(ctx context.Context, name string, create bool) (*database, error) {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, ErrClosed
		}
		db := m.dbs[name]
		switch {
		case db == nil:
			return m.open(ctx, name, create)
		case db.closing || db.failed.Load() && db.users > 0: // wait for it to be gone, and look again
			m.mu.Unlock()
			select {
			case <-db.gone:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		case db.failed.Load():
			m.mu.Unlock()
			m.evict(db)
			continue
		}
		db.users++
		m.lru.MoveToFront(db.elem)
		m.mu.Unlock()
		<-db.ready
		if db.openErr == nil {
			return db, nil
		}
		m.release(db)
		if !errors.Is(db.openErr, ErrNotFound) || !create {
			return nil, db.openErr
		} // whoever opened it was not to create it
	}
}

// open opens a database that is not open. The Manager's mutex is held when it
// begins, and not when it returns.
func (m *Manager) open(ctx context.Context, name string, create bool) (*database, error) {
	db := newDatabase(m, name)
	db.counted = m.counted.of(name)
	db.users = 1
	db.elem = m.lru.PushFront(db)
	m.dbs[name] = db
	known, cached := m.cold.take(name)
	m.mu.Unlock()
	m.shrink()
	// Others wait for it too, whatever becomes of this request.
	done := func(error) {}
	if m.cfg.Opening != nil {
		done = m.cfg.Opening(ctx, name)
	}
	err := db.open(context.WithoutCancel(ctx), create, known, cached)
	done(err)
	db.openErr = err
	if err != nil {
		db.fail()
	}
	close(db.ready)
	if err != nil {
		m.release(db)
		return nil, err
	}
	return db, nil
}

// release gives a database back. A failed one is closed with its last user.
func (m *Manager) release(db *database) {
	if m.leave(db) {
		m.evict(db)
	}
}

// leave is release that doesn't close: it reports whether that is to be done.
func (m *Manager) leave(db *database) (evict bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	db.users--
	if db.users > 0 {
		return false
	}
	db.lastUse = time.Now()
	return db.failed.Load()
}

// shrink closes the least recently used databases above the limit.
func (m *Manager) shrink() {
	for {
		m.mu.Lock()
		var victim *database
		if len(m.dbs) > m.cfg.MaxOpen {
			for e := m.lru.Back(); e != nil; e = e.Prev() {
				if db := e.Value.(*database); db.users == 0 && !db.closing {
					victim = db
					break
				}
			}
		}
		m.mu.Unlock()
		if victim == nil {
			return
		}
		m.evict(victim)
	}
}

// evict closes a database that nobody uses.
func (m *Manager) evict(db *database) {
	m.mu.Lock()
	if db.users > 0 || db.closing {
		m.mu.Unlock()
		return
	}
	db.closing = true
	m.mu.Unlock()
	head, ok := db.close()
	m.mu.Lock()
	if ok {
		m.cold.put(db.name, head, time.Now(), m.path)
	}
	m.lru.Remove(db.elem)
	delete(m.dbs, db.name)
	close(db.gone)
	m.mu.Unlock()
}

// translate maps the history's errors to this package's.
func translate(err error) error {
	for _, m := range []struct{ from, to error }{
		{history.ErrNotFound, ErrNotFound},
		{history.ErrExists, ErrExists},
		{history.ErrFull, ErrQuota},
		{history.ErrClosed, ErrClosed},
	} {
		if errors.Is(err, m.from) {
			return fmt.Errorf("%w: %w", m.to, err)
		}
	}
	return err
}

// Sync serves one request: it executes the changes, waits for news if it is
// asked to, and returns what the replica lacks. It returns when all of that is
// durable. create allows the database to be made by a push.
func (m *Manager) Sync(ctx context.Context, name string, acc Access, create bool, req *wire.Request) (*Answer, error) {
	return m.SyncScoped(ctx, name, acc, nil, create, req)
}

// SyncScoped is Sync for somebody who may use some tables only: it returns a
// *ScopeError, and executes nothing, if a change does more.
func (m *Manager) SyncScoped(ctx context.Context, name string, acc Access, scope *Scope, create bool, req *wire.Request) (*Answer, error) {
	pushes := len(req.Changes) > 0 || req.Strict != nil
	pulls := req.Mode&(wire.ModePull|wire.ModeSnapshot) != 0
	moves := req.Mode&wire.ModeMoves != 0 // for who may send, so that what it sends is right
	if (pushes || moves) && !acc.Has(AccessPush) || pulls && !(acc.Has(AccessPull) && scope.ReadsAll()) {
		return nil, ErrForbidden
	}
	if m.polls(name, req) {
		ans, err := m.poll(ctx, name, req)
		if ans != nil || err != nil && !(create && errors.Is(err, ErrNotFound)) {
			return ans, err
		}
	}
	db, err := m.acquire(ctx, name, create)
	if err != nil {
		return nil, err
	}
	defer m.release(db) // a snapshot is read from the history
	return db.sync(ctx, req, scope)
}
