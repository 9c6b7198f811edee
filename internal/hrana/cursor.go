package hrana

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// maxAhead is how many bytes of entries a batch is ahead of the client.
const maxAhead = 256 << 10

// cursor is a batch of a WebSocket that runs while its entries are fetched.
type cursor struct {
	k      *Socket
	cancel context.CancelFunc
	ended  chan struct{} // closed when the batch is done with the stream
	taken  int64         // memory; of the batch until it ended

	filled, drained signal // rest

	mu    sync.Mutex // guards what follows
	rest  []byte     // entries that were not fetched
	limit int        // of them
	done  bool       // there are no more
}

// signal wakes one who waits, now or later.
type signal chan struct{}

func (s signal) set() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// openCursor begins a batch. The stream is its own until it has ended.
func (w *worker) openCursor(q *socketMessage) error {
	if w.stream.dead != nil {
		return w.stream.dead
	}
	if !w.k.cfg.Take(smallAnswer) {
		return &Error{"the server holds as many answers as it can: try again in a moment", codeMemory}
	}
	ctx, cancel := context.WithCancel(w.k.ctx)
	c := &cursor{k: w.k, cancel: cancel, ended: make(chan struct{}), taken: smallAnswer, limit: maxAhead, filled: make(signal, 1), drained: make(signal, 1)}
	if w.cursors == nil {
		w.cursors = map[int32]*cursor{}
	}
	w.cursors[q.cursor], w.running = c, c
	w.stream.request(w.k.cfg.Format, func(n int64) bool {
		if !w.k.cfg.Take(n) {
			return false
		}
		c.taken += n
		return true
	})
	f := &feed{ctx: ctx, st: w.stream, out: newEntries(w.k.cfg.Format), ahead: c.size}
	f.send = func(part []byte) error { return c.put(ctx, part) }
	go func() {
		defer close(c.ended)
		c.run(f, &q.req.Batch)
	}()
	return nil
}

// run runs the batch. A panic ends the stream, not the server.
func (c *cursor) run(f *feed, b *Batch) {
	var rest []byte
	var err error
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("hrana: panic: %v\n%s", v, debug.Stack())
		}
		if err != nil && (!errors.Is(err, context.Canceled) || c.k.ctx.Err() != nil) { // else the client has closed it
			e := visible(err)
			if e == nil {
				e = c.k.cfg.Explain(err)
			}
			f.st.conn.Close()
			f.st.dead = e
			out := newEntries(f.st.format)
			out.fatal(e)
			rest = append(rest, out.take()...)
		}
		c.finish(rest)
	}()
	rest, err = f.run(b)
}

func (c *cursor) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.rest)
}

// put adds entries, and waits while there are too many: as long as for the next
// request of a transaction.
func (c *cursor) put(ctx context.Context, part []byte) error {
	patience := time.NewTimer(c.k.limits.Idle)
	defer patience.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = append(c.rest, part...)
	c.filled.set()
	for len(c.rest) > c.limit {
		c.mu.Unlock()
		var err error
		select {
		case <-c.drained:
			patience.Reset(c.k.limits.Idle)
		case <-patience.C:
			err = &Error{"the cursor was closed: its client fetched nothing for " + c.k.limits.Idle.String(), codeExpired}
		case <-ctx.Done():
			err = ctx.Err()
		}
		c.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// finish adds the last entries.
func (c *cursor) finish(rest []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest, c.done = append(c.rest, rest...), true
	c.filled.set()
}

// fetch waits for entries and takes those that cut says. done says that there
// are no more.
func (c *cursor) fetch(ctx context.Context, cut func([]byte) (part, rest []byte)) (part []byte, done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.rest) == 0 && !c.done {
		c.mu.Unlock()
		select {
		case <-c.filled:
		case <-ctx.Done():
			err = ctx.Err()
		}
		c.mu.Lock()
		if err != nil {
			return nil, false, err
		}
	}
	part, c.rest = cut(c.rest)
	c.drained.set()
	return part, c.done && len(c.rest) == 0, nil
}

// finish waits until no cursor has the stream any more: the rest of its entries
// is gathered, up to the limit of an answer.
func (w *worker) finish() {
	c := w.running
	if c == nil {
		return
	}
	c.mu.Lock()
	c.limit = w.k.limits.MaxAnswer
	c.mu.Unlock()
	c.drained.set()
	<-c.ended
	w.running = nil
}

// closeCursor ends a cursor. Of its batch no more is run.
func (w *worker) closeCursor(id int32) {
	c := w.cursors[id]
	if c == nil {
		return
	}
	c.cancel()
	<-c.ended
	if w.running == c {
		w.running = nil
	}
	w.taken += c.taken
	delete(w.cursors, id)
}
