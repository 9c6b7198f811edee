package change

import "github.com/agentdb/agentdb/internal/wire"

// Again says whether the acknowledged changes are to be run again, or are spoken
// of, see Executor.Again.
func (n *Renumbering) Again(on bool) { n.x.Again(on) }

// Ran tells about an acknowledged change that was run again, as it was before:
// a later one may have deleted its rows, on the server alone.
func (n *Renumbering) Ran(id uint64, c *Change, res []wire.OpResult) {
	to := map[int]int64{}
	for _, r := range res {
		if r.Code == wire.OpNewID {
			to[int(r.Index)] = r.NewID
		}
	}
	for i, e := range c.Intents() {
		if e.Op > OpUpdate || e.Table.NoRowid || e.Op == OpUpdate && e.NewRowID == e.RowID {
			continue
		}
		k := idKey{e.Table.Name, e.NewRowID}
		if id, ok := to[i]; ok {
			k.id = id
		}
		here := n.x.went.final(k, id)
		n.Again(false)
		n.ran[idKey{k.table, here}] = n.x.went.final(k, id)
		n.Again(true)
	}
}

// Vanish takes the ids from rows that the changes which were run again have
// deleted on the server, but not here: others had made them children of rows
// that were deleted.
func (n *Renumbering) Vanish() error {
	n.moves = map[idKey]int64{}
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
