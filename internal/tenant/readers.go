package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// maxReaders bounds the connections of a database that only read.
const maxReaders = 4

// slowRead is how long a read may keep the gate before the database is shared.
const slowRead = 5 * time.Millisecond

// readers are the connections of a shared database that only read: beside one
// another, and beside its writer.
type readers struct {
	path  string
	temp  func() *sqlite.TempSpace
	slots chan struct{} // one for each connection in use

	mu   sync.Mutex
	idle []*reader
}

// reader is one of them. It belongs to who took it.
type reader struct {
	conn  *sqlite.Conn
	guest guest
}

// get waits for a connection, as gate.lock does.
func (r *readers) get(ctx context.Context, patience time.Duration) (*reader, error) {
	select {
	case r.slots <- struct{}{}:
	default:
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case r.slots <- struct{}{}:
		case <-timer.C:
			return nil, fmt.Errorf("%w: others have been reading for %v", ErrBusy, patience)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.mu.Lock()
	if n := len(r.idle); n > 0 {
		c := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		return c, nil
	}
	r.mu.Unlock()
	c, err := r.open()
	if err != nil {
		<-r.slots
	}
	return c, err
}

func (r *readers) open() (*reader, error) {
	conn, err := sqlite.Open(r.path, sqlite.Options{ReadOnly: true, CacheKB: 512, Lookaside: lookaside, BusyTimeout: time.Second, Temp: r.temp()})
	if err != nil {
		return nil, fmt.Errorf("tenant: open a reader: %w", err)
	}
	c := &reader{conn: conn}
	conn.Limit(sqlite.LimitLength, maxValue)
	conn.Limit(sqlite.LimitSQLLength, maxSQL)
	if err := conn.DBConfig(sqlite.ConfigDefensive, true); err != nil {
		return nil, errors.Join(fmt.Errorf("tenant: open a reader: %w", err), conn.Close())
	}
	c.guest.active = true
	conn.Authorize(c.guest.authorize)
	return c, nil
}

// prepared calls fn, which prepares a statement, once more if that failed: the
// schema that the connection has in memory may be older than the file's, which
// SQLite looks at after some errors only, those of ALTER TABLE not among them.
func (c *reader) prepared(fn func() error) error {
	err := fn()
	var e *sqlite.Error
	if !errors.As(err, &e) || e.Primary() != sqlite.CodeError {
		return err
	}
	if _, err := c.conn.QueryInt("SELECT count(*) FROM main.sqlite_schema"); err != nil {
		return err
	}
	return fn()
}

// put gives a connection back.
func (r *readers) put(c *reader) {
	c.guest.client = nil
	r.mu.Lock()
	r.idle = append(r.idle, c)
	r.mu.Unlock()
	<-r.slots
}

// close closes all connections. None is in use any more.
func (r *readers) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, c := range r.idle {
		errs = append(errs, c.conn.Close())
	}
	r.idle = nil
	return errors.Join(errs...)
}

// share opens the file anew so that others may read it beside the writer. That
// costs each commit some ten microseconds: a database is shared once it is worth
// it. The gate is held, and no transaction is open.
func (d *database) share() {
	if d.readers.Load() != nil || d.failed.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.guest.cache.clear()
	_, _, err := d.conn.Checkpoint(sqlite.CheckpointTruncate)
	err = errors.Join(err, d.conn.Close())
	d.wal.restarted()
	d.conn = nil
	if err == nil {
		err = d.openFile(false)
	}
	if err != nil {
		d.m.cfg.Logger.Error("share", "db", d.name, "err", err)
		d.fail()
		return
	}
	d.readers.Store(&readers{path: d.m.path(d.name), temp: d.m.tempSpace, slots: make(chan struct{}, maxReaders)})
}

// errWriter says that a statement needs the writer.
var errWriter = errors.New("tenant: not for a reader")

// onReader calls fn with a connection that reads beside the writer: that of the
// session's transaction, or one for this call. errWriter means that there is
// none.
func (s *Session) onReader(ctx context.Context, fn func(*database, *reader) error) error {
	if d := s.d; s.r != nil {
		if err := guard(ctx); err != nil {
			return err
		}
		err := fn(d, s.r)
		if !s.tx {
			s.endRead()
		}
		return s.afterRead(d, err)
	}
	if s.tx || s.noFKs {
		return errWriter
	}
	d, err := s.m.acquire(ctx, s.name, s.cfg.Create)
	if err != nil {
		return err
	}
	defer s.m.release(d)
	pool := d.readers.Load()
	if pool == nil {
		return errWriter
	}
	c, err := pool.get(ctx, s.m.cfg.BusyTimeout)
	if err != nil {
		return busy(err)
	}
	defer pool.put(c)
	c.guest.client = s.cfg.Scope
	c.conn.SetLastInsertRowID(s.lastID)
	return s.afterRead(d, fn(d, c))
}

// afterRead notes the revision that was seen. What a writer has committed to
// the file, but not to the history yet, may have been seen too: it holds the
// mutex until it has done both.
func (s *Session) afterRead(d *database, err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.seen.Store(d.head.Seq)
	if d.failed.Load() && !errors.Is(err, errWriter) {
		return fmt.Errorf("%w: the file that was read is ahead of the history", ErrBusy)
	}
	return err
}

// read runs a statement on a connection that reads, or returns errWriter.
func (s *Session) read(ctx context.Context, q *Query, rows Rows) error {
	return s.onReader(ctx, func(d *database, c *reader) error {
		var p *query
		err := c.prepared(func() (err error) {
			p, err = c.guest.single(c.conn, q.SQL)
			return err
		})
		if err != nil {
			return err
		}
		if p == nil {
			return ErrNoStatement
		}
		defer c.guest.cache.put(p)
		if s.r != nil && p.control != "" {
			return s.readControl(p, rows)
		}
		if s.r == nil && (!p.readOnly || p.writer || p.control != "" || p.pragma != "") {
			return errWriter
		}
		if p.pragma != "" {
			return s.setting(p, rows)
		}
		if err := bind(p.st, q); err != nil {
			return err
		}
		w := s.watch(ctx, c.conn, &c.guest, p.st)
		err = d.count(w, w.step(rows, func() error {
			if err := s.afterRead(d, nil); err != nil {
				return err
			}
			announce(rows, HoldSnapshot, HoldSnapshot, s.tx, func() {})
			return nil
		}))
		return advise(c.guest.explain(err))
	})
}

// beginRead begins a transaction that reads beside the writer.
func (s *Session) beginRead(ctx context.Context) error {
	d, err := s.m.acquire(ctx, s.name, s.cfg.Create)
	if err != nil {
		return err
	}
	c, err := d.readers.Load().get(ctx, s.m.cfg.BusyTimeout)
	if err == nil {
		if err = c.conn.ExecArgs("BEGIN"); err == nil {
			c.guest.client = s.cfg.Scope
			s.d, s.r, s.tx = d, c, true
			return nil
		}
		d.readers.Load().put(c)
	}
	s.m.release(d)
	return busy(err)
}

// readControl ends a transaction that reads; savepoints do nothing in it.
func (s *Session) readControl(p *query, rows Rows) error {
	if rows != nil {
		if err := rows.Columns(nil); err != nil {
			return err
		}
	}
	switch p.control {
	case "BEGIN":
		return logic("cannot start a transaction within a transaction")
	case "COMMIT", "ROLLBACK":
		s.ended()
	}
	return nil
}

// endRead ends a transaction that reads and gives its connection back.
func (s *Session) endRead() {
	d, c := s.d, s.r
	s.ended()
	s.d, s.r = nil, nil
	if !c.conn.AutoCommit() {
		if err := c.conn.ExecArgs("ROLLBACK"); err != nil {
			d.fail()
		}
	}
	d.readers.Load().put(c)
	s.m.release(d)
}

// busy makes SQLite's error of ErrBusy.
func busy(err error) error {
	if errors.Is(err, ErrBusy) {
		return &sqlite.Error{Code: sqlite.CodeBusy, Message: "database is locked", Offset: -1}
	}
	return err
}

// readsOnly reports whether a BEGIN says that its transaction only reads, as
// libSQL's clients do.
func readsOnly(begin string) bool {
	return strings.Contains(strings.ToUpper(begin), "READONLY")
}
