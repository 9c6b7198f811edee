package change

import (
	"fmt"
	"slices"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// hook is the preupdate hook: one call for every row that is about to change.
func (k *Capture) hook(p *sqlite.PreUpdate) {
	if k.suspended || k.err != nil || p.DB != "main" {
		return
	}
	r := k.schema.rels[p.Table]
	if r == nil {
		creating := k.cur != nil && k.cur.ddl // shadow tables of a new virtual table
		if !creating && !Internal(p.Table) {
			k.err = fmt.Errorf("change: a write to %s, which is not in the schema that was read", p.Table)
		}
		return
	}
	if r.skip || k.inDDLOf(r) {
		return
	}
	if k.packable(r, p) {
		if err := k.packRow(r, p); err != nil {
			k.err = captureError(r, err)
		}
		return
	}
	ev := Event{Table: &r.Table, Effect: true, RowID: p.OldRowID, NewRowID: p.NewRowID}
	var err error
	switch p.Op {
	case sqlite.Insert:
		ev.Op, ev.RowID = OpInsert, p.NewRowID
		ev.New, err = k.copyRow(r, p, p.New)
	case sqlite.Delete:
		if p.BlobWrite() >= 0 {
			if ev, err = k.blobWritten(r, p); err == nil {
				k.blobs = true
			}
			break
		}
		ev.Op, ev.NewRowID = OpDelete, p.OldRowID
		ev.Old, err = k.copyRow(r, p, p.Old)
		ev.Known = r.known()
	default:
		ev.Op = OpUpdate
		if ev.Old, err = k.copyRow(r, p, p.Old); err == nil {
			ev.New, err = k.copyRow(r, p, p.New)
		}
		ev.diff(r)
	}
	if err != nil {
		k.err = captureError(r, err)
		return
	}
	if r.NoRowid {
		ev.RowID, ev.NewRowID = 0, 0
	}
	k.spend(ev.Old)
	k.spend(ev.New)
	if k.err != nil {
		return
	}
	if ev.Op == OpUpdate && p.Depth() == 0 && r.ownParent() && k.overtaken(r, &ev) {
		k.err = fmt.Errorf("%w: the update replaces the row that the updated row of %s refers to, which leaves SQLite's indexes wrong: delete that row first", ErrUnsupported, r.Name)
		return
	}
	k.add(r, ev, p.Depth())
}

// overtaken reports whether the row of an update has changed meanwhile, since
// the update replaces the row that it refers to (ON CONFLICT REPLACE of a UNIQUE
// column, ON DELETE SET NULL or SET DEFAULT of the reference). SQLite, 3.54.1 at
// least, then writes back what the row was, and not the entries of its indexes.
func (k *Capture) overtaken(r *relation, ev *Event) bool {
	changed, replaced := false, k.pack.n > k.start.packed
	for i := len(k.events) - 1; i >= k.start.events; i-- { // what follows from the replacing comes right before
		e := &k.events[i]
		same := e.Table == &r.Table
		if e.Intent && !(same && e.Op == OpDelete) {
			break
		}
		replaced = replaced || e.Intent
		changed = changed || same && e.Op == OpUpdate && e.NewRowID == ev.RowID && (!r.NoRowid || r.sameKey(e.New, ev.Old))
	}
	return changed && replaced
}

// sameKey compares the primary keys of two rows.
func (t *Table) sameKey(a, b []sqlite.Value) bool {
	return !slices.ContainsFunc(t.PK, func(i int) bool { return !a[i].Equal(b[i]) })
}

func captureError(r *relation, err error) error {
	return fmt.Errorf("change: capture a row of %s: %w", r.Name, err)
}

// meant reports whether a row change at some depth of triggers is what the user
// did, rather than a consequence.
func (k *Capture) meant(depth int) bool {
	return depth == 0 || depth == 1 && k.cur != nil && k.cur.view
}

// add appends an event, as an intent too if the user meant it.
func (k *Capture) add(r *relation, ev Event, depth int) {
	f := k.cur
	switch {
	case r.kind == relShadow:
		if f != nil && f.vtab != nil && r.content != nil && r.content.Name == f.vtab.Name {
			ev.again = ev.Op == OpInsert && (k.again || f.update && k.deletedLast(r))
			k.push(contentIntent(r, ev))
		}
	case k.schema.vtabs:
		k.dirty = true // a trigger may have fed a full-text index
		fallthrough
	default:
		ev.Intent = k.meant(depth)
	}
	k.push(ev)
}

// deletedLast reports whether the running statement's last event on r is a delete.
func (k *Capture) deletedLast(r *relation) bool {
	for i := len(k.events) - 1; i >= k.start.events; i-- {
		if e := &k.events[i]; e.Effect && e.Table == &r.Table {
			return e.Op == OpDelete
		}
	}
	return false
}

// inDDLOf reports whether rows of r change as part of a schema change of r
// itself, which its statement repeats elsewhere.
func (k *Capture) inDDLOf(r *relation) bool {
	f := k.cur
	if f == nil || !f.ddl {
		return false
	}
	return f.drops == "" || r.kind == relShadow || r.Name == f.drops
}

// copyRow reads the row that get sees.
func (k *Capture) copyRow(r *relation, p *sqlite.PreUpdate, get func(int) (sqlite.Value, error)) ([]sqlite.Value, error) {
	vals := k.values(len(r.cids))
	for i, cid := range r.cids {
		v, err := get(cid)
		if err != nil {
			return nil, err
		}
		vals[i] = v
	}
	return vals, nil
}

// slabSize is how many values are allocated at a time.
const slabSize = 1024

// values returns a slice of n values out of a slab: rows of a large
// transaction would otherwise be an allocation each.
func (k *Capture) values(n int) []sqlite.Value {
	if n > len(k.slab) {
		if n > slabSize/8 || len(k.events) < 8 {
			return make([]sqlite.Value, n)
		}
		k.slab = make([]sqlite.Value, slabSize)
	}
	vals := k.slab[:n:n]
	k.slab = k.slab[n:]
	return vals
}

// push appends an event, and doubles the room when it is used up.
func (k *Capture) push(ev Event) {
	if len(k.events) == cap(k.events) {
		k.events = slices.Grow(k.events, max(1, len(k.events)))
	}
	k.events = append(k.events, ev)
}

// known returns the set of all columns.
func (r *relation) known() bitset { return all(len(r.Cols)) }

// diff fills in which columns an update changes.
func (e *Event) diff(r *relation) {
	e.Known = r.known()
	e.Changed = newBitset(len(r.Cols))
	for i := range e.New {
		if !e.New[i].Equal(e.Old[i]) {
			e.Changed.set(i)
		}
	}
}

// contentIntent turns a write to an FTS5 table's %_content into the user's
// write to the FTS5 table.
func contentIntent(r *relation, ev Event) Event {
	x := r.content
	in := Event{Op: ev.Op, Intent: true, Table: &x.Table, RowID: ev.RowID, NewRowID: ev.NewRowID, again: ev.again}
	n := len(x.Cols)
	if ev.New != nil {
		in.New = ev.New[:n:n]
	}
	if ev.Old != nil {
		in.Old, in.Known = ev.Old[:n:n], all(n)
	}
	if ev.Op == OpUpdate {
		in.diff(x)
	}
	return in
}
