package agentdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// conn is one connection to the file. It belongs to one goroutine at a time:
// the writer's to the holder of the write lock, a reader's to whoever took it from the pool.
type conn struct {
	raw     *sqlite.Conn
	trk     tracker // nil: nothing is captured
	cache   stmtCache
	ctl     [numControls]*sqlite.Stmt // prepared when first wanted
	timeout time.Duration             // for the locks of other processes

	readOnly   bool // refuse statements that write
	inTx       bool // between BEGIN and COMMIT or ROLLBACK
	tracking   bool // trk has seen its Begin, and not yet its end
	managed    bool // the transaction is ended by a function's return, not by SQL
	saves      []string
	savedOuter bool            // the transaction was begun by a SAVEPOINT and ends with its RELEASE
	watched    <-chan struct{} // Done of the context that is watched for the whole transaction
	live       []*prepared     // streaming at the moment
}

// engineBusy is how long the engine itself waits for a lock. It can't be
// cancelled, so it is short; the longer wait is ours.
const engineBusy = 20 * time.Millisecond

// openConn opens a connection; attach may be nil.
func openConn(path string, o *Options, readOnly bool, attach func(*sqlite.Conn) (tracker, error)) (*conn, error) {
	raw, err := sqlite.Open(path, sqlite.Options{
		ReadOnly:    readOnly,
		BusyTimeout: engineBusy,
		Synchronous: o.Synchronous,
		CacheKB:     o.CacheKB,
	})
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw, readOnly: readOnly, timeout: o.BusyTimeout}
	c.cache.init()
	if attach != nil {
		if c.trk, err = attach(raw); err != nil {
			_ = raw.Close()
			return nil, err
		}
	}
	return c, nil
}

// openConnRetry opens a connection, waiting for other processes that hold the file's lock.
func openConnRetry(ctx context.Context, path string, o *Options, readOnly bool, attach func(*sqlite.Conn) (tracker, error)) (*conn, error) {
	var p patience
	for {
		c, err := openConn(path, o, readOnly, attach)
		if err == nil {
			return c, nil
		}
		if err := p.again(ctx, err, o.BusyTimeout); err != nil {
			return nil, fmt.Errorf("agentdb: open %s: %w", path, fromEngine(ctx, err, ""))
		}
	}
}

// close ends what is still open. It is called by the last owner.
func (c *conn) close() error {
	c.dropLive()
	if c.inTx {
		c.rollback()
	}
	c.cache.clear()
	for i, st := range c.ctl {
		if st != nil {
			st.Finalize()
			c.ctl[i] = nil
		}
	}
	return c.raw.Close()
}

// exec runs a text with one or more statements.
func (c *conn) exec(ctx context.Context, text string, args []any) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, ctxError(ctx)
	}
	p, err := c.prepareRetry(ctx, text)
	if err != nil {
		if errors.Is(err, errScript) {
			return c.execScript(ctx, text, args)
		}
		return Result{}, fromEngine(ctx, err, text)
	}
	if p == nil {
		if len(args) > 0 {
			return Result{}, countError(len(args), 0)
		}
		return Result{}, nil
	}
	return c.execPrepared(ctx, p, args)
}

// execPrepared runs one statement to its end and gives it back.
func (c *conn) execPrepared(ctx context.Context, p *prepared, args []any) (Result, error) {
	bound, err := bindArgs(p.st, p.params, args)
	if err != nil {
		c.done(p, keptBindings+1)
		return Result{}, fromEngine(ctx, err, p.text)
	}
	p.busy = true
	res, err := c.run(ctx, p, nil)
	c.done(p, bound)
	if err != nil {
		return Result{}, fromEngine(ctx, err, p.text)
	}
	return res, nil
}

// run runs a bound statement to its end, whatever kind it is. Each row goes to sink, if there is one.
func (c *conn) run(ctx context.Context, p *prepared, sink func() error) (Result, error) {
	w := c.watch(ctx)
	defer w.end()
	if p.verb.control() {
		return Result{}, c.control(ctx, p)
	}
	if !p.readOnly {
		if c.readOnly {
			return Result{}, ErrReadOnly
		}
		if c.trk != nil {
			return c.runTracked(ctx, p, sink, w)
		}
	}
	return c.runBare(ctx, p, sink)
}

// runBare runs a statement without any tracking. Outside of a transaction it is repeated while another process holds the lock.
func (c *conn) runBare(ctx context.Context, p *prepared, sink func() error) (Result, error) {
	res, rows, err := c.step(p, sink)
	if err == nil {
		return res, nil
	}
	var pat patience
	for err != nil && rows == 0 && (!c.inTx || p.readOnly) {
		if err := pat.again(ctx, err, c.timeout); err != nil {
			return Result{}, err
		}
		_ = p.st.Reset()
		res, rows, err = c.step(p, sink)
	}
	if err != nil && c.inTx {
		c.noticeRollback()
	}
	return res, err
}

// step runs a statement to its end, once.
func (c *conn) step(p *prepared, sink func() error) (res Result, rows int, err error) {
	var before int64
	if !p.readOnly {
		before = c.raw.TotalChanges()
	}
	for {
		row, err := p.st.Step()
		if err != nil {
			return res, rows, err
		}
		if !row {
			break
		}
		rows++
		if sink == nil {
			continue
		}
		if err := sink(); err != nil {
			return res, rows, err
		}
	}
	if !p.readOnly && c.raw.TotalChanges() != before {
		res.RowsAffected = c.raw.Changes()
		if res.RowsAffected > 0 && (p.verb == verbInsert || p.verb == verbOther) {
			res.LastInsertID = c.raw.LastInsertRowID()
		}
	}
	return res, rows, nil
}

// runTracked runs a statement that writes on a connection that is captured. Outside of a transaction it gets one of its own.
func (c *conn) runTracked(ctx context.Context, p *prepared, sink func() error, w *watch) (res Result, err error) {
	own := !c.inTx && p.verb != verbBare
	if own {
		if err := c.begin(ctx, ctlBeginImmediate); err != nil {
			return res, err
		}
		defer func() {
			_ = p.st.Reset()
			c.rollback() // only if sink has panicked
		}()
	}
	if err = c.trk.BeforeStmt(p.st); err == nil {
		res, _, err = c.step(p, sink)
		if aerr := c.trk.AfterStmt(p.st, err); err == nil {
			err = aerr
		}
	}
	_ = p.st.Reset() // COMMIT and ROLLBACK want it out of the way
	if err != nil {
		c.noticeRollback()
	}
	if !own {
		return res, err
	}
	w.end()
	if err == nil && ctx.Err() != nil {
		err = ctxError(ctx)
	}
	if err != nil {
		c.rollback()
		return Result{}, err
	}
	return res, c.commit()
}

// execScript runs the statements of a text one after the other. Positional arguments are used up in order, named ones are for all.
func (c *conn) execScript(ctx context.Context, text string, args []any) (last Result, err error) {
	rest := text
	for skipBlank(rest) != "" {
		st, tail, err := c.prepareRaw(rest)
		if err != nil {
			return last, fromEngine(ctx, err, rest)
		}
		if st == nil {
			rest = tail
			continue
		}
		p := newPrepared(st, rest[:len(rest)-len(tail)])
		p.uncache = true
		mine, others, err := splitArgs(st, p.params, args)
		if err != nil {
			st.Finalize()
			return last, err
		}
		res, err := c.execPrepared(ctx, p, mine)
		if err != nil {
			return last, err
		}
		if !p.readOnly && !p.verb.control() {
			last = res
		}
		rest, args = tail, others
	}
	if n := countPositional(args); n > 0 {
		return last, fmt.Errorf("agentdb: %d arguments are left after the last statement", n)
	}
	return last, nil
}
