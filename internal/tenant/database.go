package tenant

import (
	"bufio"
	"container/list"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// database is one open database: a cached file at the accepted head, its
// single writer, and what is kept of the newest commits.
type database struct {
	m    *Manager
	name string

	// Owned by the Manager's mutex.
	users   int
	closing bool
	lastUse time.Time
	elem    *list.Element
	gone    chan struct{} // closed when it is closed

	ready   chan struct{} // closed when open is done
	openErr error         // set before ready is closed
	failed  atomic.Bool   // the file can't be trusted any more

	gate  gate  // for what uses conn; taken before mu
	guest guest // what its holder runs for a SQL client
	turso tursoStates

	counted *statements // what SQL clients ran

	readers atomic.Pointer[readers] // nil while the file is the writer's alone

	mu sync.Mutex // guards what follows; conn needs the gate
	cachedFile
	head     history.Head // of the file
	recent   recentCommits
	large    commitsSize
	replicas map[wire.ReplicaID]*replicaState
	applied  map[[16]byte]bool // nonces of the newest strict transactions
	untidy   int               // strict requests since outdated strict transactions were looked for
}

// cachedFile is the connection that writes to a database's file.
type cachedFile struct {
	conn    *sqlite.Conn
	cap     *change.Capture
	clock   *time.Timer      // interrupts conn when it strikes
	exec    *change.Executor // reset
	dec     change.Decoder
	wal     *walReader
	pages   uint32 // limit of the file's pages, as conn knows it
	cacheKB int    // of conn
}

func newDatabase(m *Manager, name string) *database {
	return &database{
		m: m, name: name, ready: make(chan struct{}), gone: make(chan struct{}),
		replicas: map[wire.ReplicaID]*replicaState{}, lastUse: time.Now(),
	}
}

func (d *database) id() history.DBID { return history.DBID(d.name) }

// open brings the cached file to the head and opens it.
func (d *database) open(ctx context.Context, create bool, known history.Head, cached bool) error {
	head, err := d.m.cfg.Store.Head(ctx, d.id())
	if errors.Is(err, history.ErrNotFound) && create {
		if err := d.m.cfg.Store.Create(ctx, d.id()); err != nil && !errors.Is(err, history.ErrExists) {
			return translate(err)
		}
		if d.m.cfg.Created != nil {
			d.m.cfg.Created(d.name)
		}
		head, err = d.m.cfg.Store.Head(ctx, d.id())
	}
	if err != nil {
		return translate(err)
	}
	path := d.m.path(d.name)
	if !cached || !known.Is(head) {
		if err := d.rebuild(ctx, path, head); err != nil {
			return err
		}
	}
	if err := d.openFile(true); err != nil {
		return err
	}
	d.head = head
	return nil
}

// openFile opens the file to write to it: for the writer alone, or for readers
// too.
func (d *database) openFile(exclusive bool) error {
	path := d.m.path(d.name)
	d.m.mu.Lock()
	d.cacheKB = cacheKB(len(d.m.dbs))
	d.m.mu.Unlock()
	conn, err := sqlite.Open(path, sqlite.Options{Synchronous: "OFF", NoCheckpoint: true, CacheKB: d.cacheKB, Lookaside: lookaside, BusyTimeout: -1, Exclusive: exclusive, MemoryWAL: exclusive, Temp: d.m.tempSpace()})
	if err != nil {
		return fmt.Errorf("tenant: open %s: %w", d.name, err)
	}
	d.conn = conn
	d.wal = &walReader{conn: d.conn, total: &d.m.walFrames}
	d.conn.Limit(sqlite.LimitLength, maxValue)
	d.conn.Limit(sqlite.LimitSQLLength, maxSQL)
	// No SQL may write to the file's pages, or behind the back of FTS5.
	if err := d.conn.DBConfig(sqlite.ConfigDefensive, true); err != nil {
		return fmt.Errorf("tenant: open %s: %w", d.name, err)
	}
	d.pages = 0
	if err := d.limitSize(); err != nil {
		return fmt.Errorf("tenant: open %s: %w", d.name, err)
	}
	if d.cap, err = change.Attach(d.conn, change.Options{MaxBytes: d.m.cfg.MaxEffects, MaxHeld: maxHeld, Authorize: d.guest.authorize}); err != nil {
		return err
	}
	d.exec, d.dec = change.NewExecutor(d.cap), change.Decoder{Budget: d.m.cfg.MaxDecoded}
	d.clock = time.AfterFunc(time.Hour, conn.Interrupt)
	d.clock.Stop()
	d.conn.WALHook(d.wal.committed)
	return nil
}

// Bounds of a connection's page cache, and of those of all writers together.
const (
	minCacheKB = 128
	maxCacheKB = 2 << 10
	allCacheKB = 32 << 10
)

// cacheKB is how large a page cache may be while so many databases are open: a
// power of two, so that it seldom changes.
func cacheKB(open int) int {
	kb := maxCacheKB
	for kb > minCacheKB && kb*open > allCacheKB {
		kb /= 2
	}
	return kb
}

// resize gives the page cache its share of the memory.
func (d *database) resize(open int) {
	if kb := cacheKB(open); kb != d.cacheKB {
		d.cacheKB = kb
		was := d.guest.active // a session's: it may not do this
		d.guest.active = false
		defer func() { d.guest.active = was }()
		if err := d.conn.Exec(fmt.Sprintf("PRAGMA cache_size=-%d", kb)); err != nil {
			d.m.cfg.Logger.Warn("resize the page cache", "db", d.name, "err", err)
		}
	}
}

// limitSize keeps the file from growing above its limit. A file that is above it
// already can't grow.
func (d *database) limitSize() error {
	pages := d.m.cfg.MaxPages
	if d.m.cfg.Limit != nil {
		if n := d.m.cfg.Limit(d.name); n > 0 {
			pages = uint32(min(int64(pages), max(n/history.PageSize, 1)))
		}
	}
	if pages == d.pages {
		return nil
	}
	if err := d.conn.Exec(fmt.Sprintf("PRAGMA max_page_count=%d", pages)); err != nil {
		return err
	}
	d.pages = pages
	return nil
}

// maxValue is the largest text or blob, in bytes, that a statement may make.
const maxValue = 256 << 20

// lookaside is what a connection has room for beforehand: less than the default,
// since most of them run the same few statements. It fits into 16 KiB.
const lookaside = 13

// maxSQL is the largest statement in bytes: SQLite can't be interrupted while it
// reads one.
const maxSQL = 16 << 20

// rebuild writes the file anew from the history.
func (d *database) rebuild(ctx context.Context, path string, head history.Head) error {
	removeFiles(path)
	if head.Seq == 0 || head.DBSize == 0 {
		return nil
	}
	d.m.stats.rebuilds.Add(1)
	if err := d.m.cfg.Store.WaitDurable(ctx, d.id(), head.Seq); err != nil {
		return translate(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("tenant: rebuild %s: %w", d.name, err)
	}
	w := bufio.NewWriterSize(f, int(min(head.DBSize, 16))*history.PageSize)
	for p, err := range d.m.cfg.Store.Pages(ctx, d.id(), head.Seq) {
		if err == nil {
			_, err = w.Write(p.Data)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("tenant: rebuild %s: %w", d.name, err), f.Close())
		}
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("tenant: rebuild %s: %w", d.name, err)
	}
	return nil
}

// fail marks the file as unusable: it is rebuilt from the history by the next
// to open the database.
func (d *database) fail() {
	d.failed.Store(true)
	d.m.feeds.wake(d.name)
}

// close closes the file. It reports the revision that the file is at, if it
// can be trusted.
func (d *database) close() (history.Head, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.m.recentBytes.Add(-int64(d.recent.bytes))
	d.recent = recentCommits{}
	if d.conn == nil {
		return history.Head{}, false
	}
	ok := !d.failed.Load()
	if ok {
		if _, _, err := d.conn.Checkpoint(sqlite.CheckpointTruncate); err != nil {
			ok = false
		}
	}
	if r := d.readers.Load(); r != nil && r.close() != nil {
		ok = false
	}
	if err := d.conn.Close(); err != nil {
		ok = false
	}
	d.wal.restarted()
	d.conn = nil
	if !ok {
		removeFiles(d.m.path(d.name))
	}
	return d.head, ok
}

// waitUnused returns when nobody uses the database.
func (d *database) waitUnused(ctx context.Context) error {
	for {
		d.m.mu.Lock()
		n, closing := d.users, d.closing
		d.m.mu.Unlock()
		if n == 0 && !closing {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.gone:
			return nil
		case <-time.After(2 * time.Millisecond):
		}
	}
}
