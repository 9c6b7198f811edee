package agentdb

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"unsafe"
)

// Querier is what Get, All and Iter read from: a *DB, a *Tx or a *Stmt.
type Querier interface {
	// one reads the first row into dst, which points to a typ, or fails with ErrNoRows.
	one(ctx context.Context, text string, args []any, typ reflect.Type, dst unsafe.Pointer) error
	// each hands the rows, one after the other, to rows.
	each(ctx context.Context, text string, args []any, typ reflect.Type, rows rowSink) error
}

// rowSink takes the rows of a query.
type rowSink interface {
	slot() unsafe.Pointer // where the next row is to be put: a typ
	took() bool           // the row is there; false to have no more
	streams() bool        // took runs code of the user
}

var (
	// errBuffer says that a statement writes, so that its rows can't be streamed: it is run to its end first.
	errBuffer = errors.New("agentdb: the rows of this statement can't be streamed")
	// errToWriter says that a statement writes, and was given to a reader outside of a transaction.
	errToWriter     = errors.New("agentdb: the statement has to go to the writer")
	errControlQuery = errors.New("agentdb: a statement that begins or ends a transaction returns no rows")
)

// Get returns the first row, or an error that is ErrNoRows and sql.ErrNoRows. T
// is a struct whose fields are found by column name, a type for a single
// column, map[string]any or []any; the package comment has the rules. A
// statement that writes, such as INSERT … RETURNING, is run to its end.
func Get[T any](ctx context.Context, q Querier, text string, args ...any) (T, error) {
	row := new(T)
	err := q.one(ctx, text, args, reflect.TypeFor[T](), unsafe.Pointer(row))
	if err != nil {
		var zero T
		return zero, err
	}
	return *row, nil
}

// All returns all rows. Without any it returns nil.
func All[T any](ctx context.Context, q Querier, text string, args ...any) ([]T, error) {
	var rows allRows[T]
	if err := q.each(ctx, text, args, reflect.TypeFor[T](), &rows); err != nil {
		return nil, err
	}
	return rows.list, nil
}

// Iter returns the rows one by one while they are read. An error is the last
// thing it yields. The loop may stop at any time, and may use the database:
// from a DB, the rows are those of the moment the loop began. Each range over
// the result runs the query anew.
func Iter[T any](ctx context.Context, q Querier, text string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		rows := iterRows[T]{yield: yield}
		err := q.each(ctx, text, args, reflect.TypeFor[T](), &rows)
		if errors.Is(err, errBuffer) {
			err = rows.buffered(ctx, q, text, args)
		}
		if err != nil && !rows.stopped {
			var zero T
			yield(zero, err)
		}
	}
}

// allRows collects rows.
type allRows[T any] struct{ list []T }

func (r *allRows[T]) slot() unsafe.Pointer {
	var zero T
	r.list = append(r.list, zero)
	return unsafe.Pointer(&r.list[len(r.list)-1])
}

func (r *allRows[T]) took() bool    { return true }
func (r *allRows[T]) streams() bool { return false }

// iterRows yields rows.
type iterRows[T any] struct {
	yield   func(T, error) bool
	row     T
	stopped bool
}

func (r *iterRows[T]) slot() unsafe.Pointer {
	var zero T
	r.row = zero
	return unsafe.Pointer(&r.row)
}

func (r *iterRows[T]) took() bool {
	r.stopped = !r.yield(r.row, nil)
	return !r.stopped
}

func (r *iterRows[T]) streams() bool { return true }

// buffered yields the rows of a statement that was run to its end before.
func (r *iterRows[T]) buffered(ctx context.Context, q Querier, text string, args []any) error {
	list, err := All[T](ctx, q, text, args...)
	for _, row := range list {
		if !r.yield(row, nil) {
			r.stopped = true
			break
		}
	}
	return err
}

func (db *DB) one(ctx context.Context, text string, args []any, typ reflect.Type, dst unsafe.Pointer) error {
	err := db.oneRead(ctx, text, args, typ, dst)
	if !errors.Is(err, errToWriter) {
		return err
	}
	if err := db.lock.lock(ctx); err != nil {
		return err
	}
	defer db.lock.unlock()
	return db.writer.one(ctx, text, args, typ, dst)
}

func (db *DB) oneRead(ctx context.Context, text string, args []any, typ reflect.Type, dst unsafe.Pointer) error {
	c, err := db.readers.get(ctx)
	if err != nil {
		return err
	}
	defer db.readers.put(c)
	return c.one(ctx, text, args, typ, dst)
}

func (db *DB) each(ctx context.Context, text string, args []any, typ reflect.Type, rows rowSink) error {
	err := db.eachRead(ctx, text, args, typ, rows)
	if !errors.Is(err, errToWriter) {
		return err
	}
	if rows.streams() {
		return errBuffer
	}
	if err := db.lock.lock(ctx); err != nil {
		return err
	}
	defer db.lock.unlock()
	return db.writer.each(ctx, text, args, typ, rows, nil)
}

func (db *DB) eachRead(ctx context.Context, text string, args []any, typ reflect.Type, rows rowSink) error {
	c, err := db.readers.get(ctx)
	if err != nil {
		return err
	}
	defer db.readers.put(c)
	return c.each(ctx, text, args, typ, rows, nil)
}

func (tx *Tx) one(ctx context.Context, text string, args []any, typ reflect.Type, dst unsafe.Pointer) error {
	c, err := tx.use(ctx)
	defer tx.mu.Unlock()
	if err != nil {
		return err
	}
	return tx.failed(readOnlyHere(c.one(ctx, text, args, typ, dst)))
}

func (tx *Tx) each(ctx context.Context, text string, args []any, typ reflect.Type, rows rowSink) error {
	c, err := tx.use(ctx)
	defer tx.mu.Unlock()
	if err != nil {
		return err
	}
	return tx.failed(readOnlyHere(c.each(ctx, text, args, typ, rows, tx)))
}

// readOnlyHere says that there is no writer to go to from View.
func readOnlyHere(err error) error {
	if errors.Is(err, errToWriter) {
		return ErrReadOnly
	}
	return err
}

func (s *Stmt) one(ctx context.Context, text string, args []any, typ reflect.Type, dst unsafe.Pointer) error {
	q, err := s.querier(text)
	if err != nil {
		return err
	}
	return q.one(ctx, s.text, args, typ, dst)
}

func (s *Stmt) each(ctx context.Context, text string, args []any, typ reflect.Type, rows rowSink) error {
	q, err := s.querier(text)
	if err != nil {
		return err
	}
	return q.each(ctx, s.text, args, typ, rows)
}

// querier returns what the statement belongs to. The text given along with a Stmt must be empty, or its own.
func (s *Stmt) querier(text string) (Querier, error) {
	if s.closed.Load() {
		return nil, errStmtClosed
	}
	if text != "" && text != s.text {
		return nil, errors.New("agentdb: a Stmt runs its own text; pass \"\" with it")
	}
	if s.tx != nil {
		return s.tx, nil
	}
	return s.db, nil
}
