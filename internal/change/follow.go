package change

import "github.com/agentdb/agentdb/internal/wire"

// travels follows rows since the base of the changes to come, in the order of
// the commits: which were deleted or moved by others, and where they are.
type travels struct {
	gone map[idKey]int64 // rows of the base: where they are; a placeholder if deleted
	mine map[idKey]int64 // the same of rows that the replica itself put there since
	at   map[idKey]place // who is where now, of rows that are not where they began
}

// place says which row is meant: one of the base, or one of the replica's own,
// with the id that it began with.
type place struct {
	id  int64
	own bool
}

func newTravels() travels {
	return travels{gone: map[idKey]int64{}, mine: map[idKey]int64{}, at: map[idKey]place{}}
}

// follow notes that the row with an id went elsewhere.
func (t *travels) follow(k idKey, to int64) {
	row, moved := t.at[k]
	delete(t.at, k)
	if !moved {
		if _, away := t.gone[k]; away {
			return // it came after the row of the base, which nobody here can mean
		}
		row = place{id: k.id}
	}
	where := t.gone
	if row.own {
		where = t.mine
	}
	where[idKey{k.table, row.id}] = to
	if !IsPlaceholder(to) {
		t.at[idKey{k.table, to}] = row
	}
}

// put notes that the replica itself has put a row there.
func (t *travels) put(k idKey) {
	t.mine[k] = k.id
	t.at[k] = place{id: k.id, own: true}
}

// final returns where a row is that the replica has put at an id.
func (t *travels) final(k idKey) int64 {
	if to, ok := t.mine[k]; ok {
		return to
	}
	return k.id
}

// Foreign tells the executor about a commit made by others since the base of
// the changes to come: references to rows that it deleted are dead, even if
// the id is in use again, and references to rows that it moved follow.
func (x *Executor) Foreign(c *Change) {
	for i := range c.Events {
		e := &c.Events[i]
		if !e.Effect || e.Op > OpDelete || e.Table.NoRowid {
			continue
		}
		switch {
		case e.Op == OpDelete:
			x.went.follow(idKey{e.Table.Name, e.RowID}, placeholder(e.RowID))
		case e.Op == OpUpdate && e.NewRowID != e.RowID:
			x.went.follow(idKey{e.Table.Name, e.RowID}, e.NewRowID)
		}
	}
}

// Own tells the executor about a commit of its own replica since the base:
// the rows it put somewhere are this replica's, whatever had their id before.
func (x *Executor) Own(c *Change) {
	for i := range c.Events {
		e := &c.Events[i]
		if e.Effect && !e.still() || e.Effect && e.Op == OpInsert && !e.Table.NoRowid {
			if e.Op != OpInsert {
				delete(x.went.at, idKey{e.Table.Name, e.RowID})
			}
			if e.Op != OpDelete {
				x.went.put(idKey{e.Table.Name, e.NewRowID})
			}
		}
	}
}

// Moves returns what Foreign, or Own, needs to know of a commit, without values.
func (c *Change) Moves(own bool) *Change {
	out := &Change{}
	for i := range c.Events {
		e := &c.Events[i]
		if e.Effect && e.Op <= OpDelete && !e.Table.NoRowid && (!e.still() || own && e.Op == OpInsert) && !e.Shadow() {
			out.Events = append(out.Events, Event{Op: e.Op, Effect: true, Table: e.Table, RowID: e.RowID, NewRowID: e.NewRowID})
		}
	}
	return out
}

// still reports whether the event neither deletes nor moves a row by its id.
func (e *Event) still() bool {
	return e.Op > OpDelete || e.Op == OpInsert || e.Table.NoRowid || e.Op == OpUpdate && e.NewRowID == e.RowID
}

// Seed tells the executor what became of a change that was executed before, so
// that later changes find the rows that it made. It comes after Foreign and
// Own.
func (x *Executor) Seed(c *Change, res []wire.OpResult) {
	by := map[uint32]wire.OpResult{}
	for _, r := range res {
		by[r.Index] = r
	}
	for i, e := range c.Intents() {
		if e.Op > OpDelete {
			continue
		}
		r := by[uint32(i)]
		k := idKey{e.Table.Name, e.NewRowID}
		switch {
		case e.Op == OpUpdate && r.Code == wire.OpRejected:
			x.inVain(x.moving(e))
		case e.Op == OpUpdate:
			x.done(x.moving(e), x.went.final(k))
		case e.Op == OpDelete || e.Table.NoRowid || x.refersByID(e.Table.Name):
		case r.Code == wire.OpRejected:
			x.ids[k] = placeholder(k.id)
		case r.Code == wire.OpNewID:
			x.ids[k] = x.went.final(idKey{k.table, r.NewID})
		default:
			x.ids[k] = x.went.final(k)
		}
	}
}

// refersByID reports whether a table's ids are those of the rows that it
// refers to: they follow these, and are never given out.
func (x *Executor) refersByID(table string) bool {
	r := x.cap.schema.find(table)
	return r != nil && r.ipkFK
}

// resolve returns the id that a reference written as id means now.
func (x *Executor) resolve(table string, id int64) int64 {
	k := idKey{table, id}
	if to, ok := x.ids[k]; ok {
		return to
	}
	if to, ok := x.went.gone[k]; ok {
		return to
	}
	if r := x.cap.schema.find(table); r != nil && r.ipkFK {
		for _, fk := range r.fks {
			if fk.col < 0 && fk.parent != table {
				return x.resolve(fk.parent, id)
			}
		}
	}
	return id
}
