package change

import "github.com/agentdb/agentdb/internal/wire"

// travels follows rows since the base of the changes to come, in the order of
// the commits: which were deleted or moved by others, and where they are.
type travels struct {
	from Base
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

// Base says what the ids in the changes to come refer to.
type Base uint8

// The bases.
const (
	BaseKnown Base = iota // the state before the first commit that the executor is told of
	BaseEmpty             // that is before any commit: the rows are the replica's own
	BaseLost              // a state that nobody knows
)

// SetBase says which base the changes to come have; it is BaseKnown at first.
func (x *Executor) SetBase(b Base) { x.went.from = b }

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

// rows returns where the rows are that the changes mean by an id.
func (t *travels) rows() map[idKey]int64 {
	switch t.from {
	case BaseEmpty:
		return t.mine
	case BaseLost:
		return nil
	}
	return t.gone
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
	names := map[*Table]*Table{}
	for i := range c.Events {
		e := &c.Events[i]
		if e.Effect && e.Op <= OpDelete && !e.Table.NoRowid && (!e.still() || own && e.Op == OpInsert) && !e.Shadow() {
			t := names[e.Table]
			if t == nil {
				t = &Table{Name: e.Table.Name}
				names[e.Table] = t
			}
			out.Events = append(out.Events, Event{Op: e.Op, Effect: true, Table: t, RowID: e.RowID, NewRowID: e.NewRowID})
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
			if r.Code == wire.OpNewID {
				x.ids[k] = x.went.final(idKey{k.table, r.NewID})
			}
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
	to, went := x.went.rows()[k]
	if p := x.leader(table); p != "" {
		if parent := x.resolve(p, id); !went || IsPlaceholder(parent) {
			return parent
		}
	}
	if went {
		return to
	}
	return id
}

// leader returns the table that a table's ids come from, "" if they are its own.
func (x *Executor) leader(table string) string {
	r := x.cap.schema.find(table)
	if r == nil || !r.ipkFK {
		return ""
	}
	for _, fk := range r.fks {
		if fk.col < 0 && fk.parent != table {
			return fk.parent
		}
	}
	return ""
}
