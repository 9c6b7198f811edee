package agentdb

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// watch interrupts a connection's SQL when a context ends. A nil *watch does nothing.
type watch struct {
	cancel func() bool
	quit   chan struct{} // closed by end
	gone   chan struct{} // closed by the goroutine that interrupts, once it is
	ended  bool
}

// reinterrupt is the time between two interruptions: SQLite forgets one that
// comes between two statements.
const reinterrupt = 5 * time.Millisecond

// watch starts to interrupt c when ctx ends. It costs nothing if ctx can't end or is being watched already.
func (c *conn) watch(ctx context.Context) *watch {
	done := ctx.Done()
	if done == nil || done == c.watched {
		return nil
	}
	w := &watch{quit: make(chan struct{}), gone: make(chan struct{})}
	w.cancel = context.AfterFunc(ctx, func() {
		defer close(w.gone)
		for {
			c.raw.Interrupt()
			select {
			case <-w.quit:
				return
			case <-time.After(reinterrupt):
			}
		}
	})
	return w
}

// end stops it. Nothing is interrupted any more when it returns. It may be called twice.
func (w *watch) end() {
	if w == nil || w.ended {
		return
	}
	w.ended = true
	if w.cancel() {
		return
	}
	close(w.quit)
	<-w.gone
}

// patience decides how long to try again while another process holds the file's lock.
type patience struct {
	since time.Time
	tries int
}

const maxBackoff = 16 * time.Millisecond

var errImpatient = errors.New("agentdb: no time left")

// wait sleeps before the next try. It fails when ctx has ended or limit is over.
func (p *patience) wait(ctx context.Context, limit time.Duration) error {
	if p.tries == 0 {
		p.since = time.Now()
	}
	if time.Since(p.since) >= limit {
		return errImpatient
	}
	d := min(time.Millisecond<<min(p.tries, 10), maxBackoff)
	p.tries++
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctxError(ctx)
	case <-t.C:
		return nil
	}
}

// again decides whether to repeat what has failed with err: nil means yes,
// otherwise it is the error to return.
func (p *patience) again(ctx context.Context, err error, limit time.Duration) error {
	if primary(err) != codeBusy {
		return err
	}
	if werr := p.wait(ctx, limit); werr != nil {
		if errors.Is(werr, errImpatient) {
			return err
		}
		return werr
	}
	return nil
}
