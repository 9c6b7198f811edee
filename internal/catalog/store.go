package catalog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// storeFile is the name of the catalog in the data directory.
const storeFile = "catalog.db"

// maxBatch is how many writes are made durable by one sync to the disk.
const maxBatch = 256

// Errors of a Store, as kinds; match them with errors.Is.
var (
	// ErrNotFound: there is nothing of that name.
	ErrNotFound = errors.New("catalog: not found")
	// ErrExists: the name is taken.
	ErrExists = errors.New("catalog: exists")
	// ErrInUse: something depends on it.
	ErrInUse = errors.New("catalog: in use")
	// ErrProtected: it is protected from being deleted.
	ErrProtected = errors.New("catalog: protected")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("catalog: closed")
)

// migrations bring the file to the newest version, one after the other. Times
// are milliseconds since 1970, 0 for none.
var migrations = []string{`
CREATE TABLE orgs (
	slug TEXT PRIMARY KEY, name TEXT NOT NULL, overages INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE members (
	org TEXT NOT NULL REFERENCES orgs ON DELETE CASCADE, username TEXT NOT NULL, email TEXT NOT NULL DEFAULT '',
	role TEXT NOT NULL, created INTEGER NOT NULL, PRIMARY KEY (org, username)
) WITHOUT ROWID;
CREATE TABLE invites (
	org TEXT NOT NULL REFERENCES orgs ON DELETE CASCADE, email TEXT NOT NULL, id TEXT NOT NULL,
	role TEXT NOT NULL, hash BLOB NOT NULL, created INTEGER NOT NULL, PRIMARY KEY (org, email)
) WITHOUT ROWID;
CREATE TABLE groups (
	org TEXT NOT NULL REFERENCES orgs ON DELETE CASCADE, name TEXT NOT NULL, id TEXT NOT NULL UNIQUE,
	locations TEXT NOT NULL, protected INTEGER NOT NULL DEFAULT 0,
	epoch INTEGER NOT NULL, created INTEGER NOT NULL, PRIMARY KEY (org, name)
) WITHOUT ROWID;
CREATE TABLE databases (
	name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, org TEXT NOT NULL, grp TEXT NOT NULL, state INTEGER NOT NULL,
	parent TEXT NOT NULL DEFAULT '', forked_at INTEGER NOT NULL DEFAULT 0,
	created INTEGER NOT NULL, expires INTEGER NOT NULL DEFAULT 0, idle INTEGER NOT NULL DEFAULT 0,
	size_limit INTEGER NOT NULL DEFAULT 0, block_reads INTEGER NOT NULL DEFAULT 0, block_writes INTEGER NOT NULL DEFAULT 0,
	allow_attach INTEGER NOT NULL DEFAULT 0, protected INTEGER NOT NULL DEFAULT 0,
	epoch INTEGER NOT NULL, rotated INTEGER NOT NULL DEFAULT 0,
	FOREIGN KEY (org, grp) REFERENCES groups (org, name)
) WITHOUT ROWID;
CREATE INDEX databases_group ON databases (org, grp, name);
CREATE INDEX databases_expires ON databases (expires) WHERE expires > 0;
CREATE INDEX databases_idle ON databases (idle) WHERE idle > 0;
CREATE INDEX databases_unfinished ON databases (state) WHERE state > 0;
CREATE INDEX databases_parent ON databases (parent) WHERE parent > '';
CREATE TABLE api_tokens (
	id TEXT PRIMARY KEY, username TEXT NOT NULL, name TEXT NOT NULL, hash BLOB NOT NULL UNIQUE,
	created INTEGER NOT NULL, expires INTEGER NOT NULL DEFAULT 0, UNIQUE (username, name)
) WITHOUT ROWID;
CREATE TABLE audit (
	id INTEGER PRIMARY KEY, org TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL, origin TEXT NOT NULL,
	author TEXT NOT NULL, created INTEGER NOT NULL, data TEXT NOT NULL
);
CREATE INDEX audit_org ON audit (org, id);
CREATE TABLE epochs (last INTEGER NOT NULL);
INSERT INTO epochs VALUES (0);
`, `
CREATE TABLE usage (
	id TEXT NOT NULL, day INTEGER NOT NULL, org TEXT NOT NULL, grp TEXT NOT NULL,
	rows_read INTEGER NOT NULL, rows_written INTEGER NOT NULL, bytes_synced INTEGER NOT NULL,
	PRIMARY KEY (id, day, org, grp)
) WITHOUT ROWID;
CREATE INDEX usage_org ON usage (org, day);
CREATE INDEX usage_day ON usage (day);
`, `
ALTER TABLE databases ADD COLUMN rate_limit INTEGER NOT NULL DEFAULT 0;
`, `
ALTER TABLE databases ADD COLUMN on_expiry TEXT NOT NULL DEFAULT '';
`, `
ALTER TABLE api_tokens ADD COLUMN org TEXT REFERENCES orgs ON DELETE CASCADE;
CREATE INDEX api_tokens_org ON api_tokens (org);
`, `
ALTER TABLE groups ADD COLUMN rotated INTEGER NOT NULL DEFAULT 0;
`}

// Store is what the server knows of its databases beside their contents:
// organisations and their members, groups, attributes of databases, API tokens
// and the audit log. It is one SQLite file. A write that has returned is on the
// disk; writes that wait for each other share a sync. It is safe for concurrent
// use, and the file may be used by other processes.
type Store struct {
	now     func() time.Time
	queue   chan *pending
	closing chan struct{}
	closed  chan struct{}
	once    sync.Once

	mu     sync.Mutex // guards reader
	reader *sqlite.Conn

	policies policies
	watcher  atomic.Pointer[func(names []string)]
}

// Watch has fn called after writes that change policies, with the databases'
// names, AnyDatabase for all. It is called before the write returns, and must not
// write itself.
func (s *Store) Watch(fn func(names []string)) { s.watcher.Store(&fn) }

// pending is a write that waits to be made.
type pending struct {
	fn   func(*tx) error
	note *Note // of the action that it is, or nil
	done chan error
}

// tx is what a write sees: the connection, and which databases' policies it
// changes.
type tx struct {
	*sqlite.Conn
	now     func() time.Time
	touched []string

	note  *Note // of the write that is being made, or nil
	noted bool  // it was added to the audit log
}

// OpenStore opens the catalog of a data directory, and makes it if there is
// none. now is the clock; nil is time.Now.
func OpenStore(dir string, now func() time.Time) (*Store, error) {
	if now == nil {
		now = time.Now
	}
	path := filepath.Join(dir, storeFile)
	// Nobody else's, and so made before SQLite does. A file that is there isn't
	// touched: closing it would drop the locks that this process has on it.
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err == nil {
		_ = f.Close() // nothing was written
	}
	w, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return nil, fmt.Errorf("catalog: open %s: %w", path, err)
	}
	if err := migrate(w); err != nil {
		return nil, errors.Join(fmt.Errorf("catalog: open %s: %w", path, err), w.Close())
	}
	r, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("catalog: open %s: %w", path, err), w.Close())
	}
	s := &Store{
		now: now, queue: make(chan *pending, maxBatch), closing: make(chan struct{}), closed: make(chan struct{}), reader: r,
	}
	go s.run(w)
	return s, nil
}

func migrate(c *sqlite.Conn) error {
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	has, err := c.QueryInt("PRAGMA user_version")
	if err == nil && has > int64(len(migrations)) {
		err = fmt.Errorf("it is of version %d, and this program knows %d: use the newer program", has, len(migrations))
	}
	if err == nil && has < int64(len(migrations)) {
		for _, m := range migrations[has:] {
			if err = c.Exec(m); err != nil {
				break
			}
		}
		if err == nil {
			err = c.Exec(fmt.Sprintf("PRAGMA user_version=%d", len(migrations)))
		}
	}
	if err != nil {
		return errors.Join(err, c.Exec("ROLLBACK"))
	}
	return c.Exec("COMMIT")
}

// Close makes the writes that wait and closes the file. It is safe to call
// twice.
func (s *Store) Close() error {
	s.once.Do(func() { close(s.closing) })
	<-s.closed
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == nil {
		return nil
	}
	err := s.reader.Close()
	s.reader = nil
	return err
}

// update runs fn in a transaction and returns when it is durable. An error of fn
// undoes what it did.
func (s *Store) update(ctx context.Context, fn func(*tx) error) error {
	p := &pending{fn: fn, note: noteOf(ctx), done: make(chan error, 1)}
	select {
	case <-s.closing:
		return ErrClosed
	default:
	}
	select {
	case s.queue <- p:
	case <-s.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-p.done:
		return err
	case <-s.closed:
	}
	select {
	case err := <-p.done:
		return err
	default:
		return ErrClosed
	}
}

// run makes the writes until Close.
func (s *Store) run(c *sqlite.Conn) {
	defer close(s.closed)
	defer func() { _ = c.Close() }() // what was answered is on the disk
	for {
		select {
		case p := <-s.queue:
			s.batch(c, p)
		case <-s.closing:
			for len(s.queue) > 0 {
				s.batch(c, <-s.queue)
			}
			return
		}
	}
}

// batch makes a write, and those that wait behind it.
func (s *Store) batch(c *sqlite.Conn, first *pending) {
	all := []*pending{first}
	for len(all) < maxBatch && len(s.queue) > 0 {
		all = append(all, <-s.queue)
	}
	errs, noted := make([]error, len(all)), make([]bool, len(all))
	t := &tx{Conn: c, now: s.now}
	err := c.Exec("BEGIN IMMEDIATE")
	if err == nil {
		for i, p := range all {
			noted[i], errs[i] = t.try(p)
		}
		if err = c.Exec("COMMIT"); err != nil && !c.AutoCommit() {
			err = errors.Join(err, c.Exec("ROLLBACK"))
		}
	}
	s.policies.forget(t.touched)
	if fn := s.watcher.Load(); fn != nil && len(t.touched) > 0 {
		(*fn)(t.touched)
	}
	for i, p := range all {
		if err != nil && errs[i] == nil {
			errs[i] = fmt.Errorf("catalog: write: %w", err)
		}
		if noted[i] && errs[i] == nil {
			p.note.written = true
		}
		p.done <- errs[i]
	}
}

// try makes one write so that its failure is its own, and tells whether its
// note was added to the audit log.
func (t *tx) try(p *pending) (noted bool, err error) {
	if err := t.Exec("SAVEPOINT one"); err != nil {
		return false, err
	}
	t.note, t.noted = p.note, false
	err = p.fn(t)
	if err == nil {
		err = t.writeNote()
	}
	if err != nil {
		return false, errors.Join(err, t.Exec("ROLLBACK TO one; RELEASE one"))
	}
	return t.noted, t.Exec("RELEASE one")
}

// view runs fn on what is committed.
func (s *Store) view(fn func(*sqlite.Conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == nil {
		return ErrClosed
	}
	return fn(s.reader)
}

// Still runs fn while nothing is written. What it reads is durable.
func (s *Store) Still(ctx context.Context, fn func() error) error {
	return s.update(ctx, func(*tx) error { return fn() })
}

// Backup writes a copy of the catalog into a directory.
func (s *Store) Backup(dir string) error {
	dst, err := sqlite.Open(filepath.Join(dir, storeFile), sqlite.Options{NoWAL: true})
	if err != nil {
		return fmt.Errorf("catalog: backup: %w", err)
	}
	err = s.view(func(c *sqlite.Conn) error { return c.BackupTo(dst) })
	if err = errors.Join(err, dst.Close()); err != nil {
		return fmt.Errorf("catalog: backup: %w", err)
	}
	return nil
}

// nextEpoch returns a number that no token has carried yet.
func (t *tx) nextEpoch() (int64, error) {
	return t.QueryInt("UPDATE epochs SET last = last + 1 RETURNING last")
}

// rows calls row for each row of a query.
func rows(c *sqlite.Conn, sql string, row func(*sqlite.Stmt), args ...any) error {
	st, err := c.Cached(sql)
	if err != nil {
		return err
	}
	defer st.Done()
	if err := st.BindArgs(values(args)...); err != nil {
		return err
	}
	for {
		more, err := st.Step()
		if err != nil || !more {
			return err
		}
		row(st)
	}
}

// list returns what scan makes of each row of a query on what is committed.
func list[T any](s *Store, scan func(*sqlite.Stmt) T, sql string, args ...any) (all []T, err error) {
	err = s.view(func(c *sqlite.Conn) error {
		return rows(c, sql, func(st *sqlite.Stmt) { all = append(all, scan(st)) }, args...)
	})
	return all, err
}

// exec runs a statement and returns how many rows it changed.
func exec(c *sqlite.Conn, sql string, args ...any) (int64, error) {
	if err := c.ExecArgs(sql, values(args)...); err != nil {
		return 0, err
	}
	return c.Changes(), nil
}

// values converts what the catalog stores.
func values(args []any) []sqlite.Value {
	vs := make([]sqlite.Value, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case string:
			vs[i] = sqlite.Text(a)
		case int64:
			vs[i] = sqlite.Int(a)
		case int:
			vs[i] = sqlite.Int(int64(a))
		case bool:
			if a {
				vs[i] = sqlite.Int(1)
			} else {
				vs[i] = sqlite.Int(0)
			}
		case []byte:
			vs[i] = sqlite.Blob(a)
		case time.Time:
			vs[i] = sqlite.Int(millis(a))
		case time.Duration:
			vs[i] = sqlite.Int(a.Milliseconds())
		default:
			panic(fmt.Sprintf("catalog: %T is no value", a))
		}
	}
	return vs
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
