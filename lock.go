package agentdb

import (
	"context"
	"sync"
)

// writeLock lets one writer in at a time, in the order of arrival. All
// write-capable connections of one DB handle share one.
type writeLock struct {
	mu     sync.Mutex // guards the fields below
	held   bool
	closed bool
	queue  []*waiter // first come, first served; only while held
}

// waiter is one goroutine in the queue. ready is closed when the lock is
// its own, or when the lock was shut (then err is set).
type waiter struct {
	ready chan struct{}
	err   error
}

// lock waits for its turn, or for the end of ctx.
func (l *writeLock) lock(ctx context.Context) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	if !l.held {
		l.held = true
		l.mu.Unlock()
		return nil
	}
	w := &waiter{ready: make(chan struct{})}
	l.queue = append(l.queue, w)
	l.mu.Unlock()

	select {
	case <-w.ready:
		return w.err
	case <-ctx.Done():
		l.abandon(w)
		return ctxError(ctx)
	}
}

// abandon takes w out of the queue; if the lock has come to w meanwhile, it is passed on.
func (l *writeLock) abandon(w *waiter) {
	l.mu.Lock()
	for i, q := range l.queue {
		if q == w {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			l.mu.Unlock()
			return
		}
	}
	l.mu.Unlock()
	if <-w.ready; w.err == nil {
		l.unlock()
	}
}

// unlock hands the lock to the first in the queue.
func (l *writeLock) unlock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.held = false
		return
	}
	w := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	close(w.ready)
}

// shut sends everybody in the queue away and waits for the holder. Afterwards the caller holds the lock for good.
func (l *writeLock) shut() {
	l.mu.Lock()
	l.closed = true
	for _, w := range l.queue {
		w.err = ErrClosed
		close(w.ready)
	}
	l.queue = nil
	if !l.held {
		l.held = true
		l.mu.Unlock()
		return
	}
	last := &waiter{ready: make(chan struct{})}
	l.queue = append(l.queue, last)
	l.mu.Unlock()
	<-last.ready
}
