package tenant

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// gate is the right to use a database's connection. It may be kept between
// requests, for as long as a transaction; those who wait get it in the order in
// which they came.
type gate struct {
	mu    sync.Mutex
	held  bool
	queue list.List // of chan struct{}, closed when it is the waiter's turn
}

// tryLock takes the gate if it is free.
func (g *gate) tryLock() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	free := !g.held
	g.held = true
	return free
}

// lock waits for the gate: for as long as ctx, and no longer than patience,
// after which the error is ErrBusy.
func (g *gate) lock(ctx context.Context, patience time.Duration) error {
	if g.tryLock() {
		return nil
	}
	g.mu.Lock()
	if !g.held { // it has just become free
		g.held = true
		g.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	e := g.queue.PushBack(turn)
	g.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var err error
	select {
	case <-turn:
		return nil
	case <-timer.C:
		err = fmt.Errorf("%w: somebody else held the database for %v", ErrBusy, patience)
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.mu.Lock()
	select {
	case <-turn: // it came at the same moment
		g.pass()
	default:
		g.queue.Remove(e)
	}
	g.mu.Unlock()
	return err
}

func (g *gate) unlock() {
	g.mu.Lock()
	g.pass()
	g.mu.Unlock()
}

// pass hands the gate to who has waited for longest. g.mu is held.
func (g *gate) pass() {
	e := g.queue.Front()
	if e == nil {
		g.held = false
		return
	}
	close(g.queue.Remove(e).(chan struct{}))
}
