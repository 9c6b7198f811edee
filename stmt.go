package agentdb

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// Stmt is a prepared statement. One of a DB may be used by many goroutines and
// outlives any connection; one of a Tx ends with it. All statements are kept
// prepared by their text anyway, so that a Stmt is a matter of taste more than of speed.
//
// A Stmt is a Querier: agentdb.Get[T](ctx, stmt, "", args...) runs it.
type Stmt struct {
	db     *DB
	tx     *Tx // nil: a statement of db
	text   string
	closed atomic.Bool
}

// Prepare checks a single statement, for reading or writing, to be run many times.
func (db *DB) Prepare(ctx context.Context, text string) (*Stmt, error) {
	c, err := db.readers.get(ctx)
	if err != nil {
		return nil, err
	}
	defer db.readers.put(c)
	if err := c.check(ctx, text); err != nil {
		return nil, err
	}
	return &Stmt{db: db, text: text}, nil
}

// Prepare checks a single statement that is run in the transaction.
func (tx *Tx) Prepare(ctx context.Context, text string) (*Stmt, error) {
	c, err := tx.use(ctx)
	defer tx.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if err := c.check(ctx, text); err != nil {
		return nil, err
	}
	return &Stmt{db: tx.db, tx: tx, text: text}, nil
}

// check compiles a text that must be one statement.
func (c *conn) check(ctx context.Context, text string) error {
	if ctx.Err() != nil {
		return ctxError(ctx)
	}
	p, err := c.prepareRetry(ctx, text)
	if err != nil {
		return fromEngine(ctx, err, text)
	}
	if p == nil {
		return errEmpty
	}
	if p.uncache {
		p.st.Finalize()
	}
	return nil
}

var (
	errEmpty      = errors.New("agentdb: there is no statement in the text")
	errStmtClosed = fmt.Errorf("agentdb: the statement is closed: %w", ErrClosed)
)

// SQL returns the text of the statement.
func (s *Stmt) SQL() string { return s.text }

// Run runs the statement to its end. Rows that it may return are dropped.
func (s *Stmt) Run(ctx context.Context, args ...any) (Result, error) {
	if s.closed.Load() {
		return Result{}, errStmtClosed
	}
	if s.tx != nil {
		return s.tx.Exec(ctx, s.text, args...)
	}
	return s.db.Exec(ctx, s.text, args...)
}

// Close gives the statement up. It may be called twice.
func (s *Stmt) Close() error {
	s.closed.Store(true)
	return nil
}
