package replica

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// mine is a pending change, decoded.
type mine struct {
	pending
	ch *change.Change
}

// skips are operations that rolled a transaction back when they were redone,
// by change and operation.
type skips map[uint64][]int

// load decodes the pending changes after an id.
func load(c *sqlite.Conn, after uint64) (list []mine, undoable bool, err error) {
	rows, _, err := readPending(c, after, 0)
	if err != nil {
		return nil, false, err
	}
	var dec change.Decoder
	undoable = true
	list = make([]mine, len(rows))
	for i, p := range rows {
		ch, err := dec.Decode(p.blob)
		if err != nil {
			return nil, false, fmt.Errorf("pending change %d: %w", p.id, err)
		}
		list[i] = mine{p, ch}
		undoable = undoable && ch.Undoable()
	}
	return list, undoable, nil
}

// rebase moves the file to the answer's head: undo what is pending, apply the
// commits, redo what is still pending.
func (x *exchange) rebase(c *sqlite.Conn, k *change.Capture, resp *wire.Response, acked uint64, skip skips) (outcome, error) {
	list, undoable, err := load(c, x.s.acked)
	if err != nil {
		return done, err
	}
	if !undoable {
		return snapshot, nil
	}
	k.Suspend()
	commits, err := x.apply(c, list, resp, acked)
	if err != nil {
		return done, err
	}
	k.Resume()
	if err := k.Begin(); err != nil {
		return done, err
	}
	if err := k.Guard(); err != nil {
		return done, err
	}
	e := change.NewExecutor(k)
	for _, f := range commits {
		if f.own {
			e.Own(f.ch, f.last)
		} else {
			e.Foreign(f.ch)
		}
	}
	x.seed(e, list, resp, acked)
	if err := x.keep(c, e, list, resp, acked); err != nil {
		return done, err
	}
	return done, x.redo(c, k, e, list, acked, skip)
}

// received is a commit of an answer, decoded.
type received struct {
	own  bool
	last uint64 // of an own one: the last change in it
	ch   *change.Change
}

// apply undoes the pending changes and applies the commits.
func (x *exchange) apply(c *sqlite.Conn, list []mine, resp *wire.Response, acked uint64) (out []received, err error) {
	var seen func(*change.Event) error
	known := false // what is applied is known to watchers
	if x.r.watch.any() {
		seen = func(e *change.Event) error {
			if !known {
				x.see(c, e)
			}
			return nil
		}
	}
	a, err := change.NewApplier(c, seen)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	for i := len(list) - 1; i >= 0; i-- {
		if err := a.Undo(list[i].ch); err != nil {
			return nil, fmt.Errorf("undo of change %d: %w", list[i].id, err)
		}
	}
	var dec change.Decoder
	for i := range resp.Commits {
		w := &resp.Commits[i]
		own := w.OwnFirst > x.s.acked && w.OwnLast <= acked
		if known = own; w.Same {
			if !own {
				return nil, fmt.Errorf("%w: a commit of changes that are not pending", wire.ErrMalformed)
			}
			for id := w.OwnFirst; id <= w.OwnLast; id++ {
				ch := list[id-x.s.acked-1].ch
				if err := a.Apply(ch); err != nil {
					return nil, err
				}
				out = append(out, received{true, id, ch})
			}
			continue
		}
		ch, err := dec.Decode(w.Body)
		if len(w.Body) == 0 {
			ch, err = &change.Change{}, nil
		}
		if err != nil {
			return nil, err
		}
		rest := ch
		if n := len(ch.Events) - w.Strict; own && n > 0 && w.Strict > 0 {
			// Watchers have seen the changes, but not the strict transaction.
			if err := a.Apply(&change.Change{Events: ch.Events[:n]}); err != nil {
				return nil, err
			}
			rest = &change.Change{Events: ch.Events[n:], Sequences: ch.Sequences}
		}
		known = own && w.Strict == 0
		if err := a.Apply(rest); err != nil {
			return nil, err
		}
		if !own {
			x.rep.Pulled += ch.Rows()
		}
		out = append(out, received{own, w.OwnLast, ch})
	}
	return out, nil
}

// see notes a row change for watchers, with the row as it was.
func (x *exchange) see(c *sqlite.Conn, e *change.Event) {
	if e.Shadow() {
		return
	}
	ch := RowChange{Table: e.Table, Op: e.Op, RowID: e.NewRowID, OldRowID: e.RowID, Old: e.Old, New: e.New, Remote: true}
	if e.Op != change.OpInsert {
		if old, err := e.Current(c); err == nil {
			ch.Old = old
			ch.New = e.Merged(old)
		}
	}
	x.publish = append(x.publish, ch)
}

// seed tells the executor what became of the acknowledged changes, and the
// report which rows have other ids.
func (x *exchange) seed(e *change.Executor, list []mine, resp *wire.Response, acked uint64) {
	results := map[uint64][]wire.OpResult{}
	for _, r := range resp.Results {
		results[r.ID] = r.Ops
	}
	for _, m := range list {
		if m.id > acked {
			e.Expect(m.ch)
			continue
		}
		e.Seed(m.id, m.ch, results[m.id])
		in := m.ch.Intents()
		for _, op := range results[m.id] {
			if op.Code == wire.OpNewID && int(op.Index) < len(in) && in[op.Index].Table != nil {
				ev := in[op.Index]
				x.renamed(ev.Table.Name, ev.RowID, op.NewID)
			}
		}
	}
}

// renamed reports a new id, unless it stands for no row.
func (x *exchange) renamed(table string, old, id int64) {
	if change.IsPlaceholder(id) || old == id {
		return
	}
	for i := range x.rep.IDs {
		if r := &x.rep.IDs[i]; r.Table == table && r.New == old {
			r.New = id
			return
		}
	}
	x.rep.IDs = append(x.rep.IDs, IDChange{table, old, id})
}

// keep rewrites the acknowledged changes that the file keeps for a while to
// the ids that their rows have.
func (x *exchange) keep(c *sqlite.Conn, e *change.Executor, list []mine, resp *wire.Response, acked uint64) error {
	if len(resp.Results) == 0 {
		return nil
	}
	for _, m := range list {
		if m.id > acked {
			break
		}
		kept := m.ch.IntentsOnly()
		e.Rewrite(kept)
		if err := updatePending(c, m.id, kept.Append(nil, change.ViewFull)); err != nil {
			return err
		}
	}
	return nil
}

func updatePending(c *sqlite.Conn, id uint64, blob []byte) error {
	return c.ExecArgs("UPDATE agentdb_pending SET change=? WHERE id=?", sqlite.Blob(blob), sqlite.Int(int64(id)))
}

// redo runs the changes after acked again, and stores them as they are now.
func (x *exchange) redo(c *sqlite.Conn, k *change.Capture, e *change.Executor, list []mine, acked uint64, skip skips) error {
	for i := range list {
		m := &list[i]
		if m.id <= acked {
			continue
		}
		if d := x.o.drop; d != nil && d.id == m.id {
			if err := x.giveUp(c, k, e, m); err != nil {
				return err
			}
			continue
		}
		kept, eff, err := x.redoOne(c, k, e, m.id, m.ch, skip)
		if err != nil {
			return err
		}
		now := change.Combine(kept, eff)
		blob := now.Append(nil, change.ViewFull)
		if bytes.Equal(blob, m.blob) {
			continue
		}
		k.Suspend()
		err = updatePending(c, m.id, blob)
		k.Resume()
		if err != nil {
			return err
		}
	}
	return nil
}

// redoOne runs one change's intents. A change that leaves a foreign key
// violated has no effects here; the server will say what becomes of it.
func (x *exchange) redoOne(c *sqlite.Conn, k *change.Capture, e *change.Executor, id uint64, ch *change.Change, skip skips) (kept, eff *change.Change, err error) {
	kept, eff, violated, err := x.try(c, k, e, id, ch, skip)
	if violated {
		kept = e.TakeBack(ch)
	}
	return kept, eff, err
}

// try is redoOne, but for what follows from a violation: all that it did is
// taken back.
func (x *exchange) try(c *sqlite.Conn, k *change.Capture, e *change.Executor, id uint64, ch *change.Change, skip skips) (kept, eff *change.Change, violated bool, err error) {
	for _, op := range skip[id] {
		e.Skip(op, "rolled the transaction back")
	}
	if err := c.Exec("SAVEPOINT agentdb_redo"); err != nil {
		return nil, nil, false, err
	}
	kept = ch.IntentsOnly()
	if _, err := e.Run(kept); err != nil {
		if errors.Is(err, change.ErrRolledBack) {
			skip[id] = append(skip[id], e.Op())
		}
		return nil, nil, false, fmt.Errorf("redo of change %d: %w", id, err)
	}
	if violated, err = c.DeferredFKs(); err != nil {
		return nil, nil, false, err
	}
	if violated {
		if err := c.Exec("ROLLBACK TO agentdb_redo; RELEASE agentdb_redo"); err != nil {
			return nil, nil, false, err
		}
		e.Back()
		return nil, nil, true, k.Abandon()
	}
	for _, r := range kept.Renamed() {
		x.renamed(r.Table, r.Old, r.New)
	}
	if eff, err = k.Finish(); err != nil {
		return nil, nil, false, err
	}
	return kept, eff, false, c.Exec("RELEASE agentdb_redo")
}
