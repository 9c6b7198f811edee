package hrana

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
)

// Entries of a cursor are handed on when there are so many bytes of them, or
// when they have waited for as long.
const (
	feedSize = 64 << 10
	feedWait = 20 * time.Millisecond
)

// feed is the sink of a cursor: it hands entries on while the batch runs, as
// soon as they are durable. Its methods are for the goroutine of the batch.
type feed struct {
	ctx   context.Context
	st    *Stream
	ahead func() int              // bytes that were sent, and are in memory still; may be nil
	send  func(part []byte) error // takes entries, and waits for the client as long as it may

	steps []Step    // of the batch
	began time.Time // when the present step did

	mu    sync.Mutex // guards what follows, and send
	out   entrySink
	step  int         // the present one
	hold  tenant.Hold // of its statement; 0: nothing of it may be shown yet
	fresh bool        // the stream was plain when that was said
	asked bool        // to run the present step beside the writer
	move  func()      // asks for that
	timer *time.Timer // nil if none of them waits
	sent  bool        // something was
	ended bool
	err   error // of sending: nothing is sent after it
}

// run runs a batch and hands on all entries but the last ones, which it returns.
// The error is that of Stream.batch, or of sending.
func (f *feed) run(b *Batch) (rest []byte, err error) {
	f.steps = b.Steps
	if f.st.dead == nil {
		err = f.st.batch(f.ctx, b, f, 0)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	if f.timer != nil {
		f.timer.Stop()
	}
	if err == nil {
		err = f.err
	}
	if err == nil {
		err = f.st.conn.Settle(f.ctx)
	}
	return f.out.take(), err
}

// next says that a step begins.
func (f *feed) next(step int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.step, f.hold, f.began, f.asked = step, 0, time.Now(), false
}

// Holds notes that the entries of the present step may be handed on.
func (f *feed) Holds(h tenant.Hold, beside func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold, f.fresh, f.move = h, f.st.plain(), beside
	f.wake()
}

// wake makes sure that entries don't wait for long. f.mu is held.
func (f *feed) wake() {
	if f.timer == nil {
		f.timer = time.AfterFunc(feedWait, f.overdue)
	}
}

// overdue hands on what waits for the next row.
func (f *feed) overdue() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.timer = nil
	switch {
	case f.ended || f.hold == 0:
	case f.mustMove():
		f.move()
	default:
		_ = f.flush() // the next row reports it
	}
}

// mustMove reports whether the present step is to begin again before anything of
// it is sent: what it has made so far counts no more. f.mu is held.
func (f *feed) mustMove() bool {
	if f.hold != tenant.HoldDatabase || f.asked {
		return false
	}
	f.asked, f.hold = true, 0
	return true
}

// flush sends the entries that there are. f.mu is held.
func (f *feed) flush() error {
	if f.err == nil && f.out.size() > 0 {
		if f.err = f.st.conn.Settle(f.ctx); f.err == nil {
			f.sent = true
			f.err = f.send(f.out.take())
		}
	}
	return f.err
}

// added looks what is to be done after a row was added.
func (f *feed) added() error {
	f.mu.Lock()
	size := f.out.size()
	full := f.hold != 0 && size > feedSize
	beside := full && f.mustMove()
	if f.hold != 0 {
		f.wake()
	}
	err := f.err
	f.mu.Unlock()
	if f.ahead != nil {
		size += f.ahead()
	}
	switch limit := f.st.cfg.MaxTransaction; {
	case err != nil:
		return err
	case beside:
		return tenant.ErrBeside
	case size > f.st.cfg.MaxAnswer:
		return &Error{"the answer is too large: ask for fewer rows", codeTooLarge}
	case full && time.Since(f.began) > limit:
		return &Error{"taking the rows of the statement took longer than the " + limit.String() + " that this server allows", codeTimeout}
	}
	if err := f.st.hold(size); err != nil || !full {
		return err
	}
	return f.st.conn.Wait(func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.flush()
	})
}

// plain reports whether the stream is a fresh one after the batch, as far as its
// present and later steps tell. f.mu is held.
func (f *feed) plain() bool {
	if !f.fresh {
		return false
	}
	for i := range f.steps[f.step:] {
		text, err := f.st.sql.text(f.steps[f.step+i].Stmt.SQL)
		if err != nil || changesConnection(text) {
			return false
		}
	}
	return true
}

// changesConnection reports whether a statement may do something to a
// connection, not only to the database. It errs on that side.
func changesConnection(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n;")
	word := strings.IndexFunc(text, func(r rune) bool { return r|0x20 < 'a' || r|0x20 > 'z' })
	if word < 0 {
		word = len(text)
	}
	switch strings.ToUpper(text[:word]) {
	case "SELECT", "WITH", "VALUES", "EXPLAIN", "INSERT", "REPLACE", "UPDATE", "DELETE":
		return false
	}
	return true
}

// What follows implements sink.

func (f *feed) size() int { return 0 } // added looks at it

func (f *feed) begin(step int, cols []tenant.Column) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out.undo() // the statement may have begun before
	f.out.begin(step, cols)
}

func (f *feed) row(vals []sqlite.Value) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out.row(vals)
}

func (f *feed) end(step int, res tenant.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out.end(step, res)
}

func (f *feed) fail(step int, err *Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.out.fail(step, err)
}

func (f *feed) skip(int) {}
