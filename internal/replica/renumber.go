package replica

import (
	"errors"
	"slices"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// moved is what an answer says about ids to a file that only pushes.
type moved struct {
	base    change.Base
	commits []received                 // what became of rows since the base, without values
	results map[uint64][]wire.OpResult // of the acknowledged changes
}

func newMoved(base wire.Revision, resp *wire.Response) (*moved, error) {
	m := &moved{results: map[uint64][]wire.OpResult{}}
	if base.Seq == 0 || base == lostBase {
		m.base = change.BaseEmpty
	}
	for _, r := range resp.Results {
		m.results[r.ID] = r.Ops
	}
	var dec change.Decoder
	for i := range resp.Commits {
		w := &resp.Commits[i]
		ch, err := dec.Decode(w.Body)
		if err != nil {
			return nil, err
		}
		m.commits = append(m.commits, received{w.OwnLast != 0, w.OwnLast, ch})
	}
	return m, nil
}

// renumber moves a file that only pushes to the ids that the server gave its
// rows, and others since: undo, then redo with those ids, without what was
// refused.
func (x *exchange) renumber(c *sqlite.Conn, k *change.Capture, resp *wire.Response, acked uint64, skip skips) (outcome, error) {
	m, err := newMoved(x.s.base, resp)
	if err != nil {
		return done, err
	}
	list, undoable, err := load(c, x.s.acked)
	if err != nil {
		return done, err
	}
	if !undoable || x.inPlace || m.inPlace(list, acked) {
		return done, x.renumberInPlace(c, k, m, list, acked)
	}
	if err := undo(c, k, list); err != nil {
		return done, err
	}
	n := change.NewRenumbering(k)
	e := n.Executor()
	m.tell(n)
	e.Again(true)
	if err := m.moveRows(k, n, list, acked); err != nil {
		return done, err
	}
	if err := k.Guard(); err != nil {
		return done, err
	}
	for i := range list {
		e.Expect(list[i].ch)
	}
	var ran []*change.Change
	for _, my := range list {
		if my.id > acked {
			break
		}
		kept, err := x.redoAcked(c, k, e, &my, n.Final(my.id, my.ch, m.results[my.id]), skip)
		if err != nil {
			return done, err
		}
		if err := updatePending(c, my.id, kept.Append(nil, change.ViewFull)); err != nil {
			return done, err
		}
		ran = append(ran, kept)
	}
	e.Again(false)
	for i, now := range ran {
		n.Ran(list[i].id, list[i].ch, now, m.results[list[i].id])
	}
	if err := vanish(k, n); err != nil {
		return done, err
	}
	return done, x.redo(c, k, e, list, acked, skip)
}

// maxWithout bounds how many operations of an acknowledged change are left out
// here because they violate foreign keys.
const maxWithout = 100

// redoAcked runs a change as the server has executed it. What a row refers to
// may be another's there and missing here: the operations that violate a foreign
// key for that are left out, one by one.
func (x *exchange) redoAcked(c *sqlite.Conn, k *change.Capture, e *change.Executor, my *mine, res []wire.OpResult, skip skips) (*change.Change, error) {
	var without []int
	for {
		e.Force(res)
		for _, op := range res {
			if op.Code == wire.OpRejected {
				e.Skip(int(op.Index), "refused by the server")
			}
		}
		for _, op := range without {
			e.Skip(op, "FOREIGN KEY constraint failed")
		}
		kept, _, violated, err := x.try(c, k, e, my.id, my.ch, skip)
		if err != nil {
			return nil, err
		}
		if !violated {
			e.Elsewhere(my.ch, kept, res)
			return kept, nil
		}
		op := e.Violated()
		if op < 0 || len(without) == maxWithout {
			kept, _, err = x.redoOne(c, k, e, my.id, my.ch, skip)
			return kept, err
		}
		without = append(without, op)
	}
}

// vanish takes the ids from rows that the acknowledged changes have deleted on
// the server, but not here.
func vanish(k *change.Capture, n *change.Renumbering) error {
	k.Suspend()
	defer k.Resume()
	if err := n.Vanish(); err != nil {
		return err
	}
	return n.Run()
}

// undo takes back changes, the last first, and reads the schema that was there
// before.
func undo(c *sqlite.Conn, k *change.Capture, list []mine) error {
	k.Suspend()
	a, err := change.NewApplier(c, nil)
	if err != nil {
		return err
	}
	for i := len(list) - 1; i >= 0 && err == nil; i-- {
		err = a.Undo(list[i].ch)
	}
	if err = errors.Join(err, a.Close()); err != nil {
		return err
	}
	k.Resume()
	return k.Begin()
}

// moveRows gives the rows that are in no change the ids that they have now.
func (m *moved) moveRows(k *change.Capture, n *change.Renumbering, list []mine, acked uint64) error {
	k.Suspend()
	defer k.Resume()
	if err := n.Moved(); err != nil {
		return err
	}
	for _, my := range list {
		if my.id > acked {
			break
		}
		if err := n.Evict(my.id, my.ch, m.results[my.id]); err != nil {
			return err
		}
	}
	return n.Run()
}

// inPlace reports whether rows have to get their ids where they are: updates
// that gave them new ones can't be run again with these.
func (m *moved) inPlace(list []mine, acked uint64) bool {
	return slices.ContainsFunc(list, func(my mine) bool {
		if my.id > acked {
			return false
		}
		in := my.ch.Intents()
		return slices.ContainsFunc(m.results[my.id], func(r wire.OpResult) bool {
			return r.Code == wire.OpNewID && int(r.Index) < len(in) && in[r.Index].Op != change.OpInsert
		})
	})
}

// tell tells a renumbering what became of rows.
func (m *moved) tell(n *change.Renumbering) {
	n.SetBase(m.base)
	for _, r := range m.commits {
		n.Since(r.own, r.last, r.ch)
	}
}

// renumberInPlace does the same where a schema change stands in the way of
// undoing.
func (x *exchange) renumberInPlace(c *sqlite.Conn, k *change.Capture, m *moved, list []mine, acked uint64) (err error) {
	if err := k.Begin(); err != nil {
		return err
	}
	k.Suspend()
	defer k.Resume()
	n := change.NewRenumbering(k)
	m.tell(n)
	if err := n.Moved(); err != nil {
		return err
	}
	kept := make([]*change.Change, len(list))
	for i, my := range list {
		switch {
		case my.id > acked:
			n.Pending(my.ch)
		case my.ch.Bare():
			if kept[i], err = n.Absent(my.id, my.ch, m.results[my.id]); err != nil {
				return err
			}
		default:
			n.Acked(my.id, my.ch, m.results[my.id])
		}
	}
	if err := n.Run(); err != nil {
		return err
	}
	for i, my := range list {
		pending, now := my.id > acked, kept[i]
		n.Executor().Again(!pending)
		if now == nil {
			now = n.Rewrite(my.ch, pending)
		}
		if err := updatePending(c, my.id, now.Append(nil, change.ViewFull)); err != nil {
			return err
		}
	}
	for _, r := range n.Renames() {
		x.renamed(r.Table, r.Old, r.New)
	}
	return nil
}
