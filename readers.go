package agentdb

import (
	"context"
	"sync"
	"time"
)

// readerPool lends connections for reading. It keeps limit of them. Somebody
// who has waited for patienceForReader gets one more, because those in use may
// be waiting for just this reader: a loop over rows that asks for others inside.
type readerPool struct {
	open  func(context.Context) (*conn, error)
	limit int

	mu     sync.Mutex // guards the fields below
	idle   []*conn    // the last one used is at the end
	lent   int        // in use, or being opened
	queue  []chan *conn
	closed bool
	empty  chan struct{} // closed when closed and nothing is lent any more
}

const patienceForReader = 5 * time.Millisecond

func newReaderPool(limit int, open func(context.Context) (*conn, error)) *readerPool {
	return &readerPool{open: open, limit: limit, empty: make(chan struct{})}
}

// get lends a connection until put.
func (r *readerPool) get(ctx context.Context) (*conn, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, ErrClosed
	}
	if n := len(r.idle); n > 0 {
		c := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.lent++
		r.mu.Unlock()
		return c, nil
	}
	if r.lent < r.limit {
		r.lent++
		r.mu.Unlock()
		return r.openLent(ctx)
	}
	turn := make(chan *conn, 1)
	r.queue = append(r.queue, turn)
	r.mu.Unlock()
	return r.await(ctx, turn)
}

// await waits for a connection that somebody gives back, or opens one more.
func (r *readerPool) await(ctx context.Context, turn chan *conn) (*conn, error) {
	t := time.NewTimer(patienceForReader)
	defer t.Stop()
	select {
	case c := <-turn:
		return c, nil
	case <-t.C:
	case <-ctx.Done():
	}
	r.mu.Lock()
	for i, q := range r.queue {
		if q == turn {
			r.queue = append(r.queue[:i], r.queue[i+1:]...)
			break
		}
	}
	select {
	case c := <-turn: // it came at the last moment
		r.mu.Unlock()
		return c, nil
	default:
	}
	if ctx.Err() != nil {
		r.mu.Unlock()
		return nil, ctxError(ctx)
	}
	if r.closed {
		r.mu.Unlock()
		return nil, ErrClosed
	}
	r.lent++
	r.mu.Unlock()
	return r.openLent(ctx)
}

// openLent opens a connection that already counts as lent.
func (r *readerPool) openLent(ctx context.Context) (*conn, error) {
	c, err := r.open(ctx)
	if err != nil {
		r.mu.Lock()
		r.gaveBack()
		r.mu.Unlock()
		return nil, err
	}
	return c, nil
}

// put takes a connection back: for the first in the queue, for later, or to close it.
func (r *readerPool) put(c *conn) {
	r.mu.Lock()
	if len(r.queue) > 0 && !r.closed {
		turn := r.queue[0]
		r.queue = r.queue[1:]
		turn <- c
		r.mu.Unlock()
		return
	}
	if !r.closed && len(r.idle) < r.limit {
		r.idle = append(r.idle, c)
		r.gaveBack()
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	_ = c.close() // nothing can be lost: it only reads
	r.mu.Lock()
	r.gaveBack()
	r.mu.Unlock()
}

// gaveBack counts one down. The lock is held.
func (r *readerPool) gaveBack() {
	r.lent--
	if r.closed && r.lent == 0 {
		close(r.empty)
	}
}

// close closes all connections and waits for those that are lent.
func (r *readerPool) close() {
	r.mu.Lock()
	r.closed = true
	idle := r.idle
	r.idle = nil
	if r.lent == 0 {
		close(r.empty)
	}
	r.mu.Unlock()
	for _, c := range idle {
		_ = c.close()
	}
	<-r.empty
}
