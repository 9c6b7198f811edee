package history

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// groupBytes bounds what is merged into one batch. Larger requests are
	// batches of their own.
	groupBytes = 1 << 20
	// queueBytes is how much may be queued before Append waits.
	queueBytes = 64 << 20
	// groupsInFlight bounds how many groups wait for their sync at a time.
	groupsInFlight = 4
)

// request is one atomic write on its way through the committer.
type request struct {
	batch    *pebble.Batch
	size     int
	h        *handle // holds a reference; nil: the write belongs to no handle
	gen      uint64  // generation of h at which the write was accepted
	isAppend bool
	head     Head // becomes the durable head if isAppend
	exempt   bool // not subject to admission: it frees space
	done     func(error)
}

// group is what goes into the engine as one batch. A group without a batch only
// closes drained.
type group struct {
	batch    *pebble.Batch
	requests []*request
	drained  chan struct{}
}

// committer takes all writes in one order and makes them durable in groups: one
// goroutine applies, another one waits for the syncs, in the same order.
type committer struct {
	db      *pebble.DB
	table   *table
	failed  func(error)  // called once, with the error that stopped the engine
	admit   func() error // asked before each group; an error aborts it
	syncing chan group
	wg      sync.WaitGroup

	mu     sync.Mutex
	work   sync.Cond // signalled when the queue or stop changes
	space  sync.Cond // broadcast when queued shrinks
	queue  []*request
	queued int  // bytes in queue
	stop   bool // drain and end

	errMu sync.Mutex
	err   error // why the engine is dead

	stats CommitMetrics // QueuedBytes unused; guarded by errMu
}

func newCommitter(db *pebble.DB, t *table, admit func() error, failed func(error)) *committer {
	c := &committer{
		db: db, table: t, admit: admit, failed: failed,
		syncing: make(chan group, groupsInFlight),
	}
	c.work.L, c.space.L = &c.mu, &c.mu
	c.wg.Add(2)
	go c.apply()
	go c.sync()
	return c
}

// close makes all that is queued durable and ends the goroutines.
func (c *committer) close() {
	c.mu.Lock()
	c.stop = true
	c.work.Signal()
	c.mu.Unlock()
	c.wg.Wait()
}

// reserve waits until the queue has room.
func (c *committer) reserve() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.queued > queueBytes {
		c.space.Wait()
	}
}

// enqueue never blocks: it is called under the lock of the handle.
func (c *committer) enqueue(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.size = r.batch.Len()
	c.queue = append(c.queue, r)
	c.queued += r.size
	c.work.Signal()
}

// take waits for work and returns all of it; nil means stop.
func (c *committer) take() []*request {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && !c.stop {
		c.work.Wait()
	}
	q := c.queue
	c.queue, c.queued = nil, 0
	c.space.Broadcast()
	return q
}

func (c *committer) apply() {
	defer c.wg.Done()
	defer close(c.syncing)
	for {
		q := c.take()
		if q == nil {
			return
		}
		for len(q) > 0 {
			n := split(q)
			c.applyGroup(q[:n])
			q = q[n:]
		}
	}
}

// split returns how many requests of the queue go into the next batch.
func split(q []*request) int {
	n, size := 1, q[0].size
	for n < len(q) && size+q[n].size <= groupBytes {
		size += q[n].size
		n++
	}
	return n
}

// applyGroup puts the requests into the engine and hands them on to sync.
func (c *committer) applyGroup(q []*request) {
	if err := c.dead(); err != nil {
		c.abort(q, err)
		return
	}
	refusal := c.admit()
	g := group{requests: make([]*request, 0, len(q))}
	for _, r := range q {
		switch {
		case refusal != nil && !r.exempt:
			c.abort([]*request{r}, fmt.Errorf("%w: %w", ErrAborted, refusal))
		case r.stale():
			c.abort([]*request{r}, ErrAborted)
		default:
			g.requests = append(g.requests, r)
		}
	}
	if len(g.requests) == 0 {
		return
	}
	if err := c.applyBatch(&g); err != nil {
		c.die(err)
		c.abort(g.requests, c.dead())
		return
	}
	c.syncing <- g
}

// abort fails requests that were not applied. First it waits for the groups
// before them, because a head may fall back only when what is below it is
// settled.
func (c *committer) abort(q []*request, err error) {
	drained := make(chan struct{})
	c.syncing <- group{drained: drained}
	<-drained
	c.resolve(q, err)
}

// applyBatch merges the requests and applies them. The engine reports a failed
// log through its logger's Fatalf, which panics.
func (c *committer) applyBatch(g *group) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("apply: %v", r)
		}
	}()
	g.batch = g.requests[0].batch
	if len(g.requests) > 1 {
		g.batch = c.db.NewBatch()
		for _, r := range g.requests {
			if err := g.batch.Apply(r.batch, nil); err != nil {
				return err
			}
			if err := r.batch.Close(); err != nil {
				return err
			}
		}
	}
	return c.db.ApplyNoSyncWait(g.batch, pebble.Sync)
}

func (c *committer) sync() {
	defer c.wg.Done()
	for g := range c.syncing {
		if g.drained != nil {
			close(g.drained)
			continue
		}
		size := g.batch.Len()
		err := g.batch.SyncWait()
		if err == nil {
			err = g.batch.Close()
		}
		if err != nil {
			c.die(err)
		}
		err = c.dead()
		if err == nil {
			c.count(len(g.requests), size)
		}
		c.resolve(g.requests, err)
	}
}

func (c *committer) count(requests, bytes int) {
	c.errMu.Lock()
	defer c.errMu.Unlock()
	c.stats.Writes += uint64(requests)
	c.stats.Groups++
	c.stats.Bytes += uint64(bytes)
}

// resolve tells everybody the outcome, first the handles, so that whoever is
// told finds the head where it belongs.
func (c *committer) resolve(q []*request, err error) {
	if len(q) == 0 {
		return
	}
	if err != nil {
		c.errMu.Lock()
		c.stats.Aborted += uint64(len(q))
		c.errMu.Unlock()
	}
	for _, r := range q {
		if r.h != nil {
			r.h.resolve(r, err)
		}
		r.done(err)
	}
	c.table.releaseAll(q)
}

// stale reports whether the head fell back after the request was accepted.
func (r *request) stale() bool {
	if r.h == nil {
		return false
	}
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	return r.gen != r.h.gen
}

func (c *committer) dead() error {
	c.errMu.Lock()
	defer c.errMu.Unlock()
	return c.err
}

// die records why the engine can't be used any more.
func (c *committer) die(err error) {
	c.errMu.Lock()
	first := c.err == nil
	if first {
		c.err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	c.errMu.Unlock()
	if first {
		c.failed(err)
	}
}
