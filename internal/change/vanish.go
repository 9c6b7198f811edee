package change

import "github.com/agentdb/agentdb/internal/wire"

// Executor returns the executor that runs changes with the ids that the
// renumbering knows of.
func (n *Renumbering) Executor() *Executor { return n.x }

// Ran tells about an acknowledged change, as it was before and as it is now that
// it ran again: others may have moved its rows since, or a later one deleted them,
// on the server alone.
func (n *Renumbering) Ran(id uint64, before, now *Change, res []wire.OpResult) {
	results := byOperation(res)
	ran := now.Intents()
	for i, e := range before.Intents() {
		if e.Op > OpDelete || e.Table.NoRowid || e.Op == OpUpdate && e.NewRowID == e.RowID && !e.dropsKey() || results[i].Code == wire.OpRejected {
			continue
		}
		k, was := e.at(results[i]), idKey{e.Table.Name, ran[i].RowID}
		switch {
		case e.Op == OpDelete && !e.byRowid(): // by its key: the number may be another's
		case e.Op == OpDelete:
			n.ran[was] = placeholder(was.id) // if it is still here: it was refused
		case e.Op == OpUpdate && ran[i].vain: // here alone
			n.ran[was] = n.x.went.final(k, id, i)
		default:
			delete(n.ran, was)
			n.ran[idKey{k.table, ran[i].NewRowID}] = n.x.went.final(k, id, i)
		}
	}
}

// Elsewhere tells the executor which rows of a change that the server has taken
// are not here, because they were refused: what refers to them means them where
// they are there. before is the change as it was, now as it ran.
func (x *Executor) Elsewhere(before, now *Change, res []wire.OpResult) {
	to, ran := byOperation(res), now.Intents()
	for i, e := range before.Intents() {
		if e.Op != OpInsert || !e.byRowid() || !IsPlaceholder(ran[i].RowID) || x.refersByID(e.Table.Name) {
			continue
		}
		switch r := to[i]; r.Code {
		case wire.OpRejected:
		case wire.OpNewID:
			x.Moved(e.Table.Name, e.RowID, r.NewID)
		default:
			x.Moved(e.Table.Name, e.RowID, e.RowID)
		}
	}
}

// Vanish moves rows that the changes which were run again have put somewhere to
// where they are now, and takes the ids from those that were deleted on the
// server, but not here: others had made them children of rows that were deleted.
func (n *Renumbering) Vanish() error {
	n.moves, n.given = map[idKey]int64{}, map[idKey]bool{}
	for k, to := range n.ran {
		if to != k.id {
			if err := n.leaves(k, to); err != nil {
				return err
			}
		}
	}
	if n.x.went.from != BaseKnown {
		return nil
	}
	for k, to := range n.x.went.own {
		if at, moved := n.x.went.gone[k]; moved {
			k.id = at
		}
		if _, other := n.ran[k]; to == 0 || other || IsPlaceholder(k.id) {
			continue
		}
		if err := n.leaves(k, to); err != nil {
			return err
		}
	}
	return nil
}

// here returns the id that the row has in the file after the event.
func (e *Event) here() int64 {
	if e.vain {
		return e.RowID
	}
	return e.NewRowID
}
