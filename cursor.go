package agentdb

import (
	"context"
	"reflect"
	"unsafe"
)

// query finds the statement of a query and binds its arguments. A statement
// that writes is refused with errToWriter on a reader.
func (c *conn) query(ctx context.Context, text string, args []any) (p *prepared, bound int, err error) {
	if ctx.Err() != nil {
		return nil, 0, ctxError(ctx)
	}
	p, err = c.prepareRetry(ctx, text)
	if err != nil {
		return nil, 0, fromEngine(ctx, err, text)
	}
	if p == nil {
		return nil, 0, errEmpty
	}
	if p.verb.control() {
		err = errControlQuery
	} else if !p.readOnly && c.readOnly {
		err = errToWriter
	} else {
		bound, err = bindArgs(p.st, p.params, args)
	}
	if err != nil {
		c.done(p, keptBindings+1)
		return nil, 0, fromEngine(ctx, err, text)
	}
	p.busy = true
	return p, bound, nil
}

// first steps a statement that only reads to its first row. Outside of a
// transaction it waits for a lock of another process, as a recovery or a checkpoint may take one.
func (c *conn) first(ctx context.Context, p *prepared) (bool, error) {
	row, err := p.st.Step()
	var pat patience
	for err != nil {
		if err = pat.again(ctx, err, c.timeout); err != nil {
			c.noticeRollback()
			return false, fromEngine(ctx, err, p.text)
		}
		_ = p.st.Reset()
		row, err = p.st.Step()
	}
	return row, nil
}

// one reads the first row of a query into dst, a typ.
func (c *conn) one(ctx context.Context, text string, args []any, typ reflect.Type, dst unsafe.Pointer) error {
	p, bound, err := c.query(ctx, text, args)
	if err != nil {
		return err
	}
	if !p.readOnly {
		return c.oneWritten(ctx, p, bound, typ, dst)
	}
	defer c.done(p, bound)
	w := c.watch(ctx)
	defer w.end()
	row, err := c.first(ctx, p)
	if err != nil {
		return err
	}
	if !row {
		return ErrNoRows
	}
	return p.scan(typ, dst)
}

// oneWritten is one for a statement that writes: it is run to its end, whatever becomes of its rows.
func (c *conn) oneWritten(ctx context.Context, p *prepared, bound int, typ reflect.Type, dst unsafe.Pointer) error {
	defer c.done(p, bound)
	rows := 0
	_, err := c.run(ctx, p, func() error {
		if rows++; rows > 1 {
			return nil
		}
		return p.scan(typ, dst)
	})
	if err != nil {
		return fromEngine(ctx, err, p.text)
	}
	if rows == 0 {
		return ErrNoRows
	}
	return nil
}

// each hands all rows of a query to rows. If c is that of tx, its mutex is held, and released while the user's code runs.
func (c *conn) each(ctx context.Context, text string, args []any, typ reflect.Type, rows rowSink, tx *Tx) error {
	p, bound, err := c.query(ctx, text, args)
	if err != nil {
		return err
	}
	if !rows.streams() || !p.readOnly {
		defer c.done(p, bound)
		return c.collect(ctx, p, typ, rows)
	}
	c.live = append(c.live, p)
	k := &cursor{c: c, p: p, tx: tx}
	defer k.close()
	return k.stream(ctx, typ, rows)
}

// collect hands all rows to a sink that runs no code of the user.
func (c *conn) collect(ctx context.Context, p *prepared, typ reflect.Type, rows rowSink) error {
	if rows.streams() {
		return errBuffer
	}
	if !p.readOnly {
		_, err := c.run(ctx, p, func() error {
			return p.scan(typ, rows.slot())
		})
		return fromEngine(ctx, err, p.text)
	}
	w := c.watch(ctx)
	defer w.end()
	row, err := c.first(ctx, p)
	if err != nil || !row {
		return err
	}
	plan, err := p.planFor(typ)
	if err != nil {
		return err
	}
	for row {
		if err := plan.scan(p.st, rows.slot()); err != nil {
			return err
		}
		if row, err = p.st.Step(); err != nil {
			return fromEngine(ctx, err, p.text)
		}
	}
	return nil
}

// cursor is a statement whose rows are read while code of the user runs in between.
type cursor struct {
	c    *conn
	p    *prepared
	tx   *Tx // whose mutex is held outside of took, or nil
	over bool
}

// close ends the statement, unless the end of the transaction has done so.
func (k *cursor) close() {
	if !k.over && (k.tx == nil || !k.tx.done) {
		k.c.endLive(k.p)
	}
	k.over = true
}

func (k *cursor) stream(ctx context.Context, typ reflect.Type, rows rowSink) error {
	w := k.c.watch(ctx)
	defer w.end()
	row, err := k.c.first(ctx, k.p)
	if err != nil || !row {
		return err
	}
	plan, err := k.p.planFor(typ)
	if err != nil {
		return err
	}
	for row {
		if err := plan.scan(k.p.st, rows.slot()); err != nil {
			return err
		}
		if more, err := k.hand(ctx, rows); err != nil || !more {
			return err
		}
		if row, err = k.p.st.Step(); err != nil {
			k.c.noticeRollback()
			return fromEngine(ctx, err, k.p.text)
		}
	}
	return nil
}

// hand gives the row that was read to the user's code.
func (k *cursor) hand(ctx context.Context, rows rowSink) (more bool, err error) {
	if k.tx == nil {
		if !rows.took() {
			return false, nil
		}
		if ctx.Err() != nil {
			return false, ctxError(ctx)
		}
		return true, nil
	}
	k.tx.mu.Unlock()
	locked := false
	defer func() {
		if !locked { // the user's code has panicked
			k.tx.mu.Lock()
		}
	}()
	more = rows.took()
	k.tx.mu.Lock()
	locked = true
	switch {
	case !more:
		return false, nil
	case k.tx.done:
		return false, ErrTxDone
	case ctx.Err() != nil:
		return false, ctxError(ctx)
	case !k.busyStill():
		return false, errRolledOut
	}
	return true, nil
}

// busyStill tells whether nothing has ended the statement meanwhile.
func (k *cursor) busyStill() bool {
	for _, p := range k.c.live {
		if p == k.p {
			return true
		}
	}
	return false
}
