package change

import "github.com/agentdb/agentdb/internal/wire"

// Bare reports whether the change has intents on rows, and did nothing to the
// file, as far as it tells.
func (c *Change) Bare() bool {
	intents := false
	for i := range c.Events {
		if c.Events[i].Effect {
			return false
		}
		intents = intents || c.Events[i].Op <= OpDelete
	}
	return intents
}

// Fixed returns a bare change that says that what it did is in the file all the
// same: it can't be undone.
func (c *Change) Fixed() *Change {
	out := c.IntentsOnly()
	out.Events = append(out.Events, Event{Op: OpDDL, Kind: DDLOther, Effect: true, Statement: &Statement{}})
	return out
}

// TakeBack returns a change that is not done here as a bare one, with the ids
// that its rows have: those that it moves keep theirs, and those that it inserts
// are gone for what comes later.
func (x *Executor) TakeBack(c *Change) *Change {
	out := c.IntentsOnly()
	gone := func(e *Event, freed map[idKey]bool) {
		k := idKey{e.Table.Name, e.RowID}
		if e.Op == OpInsert && !e.again && !freed[k] && !x.refersByID(k.table) {
			x.ids[k] = placeholder(k.id)
		}
		freed[k] = freed[k] || e.Op == OpDelete || e.Op == OpUpdate && e.NewRowID != e.RowID
	}
	freed := map[idKey]bool{}
	for i := range out.Events { // what refers to them may come before
		if e := &out.Events[i]; e.Op <= OpDelete && !e.Table.NoRowid {
			gone(e, freed)
		}
	}
	for i := range out.Events {
		e := &out.Events[i]
		m := x.moving(e)
		if e.Op == OpInsert && freed[idKey{e.Table.Name, e.RowID}] {
			gone(e, map[idKey]bool{})
		}
		x.rewrite(e)
		if m != nil {
			x.inVain(m)
			e.vain = true
		}
	}
	return out
}

// Absent tells about a change that the server executed, and that was taken back
// here, since something that it refers to is missing here: its rows are where
// they were. It returns the change with the ids that they have on the server.
func (n *Renumbering) Absent(id uint64, c *Change, res []wire.OpResult) (*Change, error) {
	n.x.went.executed(id, c, res)
	out, in, by := c.IntentsOnly(), c.Intents(), byOperation(res)
	for i := range out.Events {
		e, r := &out.Events[i], by[i]
		was := *e
		if e.Op != OpInsert {
			n.x.rewrite(e)
		}
		n.x.seed(id, i, &was, r)
		if e.Op == OpInsert {
			n.x.rewrite(e)
		}
		if half(in, i) {
			continue
		}
		if err := n.absent(id, i, &was, r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// half reports whether an operation is one half of an update of a full-text row.
func half(in []*Event, i int) bool { return in[i].again || second(in, i) != nil }

// second returns the insert that makes an operation, a delete, the first half of
// an update of a full-text row; nil if there is none.
func second(in []*Event, i int) *Event {
	if in[i].Op == OpDelete && i+1 < len(in) && in[i+1].again && in[i+1].Table.Name == in[i].Table.Name {
		return in[i+1]
	}
	return nil
}

// absent gives the row of one operation the id that it has on the server.
func (n *Renumbering) absent(id uint64, op int, e *Event, r wire.OpResult) error {
	if e.Op != OpUpdate && e.Op != OpDelete || r.Code == wire.OpRejected || !e.byRowid() || n.x.refersByID(e.Table.Name) {
		return nil
	}
	k := idKey{e.Table.Name, e.RowID}
	var to int64
	switch {
	case e.Op == OpDelete:
		to = placeholder(k.id)
	case e.NewRowID == e.RowID:
		return nil
	default:
		to = n.x.went.final(idKey{k.table, e.NewRowID}, id, op)
	}
	n.x.ids[k] = to
	return n.leaves(k, to)
}
