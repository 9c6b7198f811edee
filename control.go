package agentdb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// The statements that begin and end transactions. They are prepared once per connection.
const (
	ctlBegin = iota
	ctlBeginImmediate
	ctlPin
	ctlCommit
	ctlRollback
	numControls
)

var controlText = [numControls]string{
	ctlBegin:          "BEGIN",
	ctlBeginImmediate: "BEGIN IMMEDIATE",
	ctlPin:            "SELECT 1 FROM sqlite_schema LIMIT 1", // the first read fixes the snapshot
	ctlCommit:         "COMMIT",
	ctlRollback:       "ROLLBACK",
}

var (
	errManaged   = errors.New("agentdb: this transaction ends when its function returns, not by SQL")
	errNoTx      = errors.New("agentdb: there is no transaction to end")
	errNested    = errors.New("agentdb: a transaction is open already; use SAVEPOINT")
	errRolledOut = errors.New("agentdb: SQLite has rolled the transaction back")
)

// runControl runs one of the statements above.
func (c *conn) runControl(which int) error {
	st := c.ctl[which]
	if st == nil {
		var err error
		if st, _, err = c.raw.Prepare(controlText[which]); err != nil {
			return err
		}
		c.ctl[which] = st
	}
	_, err := st.Step()
	_ = st.Reset()
	return err
}

// begin begins a transaction: ctlBeginImmediate for one that writes, ctlBegin for a snapshot.
func (c *conn) begin(ctx context.Context, which int) error {
	var pat patience
	for {
		err := c.runControl(which)
		if err == nil && which == ctlBegin {
			if err = c.runControl(ctlPin); err != nil {
				_ = c.runControl(ctlRollback)
			}
		}
		if err == nil {
			break
		}
		if err := pat.again(ctx, err, c.timeout); err != nil {
			return fromEngine(ctx, err, controlText[which])
		}
	}
	c.inTx = true
	if which == ctlBeginImmediate && c.trk != nil {
		c.tracking = true
		if err := c.trk.Begin(); err != nil {
			c.rollback()
			return err
		}
	}
	return nil
}

// commit ends the transaction. If that fails it is rolled back.
func (c *conn) commit() error {
	if !c.inTx {
		return errRolledOut
	}
	tracking := c.tracking
	if tracking {
		if err := c.trk.BeforeCommit(); err != nil {
			c.rollback()
			return err
		}
	}
	if err := c.runControl(ctlCommit); err != nil {
		c.rollback()
		return fromEngine(context.Background(), err, "COMMIT")
	}
	c.ended()
	if tracking {
		c.trk.AfterCommit()
	}
	return nil
}

// rollback ends the transaction without a trace. It can't fail: what SQLite can't roll back it has rolled back.
func (c *conn) rollback() {
	if !c.inTx {
		return
	}
	if !c.raw.AutoCommit() {
		_ = c.runControl(ctlRollback)
	}
	tracking := c.tracking
	c.ended()
	if tracking {
		c.trk.Rollback()
	}
}

// ended forgets the transaction.
func (c *conn) ended() {
	c.inTx, c.tracking = false, false
	c.savedOuter = false
	c.saves = c.saves[:0]
}

// noticeRollback looks, after an error, whether SQLite has ended the transaction by itself.
func (c *conn) noticeRollback() {
	if c.inTx && c.raw.AutoCommit() {
		c.rollback()
	}
}

// control runs a BEGIN, COMMIT, SAVEPOINT … that came as SQL.
func (c *conn) control(ctx context.Context, p *prepared) error {
	switch p.verb {
	case verbBegin:
		if c.managed || c.inTx {
			return errNested
		}
		return c.begin(ctx, ctlBeginImmediate)
	case verbCommit, verbRollback:
		if c.managed {
			return errManaged
		}
		if !c.inTx {
			return errNoTx
		}
		if p.verb == verbRollback {
			c.rollback()
			return nil
		}
		return c.commit()
	default:
		return c.savepoint(ctx, p)
	}
}

// savepoint runs a SAVEPOINT, RELEASE or ROLLBACK TO. An outermost SAVEPOINT
// begins a transaction that writes, so that it doesn't fail halfway because somebody else has written.
func (c *conn) savepoint(ctx context.Context, p *prepared) error {
	switch p.verb {
	case verbSavepoint:
		return c.save(ctx, p)
	case verbRelease:
		return c.release(p)
	default:
		return c.rollbackTo(p)
	}
}

func (c *conn) runSavepoint(st *sqlite.Stmt) error {
	_, err := st.Step()
	_ = st.Reset()
	if err != nil {
		c.noticeRollback()
	}
	return err
}

func (c *conn) save(ctx context.Context, p *prepared) error {
	outer := !c.inTx
	if outer {
		if err := c.begin(ctx, ctlBeginImmediate); err != nil {
			return err
		}
		c.savedOuter = true
	}
	if err := c.runSavepoint(p.st); err != nil {
		if outer {
			c.rollback()
		}
		return err
	}
	c.saves = append(c.saves, p.name)
	if c.tracking {
		c.trk.Savepoint(p.name)
	}
	return nil
}

// rollbackTo asks the tracker first: what it refuses must not have happened.
func (c *conn) rollbackTo(p *prepared) error {
	i := c.findSave(p.name)
	if i >= 0 && c.tracking {
		if err := c.trk.RollbackTo(c.saves[i]); err != nil {
			return err
		}
	}
	if err := c.runSavepoint(p.st); err != nil {
		return err
	}
	if i >= 0 {
		c.saves = c.saves[:i+1]
	}
	return nil
}

// release forgets a savepoint and those inside it. With the last of a transaction that a SAVEPOINT began, it commits.
func (c *conn) release(p *prepared) error {
	if err := c.runSavepoint(p.st); err != nil {
		return err
	}
	if i := c.findSave(p.name); i >= 0 {
		name := c.saves[i]
		c.saves = c.saves[:i]
		if c.tracking {
			c.trk.Release(name)
		}
	}
	if c.savedOuter && len(c.saves) == 0 {
		return c.commit()
	}
	return nil
}

func (c *conn) findSave(name string) int {
	for i := len(c.saves) - 1; i >= 0; i-- {
		if strings.EqualFold(c.saves[i], name) {
			return i
		}
	}
	return -1
}

// dropLive ends statements that are still streaming, because a transaction can't end with them open.
func (c *conn) dropLive() {
	for _, p := range c.live {
		c.done(p, keptBindings+1)
	}
	c.live = c.live[:0]
}

// endLive ends one streaming statement.
func (c *conn) endLive(p *prepared) {
	for i, l := range c.live {
		if l == p {
			c.live = append(c.live[:i], c.live[i+1:]...)
			c.done(p, keptBindings+1)
			return
		}
	}
}

// lost is the error of a transaction that SQLite has rolled back because of cause.
func lost(cause error) error {
	return fmt.Errorf("%w: %w", errRolledOut, cause)
}
