package history

import (
	"context"
	"sync"
)

// Pending is an accepted append on its way to stable storage. Any number of
// goroutines may wait for it.
type Pending struct {
	heads []Head
	done  chan struct{}
	err   error // set before done is closed

	mu   sync.Mutex // guards what follows
	over bool       // done is closed, or about to be
	then []func(error)
}

// NewPending is for implementations of Store: it returns a Pending and the
// function that resolves it, to be called once.
func NewPending(heads []Head) (p *Pending, resolve func(error)) {
	p = &Pending{heads: heads, done: make(chan struct{})}
	return p, p.resolve
}

func (p *Pending) resolve(err error) {
	p.mu.Lock()
	p.err, p.over = err, true
	then := p.then
	p.mu.Unlock()
	close(p.done)
	for _, fn := range then {
		fn(err)
	}
}

// Then has fn called with what Wait returns, once that is known. It must be
// quick, and not wait for the store: the writes after this one wait for it.
func (p *Pending) Then(fn func(error)) {
	p.mu.Lock()
	if !p.over {
		p.then = append(p.then, fn)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	fn(p.err)
}

// Head returns the head after the append: what the next Append expects.
func (p *Pending) Head() Head { return p.heads[len(p.heads)-1] }

// Heads returns one revision for each appended commit.
func (p *Pending) Heads() []Head { return p.heads }

// Done is closed when the append is durable or aborted.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Wait returns nil when the append is durable, an error that is ErrAborted when
// it never will be, or the context's error, which leaves the outcome open.
func (p *Pending) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	default:
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
