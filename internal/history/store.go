package history

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Pebble is the Store of one machine, on the LSM engine of that name.
type Pebble struct {
	opt    Options
	db     *pebble.DB
	table  *table
	commit *committer
	reaper *reaper
	images *lastImages
	slow   *pace

	names keyLocks[DBID]   // who creates or deletes a name; taken before ids
	ids   keyLocks[uint64] // who changes what forks of a database rely on

	idMu   sync.Mutex
	nextID uint64 // guarded by idMu

	checkMu sync.Mutex
	checked time.Time // when Check last wrote; guarded by checkMu

	full       atomic.Bool // the disk has less than the reserve
	stop       chan struct{}
	background sync.WaitGroup
	closeOnce  sync.Once
	closeErr   error
}

var _ Store = (*Pebble)(nil)

// Open opens or creates a store. What a crash left half-done in the background
// is taken up again.
func Open(o Options) (*Pebble, error) {
	o = o.withDefaults()
	if err := o.FS.MkdirAll(o.Dir, 0o700); err != nil && o.Dir != "" {
		return nil, fmt.Errorf("history: open %s: %w", o.Dir, err)
	}
	grouping := &group{}
	slow := &pace{rate: o.CompactRate}
	eo := engineOptions(o, slow, grouping.failed)
	eo.WALMinSyncInterval = grouping.pause
	db, err := pebble.Open(o.Dir, eo)
	if err != nil {
		return nil, fmt.Errorf("history: open %s: %w", o.Dir, engineErr(err))
	}
	p := &Pebble{opt: o, db: db, table: newTable(o.Handles), images: newLastImages(o.ImageBytes), slow: slow, stop: make(chan struct{})}
	if err := p.loadNextID(); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("history: open %s: %w", o.Dir, err)
	}
	p.commit = newCommitter(db, p.table, p.admit, func(err error) {
		o.Logger.Error("history: the disk failed: nothing is read or written until the server is started again", "err", err)
	})
	grouping.c.Store(p.commit)
	p.reaper = startReaper(p)
	p.checkSpace()
	p.background.Go(p.watchSpace)
	return p, nil
}

func (p *Pebble) loadNextID() error {
	raw, err := p.get(keyNextID)
	if err != nil {
		return err
	}
	if p.nextID = 1; raw != nil {
		p.nextID, err = parseU64(raw)
	}
	return err
}

// Failed is closed when the storage engine has failed, and Err tells why. All
// that the store is asked for from then on fails with ErrFailed.
func (p *Pebble) Failed() <-chan struct{} { return p.commit.end }

// Err returns nil while the store works, and after that why it doesn't.
func (p *Pebble) Err() error { return p.commit.dead() }

// Close makes accepted commits durable, stops all goroutines and releases the
// storage. It is safe to call twice.
func (p *Pebble) Close() error {
	p.closeOnce.Do(func() {
		close(p.stop)
		p.slow.closed.Store(true)
		p.reaper.close()
		p.table.close()
		p.commit.close()
		p.background.Wait()
		p.closeErr = p.closeEngine()
	})
	return p.closeErr
}

// closeEngine closes the engine. One that failed may not let itself be closed;
// then what it holds is lost until the process ends.
func (p *Pebble) closeEngine() error {
	failed := p.commit.dead()
	done := make(chan error, 1)
	go func() { done <- closePebble(p.db) }()
	if failed == nil {
		if err := <-done; err != nil {
			return fmt.Errorf("history: close: %w", err)
		}
		return nil
	}
	select {
	case err := <-done:
		failed = errors.Join(failed, err)
	case <-time.After(closeTimeout):
		p.opt.Logger.Error("history: the failed engine can't be closed")
	}
	return fmt.Errorf("history: close: %w", failed)
}

// closeTimeout is how long a failed engine may take to close.
const closeTimeout = 5 * time.Second

func closePebble(db *pebble.DB) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("engine: %w", caught(r))
		}
	}()
	return db.Close()
}

// admit refuses writes while the disk is full.
func (p *Pebble) admit() error {
	if p.full.Load() {
		return ErrFull
	}
	return nil
}

func (p *Pebble) watchSpace() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.checkSpace()
		}
	}
}

func (p *Pebble) checkSpace() {
	if p.opt.ReserveBytes < 0 {
		return
	}
	u, err := p.opt.FS.GetDiskUsage(p.opt.Dir)
	if err != nil {
		return // not every file system can tell
	}
	full := u.AvailBytes < uint64(p.opt.ReserveBytes)
	if p.full.Swap(full) != full {
		p.opt.Logger.Warn("history: disk space", "full", full, "available", u.AvailBytes)
	}
}

// acquire begins an operation on a database; table.release ends it.
func (p *Pebble) acquire(ctx context.Context, id DBID) (*handle, error) {
	if len(id) == 0 || len(id) > maxName {
		return nil, ErrNotFound
	}
	h, err := p.table.acquire(ctx, id, p.load)
	if err != nil {
		return nil, err
	}
	if _, _, err := h.state(); err != nil {
		p.table.release(h)
		return nil, err
	}
	if err := p.Err(); err != nil { // last: h may have been loaded from what is lost
		p.table.release(h)
		return nil, err
	}
	return h, nil
}

// enter begins an operation that needs no handle; table.leave ends it.
func (p *Pebble) enter() error {
	if err := p.Err(); err != nil {
		return err
	}
	return p.table.enter()
}

// opErr says what failed.
func opErr(op string, id DBID, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("history: %s %q: %w", op, string(id), err)
}

// write commits an administrative batch and waits until it is durable,
// whatever the caller's context says: the caller holds locks that must not be
// released before the outcome is known.
func (p *Pebble) write(b *pebble.Batch, exempt bool) error {
	done := make(chan error, 1)
	p.table.hold()
	p.commit.enqueue(&request{batch: b, exempt: exempt, done: func(err error) { done <- err }})
	return <-done
}

// Create implements Store.
func (p *Pebble) Create(_ context.Context, id DBID) error {
	return opErr("create", id, p.create(id))
}

func (p *Pebble) create(id DBID) error {
	unlock, err := p.claim(id)
	if err != nil {
		return err
	}
	defer p.table.leave()
	defer unlock()
	d := descriptor{Name: id, Created: time.Now()}
	if _, err := rand.Read(d.Base.Hash[:]); err != nil {
		return err
	}
	d.Base.Time = d.Created
	return p.insert(d)
}

// claim begins an operation that makes a database of a new name.
func (p *Pebble) claim(id DBID) (unlock func(), err error) {
	if len(id) == 0 || len(id) > maxName {
		return nil, ErrInvalid
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	unlock = p.names.lock(id)
	raw, err := p.get(nameKey(id))
	if err == nil && raw != nil {
		err = ErrExists
	}
	if err == nil {
		err = p.writable()
	}
	if err != nil {
		unlock()
		p.table.leave()
		return nil, err
	}
	return unlock, nil
}

// Check implements Store.
func (p *Pebble) Check(context.Context) error {
	if err := p.enter(); err != nil {
		return fmt.Errorf("history: check: %w", err)
	}
	defer p.table.leave()
	p.checkMu.Lock()
	defer p.checkMu.Unlock()
	if time.Since(p.checked) < checkEvery {
		return p.Err()
	}
	b := p.db.NewBatch()
	_ = b.LogData([]byte("check"), nil) // in the log only
	if err := p.write(b, true); err != nil {
		return fmt.Errorf("history: check: %w", err)
	}
	p.checked = time.Now()
	return nil
}

// checkEvery bounds what Check costs who asks for it often.
const checkEvery = 100 * time.Millisecond

// writable fails early when writes would fail anyway.
func (p *Pebble) writable() error {
	if err := p.Err(); err != nil {
		return err
	}
	return p.admit()
}

// insert writes a new database. The ids reach the committer in order, so the
// stored next id never goes back.
func (p *Pebble) insert(d descriptor) error {
	done := make(chan error, 1)
	b := p.db.NewBatch()
	p.table.hold()
	p.idMu.Lock()
	id := p.nextID
	p.nextID++
	set(b, nameKey(d.Name), u64(id))
	set(b, idKey(prefixDesc, id), encodeDescriptor(d))
	set(b, idKey(prefixHead, id), encodeHead(d.Base))
	if d.Parent != 0 {
		set(b, childKey(d.Parent, id), u64(d.Base.Seq))
	}
	set(b, keyNextID, u64(id+1))
	p.commit.enqueue(&request{batch: b, done: func(err error) { done <- err }})
	p.idMu.Unlock()
	return <-done
}

// set can't fail on a batch without an index.
func set(b *pebble.Batch, key, val []byte) { _ = b.Set(key, val, nil) }

// Delete implements Store.
func (p *Pebble) Delete(ctx context.Context, id DBID) error {
	return opErr("delete", id, p.delete(ctx, id))
}

func (p *Pebble) delete(ctx context.Context, id DBID) error {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer p.table.release(h)
	defer p.names.lock(id)()
	defer p.ids.lock(h.id)()
	h.mu.Lock()
	if h.deleted {
		h.mu.Unlock()
		return ErrNotFound
	}
	h.deleted = true // from here on no write is accepted
	h.mu.Unlock()
	b := p.db.NewBatch()
	_ = b.Delete(nameKey(id), nil)
	set(b, idKey(prefixDeleted, h.id), nil)
	if err := p.write(b, true); err != nil {
		h.mu.Lock()
		h.deleted = false
		h.mu.Unlock()
		return err
	}
	p.table.forget(h)
	p.reaper.kick()
	return nil
}

// List implements Store.
func (p *Pebble) List(ctx context.Context, after DBID, n int) ([]DBID, error) {
	if err := p.enter(); err != nil {
		return nil, fmt.Errorf("history: list: %w", err)
	}
	defer p.table.leave()
	it, err := p.scan(append(nameKey(after), 0), []byte{prefixName + 1})
	if err != nil {
		return nil, fmt.Errorf("history: list: %w", err)
	}
	var names []DBID
	for ok := it.First(); ok && len(names) < n && ctx.Err() == nil; ok = it.Next() {
		names = append(names, DBID(it.Key()[1:]))
	}
	if err = closeIter(it, ctx.Err()); err != nil {
		return nil, fmt.Errorf("history: list: %w", err)
	}
	return names, nil
}
