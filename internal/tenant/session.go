package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// Errors of a Session beside those of the package and *sqlite.Error.
var (
	// ErrManyStatements: the text holds more than one statement.
	ErrManyStatements = errors.New("tenant: more than one statement")
	// ErrNoStatement: the text holds no statement.
	ErrNoStatement = errors.New("tenant: no statement")
	// ErrArguments: the arguments don't fit the statement's parameters.
	ErrArguments = errors.New("tenant: arguments don't fit")
	// ErrLost: the transaction was rolled back between two calls.
	ErrLost = errors.New("tenant: the transaction is lost")
)

// SessionConfig says what a Session may do.
type SessionConfig struct {
	Write  bool   // else statements that write are refused
	Create bool   // the database is made if there is none
	Author string // of its commits; at most 255 bytes
	Scope  *Scope // the tables that it may use; nil: all
}

// Session is to a SQL client what a connection is: it has a transaction, or
// none, and the settings that belong to a connection. What it commits is
// captured and goes into the history like a pushed change. It is for one
// goroutine at a time.
type Session struct {
	m    *Manager
	name string
	cfg  SessionConfig

	d      *database // while the gate is held: during a call and a transaction
	r      *reader   // of a transaction that only reads: it has no gate
	tx     bool
	outer  bool // a SAVEPOINT began the transaction
	marks  []string
	noFKs  bool
	lastID int64
	counts [2]int64 // changes() and total_changes()
	slow   bool     // a read waited for the gate, or kept others from it
	limit  *watch   // of the statement that runs
	cost   Usage    // of the statement that ran last

	seen atomic.Uint64 // the newest revision that an answer depends on
}

// Session returns a session on a database. It opens nothing.
func (m *Manager) Session(name string, cfg SessionConfig) *Session {
	return &Session{m: m, name: name, cfg: cfg}
}

// InTransaction reports whether a transaction is open. Others can't use the
// database until it ends.
func (s *Session) InTransaction() bool { return s.tx }

// Fresh reports whether the session is as a new one would be.
func (s *Session) Fresh() bool { return !s.tx && !s.noFKs }

// Close rolls back what is open.
func (s *Session) Close() {
	switch {
	case s.r != nil:
		s.endRead()
	case s.tx:
		s.rollback()
		s.leave()
	}
}

// Settle waits until all that the session wrote and saw is durable. Unlike the
// other methods it may be called beside them.
func (s *Session) Settle(ctx context.Context) error {
	seen := s.seen.Load()
	if seen == 0 {
		return nil
	}
	return translate(s.m.cfg.Store.WaitDurable(ctx, history.DBID(s.name), seen))
}

// Wait calls fn, which waits for the client: a Rows does so in the middle of a
// statement, whose time limit that shall not count against.
func (s *Session) Wait(fn func() error) error {
	if s.limit == nil {
		return fn()
	}
	return s.limit.pause(fn)
}

// enter opens the database and waits for the gate, unless the session has it.
func (s *Session) enter(ctx context.Context) error {
	if s.tx {
		if err := guard(ctx); err != nil {
			return err
		}
		if s.d.failed.Load() {
			s.Close()
			return ErrLost
		}
		s.d.guest.active, s.d.guest.client = true, s.cfg.Scope
		return nil
	}
	for {
		d, err := s.m.acquire(ctx, s.name, s.cfg.Create)
		if err != nil {
			return err
		}
		if !d.gate.tryLock() {
			s.slow = true
			if err := d.gate.lock(ctx, s.m.cfg.BusyTimeout); err != nil {
				s.m.release(d)
				return busy(err)
			}
			if err := guard(ctx); err != nil { // that took a while
				d.gate.unlock()
				s.m.release(d)
				return err
			}
		}
		if d.conn == nil || d.failed.Load() {
			d.gate.unlock()
			s.m.release(d)
			continue // it is opened anew
		}
		s.d = d
		break
	}
	if err := s.settings(); err != nil {
		s.leave()
		return err
	}
	return nil
}

// settings makes the connection the session's own.
func (s *Session) settings() error {
	d := s.d
	if err := d.limitSize(); err != nil {
		return err
	}
	d.guest.active, d.guest.client = true, s.cfg.Scope
	d.conn.SetLastInsertRowID(s.lastID)
	d.conn.SetChanges(s.counts[0], s.counts[1])
	if s.noFKs {
		return d.conn.DBConfig(sqlite.ConfigEnableFKey, false)
	}
	return nil
}

// leave gives the gate back unless a transaction is open.
func (s *Session) leave() {
	d := s.d
	if d == nil {
		return // lost
	}
	d.guest.active, d.guest.client = false, nil
	if s.tx {
		return
	}
	d.guest.targets = nil
	if s.noFKs && d.conn != nil {
		if err := d.conn.DBConfig(sqlite.ConfigEnableFKey, true); err != nil {
			d.fail()
		}
	}
	s.seen.Store(d.head.Seq)
	s.d = nil
	if s.slow {
		s.slow = false
		d.share()
	}
	d.gate.unlock()
	s.m.release(d)
}

// begin begins a transaction.
func (s *Session) begin() error {
	d := s.d
	if err := d.conn.ExecArgs("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	s.tx = true
	if d.head.Seq == 0 && s.cfg.Write {
		if err := d.conn.Exec(change.ConflictsSchema); err != nil {
			s.rollback()
			return fmt.Errorf("tenant: %w", err)
		}
	}
	if err := d.cap.Begin(); err != nil {
		s.rollback()
		return err
	}
	return nil
}

// rollback ends the transaction without a trace.
func (s *Session) rollback() {
	if !s.d.conn.AutoCommit() {
		if err := s.d.conn.ExecArgs("ROLLBACK"); err != nil {
			s.d.fail()
		}
	}
	s.ended()
	s.d.cap.Discard()
}

func (s *Session) ended() { s.tx, s.outer, s.marks = false, false, s.marks[:0] }

// lostBy looks, after a failure, whether SQLite has ended the transaction by
// itself.
func (s *Session) lostBy(err error) {
	if err != nil && s.tx && s.d.conn.AutoCommit() {
		s.rollback()
	}
}

// commit commits, and appends what was captured to the history. After a
// violated foreign key the transaction goes on, after other errors it is
// rolled back.
func (s *Session) commit(ctx context.Context) error {
	d := s.d
	violated, err := d.conn.DeferredFKs()
	if err == nil && violated {
		return &sqlite.Error{Code: sqlite.CodeConstraintForeignKey, Message: "FOREIGN KEY constraint failed", Offset: -1}
	}
	var ch *change.Change
	if err == nil {
		ch, err = d.cap.Finish()
	}
	if err == nil {
		if no := s.cfg.Scope.wrote(ch, d.guest.targets); no != nil {
			err = &sqlite.Error{Code: sqlite.CodeAuth, Message: no.Error(), Offset: -1}
		}
	}
	if err != nil {
		s.rollback()
		return err
	}
	d.mu.Lock() // for those who read beside: see afterRead
	defer d.mu.Unlock()
	if err := d.conn.ExecArgs("COMMIT"); err != nil {
		s.rollback()
		return err
	}
	s.ended()
	d.cap.Discard()
	return d.append(ctx, ch, s.cfg.Author, nil)
}

// append puts the transaction that was just committed into the history. If
// that fails the file is ahead of the truth, and is thrown away. kv is metadata
// that goes with it. The gate and the mutex are held.
func (d *database) append(ctx context.Context, ch *change.Change, author string, kv map[string][]byte) error {
	pages, size, err := d.wal.take()
	if err == nil && size == 0 {
		return nil // nothing was written
	}
	if err == nil && size > d.m.cfg.MaxPages {
		err = fmt.Errorf("%w: the database would have %d pages, the limit is %d", ErrQuota, size, d.m.cfg.MaxPages)
	}
	if err == nil {
		nc := &history.NewCommit{Time: time.Now(), Author: author, Meta: commitMeta{}.append(nil), Pages: pages, DBSize: size, KV: kv}
		still := true
		if ch != nil {
			nc.Change, still = ch.Append(nil, change.ViewEffects), ch.Still()
		}
		var pending *history.Pending
		// The commit is made: it must not depend on the client's patience.
		pending, err = d.m.cfg.Store.Append(context.WithoutCancel(ctx), d.id(), d.head, nc)
		d.wal.release()
		if err == nil {
			d.accepted(pending, nc, still)
			return nil
		}
	}
	d.fail()
	return translate(err)
}

// watch interrupts what runs on a connection when its context ends, or after
// a time.
type watch struct {
	s     *Session
	conn  *sqlite.Conn
	guest *guest // whose permissions apply
	st    *sqlite.Stmt
	rows  int64  // that it returned
	read  uint64 // rows, when it has ended
	timer *time.Timer
	since time.Time     // when the timer was started
	left  time.Duration // of the time, then
	stop  func() bool

	mu   sync.Mutex
	done bool
	why  error // why it was interrupted; guarded by mu
}

// watch returns the limits of a statement that is about to run.
func (s *Session) watch(ctx context.Context, conn *sqlite.Conn, g *guest, st *sqlite.Stmt) *watch {
	limitValues(conn, st)
	limit := s.m.cfg.StatementTimeout
	w := &watch{s: s, conn: conn, guest: g, st: st, since: time.Now(), left: limit}
	w.timer = time.AfterFunc(limit, func() {
		w.interrupt(&sqlite.Error{
			Code: sqlite.CodeInterrupt, Offset: -1,
			Message: fmt.Sprintf("interrupted: the statement took longer than the %v that this server allows", limit),
		})
	})
	w.stop = context.AfterFunc(ctx, func() { w.interrupt(ctx.Err()) })
	s.limit = w
	return w
}

// pause stops the clock while fn runs.
func (w *watch) pause(fn func() error) error {
	running := w.timer.Stop()
	left := w.left - time.Since(w.since)
	err := fn()
	if running {
		w.since, w.left = time.Now(), left
		w.timer.Reset(max(left, 0))
	}
	return err
}

func (w *watch) interrupt(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.done && w.why == nil {
		w.why = why
		w.conn.Interrupt()
	}
}

// end stops watching. Nothing is interrupted after it. It returns err, or the
// reason behind it.
func (w *watch) end(err error) error {
	w.timer.Stop()
	w.stop()
	w.s.limit = nil
	w.read = uint64(visited(w.st, w.rows))
	w.s.spend(Usage{RowsRead: w.read})
	w.conn.Limit(sqlite.LimitLength, maxValue)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	if w.why != nil && sqlite.IsInterrupt(err) {
		return w.why
	}
	return explainFull(w.conn, err)
}

// mark returns the index of the innermost savepoint of that name, or -1.
func (s *Session) mark(name string) int {
	for i := len(s.marks) - 1; i >= 0; i-- {
		if strings.EqualFold(s.marks[i], name) {
			return i
		}
	}
	return -1
}
