package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// RefusedError says that the server refuses a pending change, whatever it is
// sent with: it is more than the server's limits allow. Those behind it wait.
type RefusedError struct {
	Change uint64 // its number
	Size   int    // bytes, as sent
	Err    error  // what the server said
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("transaction %d of this file, %d bytes: %v", e.Change, e.Size, e.Err)
}

// Unwrap returns what the server said.
func (e *RefusedError) Unwrap() error { return e.Err }

// errLess: the next request asks for less.
var errLess = errors.New("less at a time")

// tooMuch makes the next request smaller, after the server found this one too
// much, and returns errLess; or another error if there is nothing to leave out.
func (x *exchange) tooMuch(req *wire.Request, err error) error {
	n := len(x.sent)
	switch {
	case n > 1:
		x.o.upTo = x.sent[n/2-1].id
	case n == 1 && req.Strict != nil:
		x.o.upTo = x.sent[0].id
	case n == 1:
		return &RefusedError{Change: x.sent[0].id, Size: len(req.Changes[0].Body), Err: err}
	default:
		return err
	}
	return errLess
}

// dropping is a pending change that is to be given up.
type dropping struct {
	id   uint64
	done bool // it was, or it is not pending any more
}

// Drop gives up a pending change: it is undone, and the conflicts' table says
// what it had wanted to write. Later changes are redone without it. A copy of
// the file as it was is kept beside it. The server must be reached.
func (r *Replica) Drop(ctx context.Context, id uint64) (kept string, err error) {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	if kept, err = r.copyPending(ctx, id); err != nil {
		return "", err
	}
	d := &dropping{id: id}
	if _, _, err = r.run(ctx, options{pull: true, drop: d}); err == nil && !d.done {
		err = fmt.Errorf("transaction %d can't be undone here: the unsent ones change the schema", id)
	}
	return kept, err
}

// copyPending copies the file if the change is pending.
func (r *Replica) copyPending(ctx context.Context, id uint64) (kept string, err error) {
	unlock, err := r.cfg.Lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	c, err := sqlite.Open(r.cfg.Path, sqlite.Options{NoCreate: true, BusyTimeout: 30 * time.Second})
	if err != nil {
		return "", err
	}
	s, err := readState(c)
	if err == nil {
		var n int64
		n, err = c.QueryInt("SELECT count(*) FROM agentdb_pending WHERE id=? AND id>?", sqlite.Int(int64(id)), sqlite.Int(int64(s.acked)))
		if err == nil && n == 0 {
			err = fmt.Errorf("transaction %d is not waiting to be sent", id)
		}
	}
	if err = errors.Join(err, c.Close()); err != nil {
		return "", err
	}
	return r.copyFile("dropped")
}

// dropsAny reports whether a change after acked is to be given up.
func (x *exchange) dropsAny(acked uint64) bool {
	d := x.o.drop
	if d == nil {
		return false
	}
	d.done = d.id <= acked
	return !d.done
}

// giveUp replaces a change, undone, by one that records it: all that refers to
// its rows refers to nothing. It has a nonce of its own, as no change is sent
// under the number and nonce of another.
func (x *exchange) giveUp(c *sqlite.Conn, k *change.Capture, e *change.Executor, m *mine) error {
	var lost []*change.Conflict
	for i := range m.ch.Intents() {
		e.Skip(i, "given up: the server did not take the transaction")
	}
	e.Conflict = func(l *change.Conflict) error {
		l.Kind = "refused"
		lost = append(lost, l)
		return nil
	}
	_, err := e.Run(m.ch.IntentsOnly())
	e.Conflict = nil
	if err != nil {
		return err
	}
	rec, err := k.Records(lost, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), x.s.replica.String(), m.id)
	if err != nil {
		return err
	}
	if _, err := e.Run(rec); err != nil {
		return err
	}
	eff, err := k.Finish()
	if err != nil {
		return err
	}
	k.Suspend()
	defer k.Resume()
	now := change.Combine(rec, eff)
	if err := updatePending(c, m.id, now.Append(nil, change.ViewFull)); err != nil {
		return err
	}
	x.o.drop.done = true
	return renewChain(c, m.id)
}

// renewChain gives a change another nonce, and it and those behind it the chain
// hashes that follow.
func renewChain(c *sqlite.Conn, id uint64) error {
	rows, _, err := readPending(c, id-1, 0)
	if err != nil || len(rows) == 0 {
		return err
	}
	s, err := readState(c)
	if err != nil {
		return err
	}
	chain := s.chain
	if id-1 != s.acked {
		before, found, err := chainAt(c, id-1)
		if err != nil || !found {
			return errors.Join(err, fmt.Errorf("transaction %d is missing", id-1))
		}
		chain = before
	}
	rows[0].nonce = newNonce()
	for _, p := range rows {
		chain = wire.ChainNext(chain, p.nonce)
		err := c.ExecArgs("UPDATE agentdb_pending SET nonce=?, chain=? WHERE id=?",
			sqlite.Int(int64(p.nonce)), sqlite.Int(int64(chain)), sqlite.Int(int64(p.id)))
		if err != nil {
			return err
		}
	}
	return nil
}
