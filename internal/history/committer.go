package history

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// queueBytes is how much of small writes may be queued before Append waits.
	queueBytes = 64 << 20
	// largeBytes is from which size on an append lets others overtake it, and
	// maxLarge how many such are encoded, queued or being written at a time.
	largeBytes = 4 << 20
	maxLarge   = 2
	// syncsInFlight is how many writes may wait for their sync. The log syncs
	// all that were applied meanwhile at once, so this bounds the group.
	syncsInFlight = 256
	// crowd is the size of a group from which on the next sync waits for
	// crowdPause: with so many writers, as many more are on their way, and a
	// sync costs the same for all of them.
	crowd      = 8
	crowdPause = time.Millisecond
)

// group tells the engine how long to wait after a sync before the next.
type group struct{ c atomic.Pointer[committer] }

func (g *group) pause() time.Duration {
	if c := g.c.Load(); c != nil && len(c.syncing) >= crowd {
		return crowdPause
	}
	return 0
}

// failed is told of a log that can't be written. While the store is being opened
// that is an error of Open.
func (g *group) failed(err error) {
	if c := g.c.Load(); c != nil {
		c.die(err)
	}
}

// request is one atomic write on its way through the committer.
type request struct {
	batch    *pebble.Batch
	size     int
	h        *handle // holds a reference; nil: the write belongs to no handle
	gen      uint64  // generation of h at which the write was accepted
	isAppend bool
	head     Head // becomes the durable head if isAppend
	exempt   bool // not subject to admission: it frees space
	large    bool // it has one of the places for large ones
	late     bool // it is queued with them
	done     func(error)
}

// committer takes all writes in one order: one goroutine applies them, another
// one waits for their syncs, in the same order. The grouping is left to the
// engine's log, whose next sync covers all that was written since the last one
// began; merging the writes into one batch here was measured to be slower. The
// order is that in which they came, but that before a large write, and before
// what must come after it, all small ones go that wait.
type committer struct {
	db      *pebble.DB
	table   *table
	failed  func(error)  // called once, with the error that stopped the engine
	admit   func() error // asked before each write; an error aborts it
	syncing chan syncing
	wg      sync.WaitGroup

	mu     sync.Mutex
	work   sync.Cond // signalled when the queue or stop changes
	space  sync.Cond // broadcast when queued or large shrinks
	queue  []*request
	queued int             // bytes in queue
	late   []*request      // large ones, and those that must come after one
	behind map[*handle]int // of which handles there are such, not yet applied; nil for all
	large  int             // places for large ones that are taken
	stop   bool            // drain and end

	err atomic.Pointer[error] // why the engine is dead
	end chan struct{}         // closed when it is

	statsMu sync.Mutex
	stats   CommitMetrics // QueuedBytes unused; guarded by statsMu
}

// syncing is a write that was applied, or, without one, a question: the channel
// is closed when all writes before are settled.
type syncing struct {
	r       *request
	drained chan struct{}
}

func newCommitter(db *pebble.DB, t *table, admit func() error, failed func(error)) *committer {
	c := &committer{
		db: db, table: t, admit: admit, failed: failed,
		syncing: make(chan syncing, syncsInFlight), end: make(chan struct{}), behind: map[*handle]int{},
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

// reserve waits until there is room for an append of some size, and reports
// whether it took one of the places for large ones.
func (c *committer) reserve(size int) (large bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if large = size > largeBytes; large {
		for c.large >= maxLarge {
			c.space.Wait()
		}
		c.large++
		return true
	}
	for c.queued > queueBytes {
		c.space.Wait()
	}
	return false
}

// leave gives the place of a large one back.
func (c *committer) leave() {
	c.mu.Lock()
	c.large--
	c.space.Broadcast()
	c.mu.Unlock()
}

// enqueue never blocks: it is called under the lock of the handle.
func (c *committer) enqueue(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.size = r.batch.Len()
	c.work.Signal()
	// What belongs to no handle may be about any.
	if r.late = r.large || c.behind[r.h] > 0 || r.h == nil && len(c.behind) > 0 || c.behind[nil] > 0; r.late {
		c.late = append(c.late, r)
		c.behind[r.h]++
		return
	}
	c.queue = append(c.queue, r)
	c.queued += r.size
}

// take waits for work and returns what comes next; nil means stop.
func (c *committer) take() []*request {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 && len(c.late) == 0 && !c.stop {
		c.work.Wait()
	}
	q := c.queue
	c.queue, c.queued = nil, 0
	if len(c.late) > 0 {
		q = append(q, c.late[0])
		c.late = c.late[1:]
	}
	c.space.Broadcast()
	return q
}

// taken says that a late request has its place in the order.
func (c *committer) taken(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.behind[r.h]--; c.behind[r.h] == 0 {
		delete(c.behind, r.h)
	}
}

func (c *committer) apply() {
	defer c.wg.Done()
	defer close(c.syncing)
	for {
		q := c.take()
		if q == nil {
			return
		}
		for _, r := range q {
			if err := c.applyOne(r); err != nil {
				c.abort(r, err)
			} else {
				c.syncing <- syncing{r: r}
			}
			if r.late {
				c.taken(r)
			}
		}
	}
}

// applyOne puts a write into the engine, unless something speaks against it.
func (c *committer) applyOne(r *request) error {
	if err := c.dead(); err != nil {
		return err
	}
	if r.stale() {
		return ErrAborted
	}
	if err := c.admit(); err != nil && !r.exempt {
		return fmt.Errorf("%w: %w", ErrAborted, err)
	}
	if err := applyNoWait(c.db, r.batch); err != nil {
		c.die(err)
		return c.dead()
	}
	return nil
}

// applyNoWait applies a batch. The engine reports a failed log through its
// logger's Fatalf, which panics.
func applyNoWait(db *pebble.DB, b *pebble.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("apply: %w", caught(r))
		}
	}()
	return db.ApplyNoSyncWait(b, pebble.Sync)
}

// abort fails a write that was not applied. First it waits for the writes before
// it, because a head may fall back only when what is below it is settled.
func (c *committer) abort(r *request, err error) {
	drained := make(chan struct{})
	c.syncing <- syncing{drained: drained}
	<-drained
	c.resolve(r, err)
}

func (c *committer) sync() {
	defer c.wg.Done()
	for s := range c.syncing {
		if s.r == nil {
			close(s.drained)
			continue
		}
		err := s.r.batch.SyncWait()
		if err == nil {
			err = s.r.batch.Close()
		}
		if err != nil {
			c.die(err)
		}
		c.resolve(s.r, c.dead())
	}
}

// resolve tells everybody the outcome: first the handle, so that whoever is told
// finds the head where it belongs, then the one who made the write, and then
// those who wait for it, so that it is done for everybody who reads it.
func (c *committer) resolve(r *request, err error) {
	c.statsMu.Lock()
	if err == nil {
		c.stats.Writes++
		c.stats.Bytes += uint64(r.size)
	} else {
		c.stats.Aborted++
	}
	c.statsMu.Unlock()
	if r.large {
		c.leave()
	}
	if r.h != nil {
		r.h.resolve(r, err)
	}
	r.done(err)
	if r.h != nil {
		r.h.wake(err)
	}
	c.table.releaseWrite(r.h)
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

// dead returns why the engine can't be used any more.
func (c *committer) dead() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

// die records why the engine can't be used any more. From then on nothing is
// read either: what the engine has in memory may not be on the disk.
func (c *committer) die(err error) {
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	if c.err.CompareAndSwap(nil, &err) {
		close(c.end)
		c.failed(err)
	}
}
