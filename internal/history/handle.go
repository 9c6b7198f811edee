package history

import (
	"container/list"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
)

// handle is what the store knows in memory about one database. There is at most
// one handle for a name, and while a write is in flight it can't be evicted, so
// the heads in it are the truth.
type handle struct {
	name  DBID
	ready chan struct{} // closed when the fields below are loaded

	// Set before ready is closed, constant after.
	loadErr error
	facts

	mu       sync.Mutex
	head     Head          // last accepted
	durable  Head          // last durable
	horizon  uint64        // own horizon
	deleted  bool          // the name is gone or about to go
	gen      uint64        // counts the times that head fell back
	enqueued uint64        // writes accepted
	resolved uint64        // of them, writes no longer in flight
	changed  chan struct{} // closed at the next resolution; nil: nobody waits
	waiters  []waiter      // for revisions to become durable

	// Guarded by table.mu.
	refs int
	idle *list.Element // in table.idle while refs is 0
}

// waiter waits for a revision to become durable, or to be lost.
type waiter struct {
	seq  uint64
	done chan struct{}
}

// facts is what never changes about a database, as far as reading is concerned: a
// fork that was made independent can be read through its old parents as well.
type facts struct {
	id     uint64
	desc   descriptor // its Horizon is outdated, see handle.horizon
	levels []level
}

// level is a part of the history that a database reads: its own, then its
// parent's up to the revision of the fork, and so on.
type level struct {
	id   uint64
	upto uint64 // newest revision that counts
}

// levelOf returns the index of the level that holds the commit seq.
func (h *handle) levelOf(seq uint64) int {
	i := 0
	for i+1 < len(h.levels) && seq <= h.levels[i+1].upto {
		i++
	}
	return i
}

// state returns the accepted and the durable head.
func (h *handle) state() (head, durable Head, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.deleted {
		return Head{}, Head{}, ErrNotFound
	}
	return h.head, h.durable, nil
}

// accepted returns the accepted head and its generation.
func (h *handle) accepted() (Head, uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.deleted {
		return Head{}, 0, ErrNotFound
	}
	return h.head, h.gen, nil
}

// waitChanged returns a channel that is closed at the next resolution.
// Requires mu.
func (h *handle) waitChanged() <-chan struct{} {
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}

// waitDurable waits until the revision seq is durable.
func (h *handle) waitDurable(ctx context.Context, seq uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	gen := h.gen
	for {
		switch {
		case h.deleted:
			return ErrNotFound
		case seq <= h.durable.Seq:
			return nil
		case h.gen != gen:
			return ErrAborted
		case seq > h.head.Seq:
			return ErrNoRevision
		}
		w := waiter{seq, make(chan struct{})}
		h.waiters = append(h.waiters, w)
		if err := h.sleep(ctx, w.done); err != nil {
			h.waiters = slices.DeleteFunc(h.waiters, func(o waiter) bool { return o == w })
			return err
		}
	}
}

// waitResolved waits until all writes accepted so far are no longer in flight.
func (h *handle) waitResolved(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ticket := h.enqueued; h.resolved < ticket; {
		if err := h.sleep(ctx, h.waitChanged()); err != nil {
			return err
		}
	}
	if h.deleted {
		return ErrNotFound
	}
	return nil
}

// sleep waits without mu until the channel is closed. Requires mu.
func (h *handle) sleep(ctx context.Context, done <-chan struct{}) error {
	h.mu.Unlock()
	defer h.mu.Lock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resolve accounts for a write that is durable or failed. The first failure makes
// the head fall back; writes that were accepted before it are stale.
func (h *handle) resolve(r *request, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil && r.isAppend:
		h.durable = r.head
	case err != nil && r.gen == h.gen:
		h.gen++
		h.head = h.durable
	}
}

// wake tells those who wait that a write is resolved.
func (h *handle) wake(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.resolved++
	h.waiters = slices.DeleteFunc(h.waiters, func(w waiter) bool {
		if err == nil && w.seq > h.durable.Seq {
			return false
		}
		close(w.done)
		return true
	})
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// table holds the handles in use and the most recently used idle ones.
type table struct {
	mu      sync.Mutex
	closing bool
	ops     int           // operations and writes in flight
	drained chan struct{} // closed when closing and ops is 0
	handles map[DBID]*handle
	idle    list.List // of *handle, least recently used first
	idleCap int
}

func newTable(idleCap int) *table {
	return &table{drained: make(chan struct{}), handles: map[DBID]*handle{}, idleCap: idleCap}
}

// enter begins an operation that needs no handle; leave ends it.
func (t *table) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return ErrClosed
	}
	t.ops++
	return nil
}

// hold counts a write that an operation without a handle has in flight.
func (t *table) hold() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ops++
}

func (t *table) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left()
}

// left requires mu.
func (t *table) left() {
	if t.ops--; t.ops == 0 && t.closing {
		close(t.drained)
	}
}

// close refuses new operations and waits for those that run.
func (t *table) close() {
	t.mu.Lock()
	if !t.closing {
		t.closing = true
		if t.ops == 0 {
			close(t.drained)
		}
	}
	t.mu.Unlock()
	<-t.drained
}

// acquire begins an operation on the database, loading its handle with load if
// need be; release ends it.
func (t *table) acquire(ctx context.Context, name DBID, load func(*handle) error) (*handle, error) {
	t.mu.Lock()
	if t.closing {
		t.mu.Unlock()
		return nil, ErrClosed
	}
	t.ops++
	h := t.handles[name]
	if h != nil {
		t.use(h)
		t.mu.Unlock()
		return t.await(ctx, h)
	}
	h = &handle{name: name, ready: make(chan struct{}), refs: 1}
	t.handles[name] = h
	t.mu.Unlock()
	if h.loadErr = load(h); h.loadErr != nil {
		t.forget(h)
	}
	close(h.ready)
	return t.await(ctx, h)
}

// use takes a reference. Requires mu.
func (t *table) use(h *handle) {
	if h.refs == 0 {
		t.idle.Remove(h.idle)
		h.idle = nil
	}
	h.refs++
}

func (t *table) await(ctx context.Context, h *handle) (*handle, error) {
	select {
	case <-h.ready:
	case <-ctx.Done():
		t.release(h)
		return nil, ctx.Err()
	}
	if h.loadErr != nil {
		t.release(h)
		return nil, h.loadErr
	}
	return h, nil
}

// peek reports whether the name has a handle already.
func (t *table) peek(name DBID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.handles[name] != nil
}

// release ends what acquire began.
func (t *table) release(h *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.released(h)
}

// releaseWrite is release for a write in flight, which may have no handle.
func (t *table) releaseWrite(h *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h == nil {
		t.left()
		return
	}
	t.released(h)
}

// released requires mu.
func (t *table) released(h *handle) {
	t.left()
	if h.refs--; h.refs > 0 || t.handles[h.name] != h {
		return
	}
	h.idle = t.idle.PushBack(h)
	for t.idle.Len() > t.idleCap {
		old := t.idle.Remove(t.idle.Front()).(*handle)
		delete(t.handles, old.name)
	}
}

// forget takes the handle out of the table; those who hold it keep it.
func (t *table) forget(h *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handles[h.name] == h {
		delete(t.handles, h.name)
	}
}

// size returns how many handles there are.
func (t *table) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.handles)
}

// load fills a new handle from the engine. The lock on the name keeps it from
// seeing a Create or Delete that is not durable yet.
func (p *Pebble) load(h *handle) error {
	defer p.names.lock(h.name)()
	raw, err := p.get(nameKey(h.name))
	if err != nil {
		return err
	}
	if raw == nil {
		return ErrNotFound
	}
	if h.id, err = parseU64(raw); err != nil {
		return err
	}
	if h.desc, err = p.descriptor(h.id); err != nil {
		return err
	}
	if h.head, err = p.newest(h.id); err != nil {
		return err
	}
	h.durable, h.horizon = h.head, h.desc.Horizon
	h.levels, err = p.levels(h.id, h.desc)
	return err
}

// newest returns the head as stored: the newest commit, or the base that the
// database began with.
func (p *Pebble) newest(id uint64) (head Head, err error) {
	it, err := p.scan(idKey(prefixCommit, id), idKey(prefixCommit, id+1))
	if err != nil {
		return Head{}, err
	}
	if it.Last() {
		var c *Commit
		var rec []byte
		if rec, err = it.ValueAndErr(); err == nil {
			if c, _, err = decodeCommit(rec); err == nil {
				head = c.Head()
			}
		}
		return head, closeIter(it, err)
	}
	if err := closeIter(it, nil); err != nil {
		return Head{}, err
	}
	raw, err := p.mustGet(idKey(prefixHead, id))
	if err != nil {
		return Head{}, err
	}
	return decodeHead(raw)
}

// levels follows the parents of a database.
func (p *Pebble) levels(id uint64, d descriptor) ([]level, error) {
	levels := []level{{id, math.MaxUint64}}
	for d.Parent != 0 {
		raw, err := p.get(idKey(prefixDesc, d.Parent))
		if err != nil {
			return nil, err
		}
		if raw == nil {
			// The fork that names this parent must have been made independent,
			// see cutTie, and the parent reclaimed, between the two reads.
			now, err := p.descriptor(levels[len(levels)-1].id)
			if err == nil && now.Parent != 0 {
				err = fmt.Errorf("parent %d is missing: %w", d.Parent, ErrCorrupt)
			}
			return levels, err
		}
		levels = append(levels, level{d.Parent, d.Base.Seq})
		if d, err = decodeDescriptor(raw); err != nil {
			return nil, err
		}
	}
	return levels, nil
}
