package agentdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/agentdb/agentdb/internal/replica"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// DB is an open database. It is safe for use by many goroutines. Close it.
type DB struct {
	path    string // absolute
	opts    Options
	attach  func(*sqlite.Conn) (tracker, error) // nil: nothing is captured
	lock    writeLock                           // held by whoever writes, on writer or on a connection of sqlDB
	readers *readerPool
	replica *replica.Replica // nil: not synced

	writer *conn // guarded by lock

	mu      sync.Mutex // guards the fields below
	closing bool
	closed  chan struct{} // closed when Close is through
	err     error         // of Close; read after closed
	sqlDB   *sql.DB       // nil until asked for
}

// Result says what a statement did.
type Result struct {
	// LastInsertID is the row id of the last row that an INSERT put in, or 0.
	LastInsertID int64
	// RowsAffected is the number of rows that the statement itself inserted, updated or deleted.
	RowsAffected int64
}

// Open opens the database file at path, and creates it if it doesn't exist.
// It never needs the network. With nil options the file is an ordinary SQLite
// database: no table is added, nothing is captured.
func Open(ctx context.Context, path string, o *Options) (*DB, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if opts.URL != "" {
		return openSynced(ctx, path, opts)
	}
	return openLocal(ctx, path, opts, nil)
}

// newDB makes a DB that has no connection yet.
func newDB(path string, opts Options) (*DB, error) {
	if path == "" || path == ":memory:" || strings.HasPrefix(path, "file:") {
		return nil, fmt.Errorf("agentdb: open %q: a plain path to a file is wanted; for a throw-away database take one in a temporary directory", path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("agentdb: open %s: %w", path, err)
	}
	db := &DB{path: abs, opts: opts, closed: make(chan struct{})}
	db.readers = newReaderPool(opts.Readers, func(ctx context.Context) (*conn, error) {
		c, err := openConnRetry(ctx, db.path, &db.opts, true, nil)
		if err == nil && db.replica != nil {
			err = replica.AllowGuarded(c.raw)
		}
		return c, err
	})
	return db, nil
}

// openLocal opens a database whose write-capable connections are handed to attach, if it isn't nil, before anything is prepared on them.
func openLocal(ctx context.Context, path string, opts Options, attach func(*DB, *sqlite.Conn) (tracker, error)) (*DB, error) {
	if ctx.Err() != nil {
		return nil, ctxError(ctx)
	}
	db, err := newDB(path, opts)
	if err != nil {
		return nil, err
	}
	if attach != nil {
		db.attach = func(c *sqlite.Conn) (tracker, error) { return attach(db, c) }
	}
	if db.writer, err = db.openWriter(ctx); err != nil {
		return nil, err
	}
	return db, nil
}

// openWriter opens a connection that can write.
func (db *DB) openWriter(ctx context.Context) (*conn, error) {
	return openConnRetry(ctx, db.path, &db.opts, false, db.attach)
}

// Close waits for the calls, transactions and loops that are running, and
// closes the file. Later calls fail with ErrClosed. It may be called twice,
// but not from within a transaction's function or a loop over Iter.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closing {
		db.mu.Unlock()
		<-db.closed
		return db.err
	}
	db.closing = true
	sqlDB := db.sqlDB
	db.mu.Unlock()

	if db.replica != nil {
		db.replica.Close()
	}
	if sqlDB != nil {
		db.err = sqlDB.Close()
	}
	db.readers.close()
	db.lock.shut()
	// The writer comes last: closing it checkpoints the file and removes the WAL.
	if db.writer != nil {
		if err := db.writer.close(); err != nil {
			db.err = fmt.Errorf("agentdb: close: %w", fromEngine(context.Background(), err, ""))
		}
	}
	close(db.closed)
	return db.err
}

// Exec runs one or more statements that return no rows. Without arguments, or
// with as many as all statements together have parameters, text may be a whole
// script: its statements are committed one by one unless it has its own BEGIN
// and COMMIT, and the Result is that of the last one that wrote.
// Arguments may be named with sql.Named; the others fill what is left in order.
func (db *DB) Exec(ctx context.Context, text string, args ...any) (Result, error) {
	if err := db.lock.lock(ctx); err != nil {
		return Result{}, err
	}
	defer db.lock.unlock()
	res, err := db.writer.exec(ctx, text, args)
	if db.writer.inTx {
		return res, db.endStray(err)
	}
	return res, err
}

// endStray rolls back a transaction that a script has begun and not ended.
func (db *DB) endStray(err error) error {
	db.writer.rollback()
	if err == nil {
		err = errors.New("agentdb: the text begins a transaction and doesn't end it; use Update")
	}
	return err
}
