package change

import (
	"maps"
	"slices"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// rowKey is the natural key that a row has; nil if the row is gone.
type rowKey []sqlite.Value

// move is an update that gives its row another key: another id, or other
// values in a natural key.
type move struct {
	from, to       idKey  // of a row that is identified by its id
	oldKey, newKey string // of one with a natural key
	old, new       rowKey
	vain           bool // the author's row kept its key, and the new one is another's
	lost           bool // the new one is none: the row has only its id then, from
}

// natural reports whether an event's row is found by its natural key.
func (r *relation) natural(e *Event) bool {
	return len(r.PK) > 0 && len(e.Table.PK) == len(r.PK) && !hasNullKey(e)
}

// moving returns how an update changes its row's key, as its author saw it; nil
// if it doesn't.
func (x *Executor) moving(e *Event) *move {
	if e.Op != OpUpdate {
		return nil
	}
	if len(e.Table.PK) == 0 || hasNullKey(e) {
		if e.NewRowID == e.RowID || e.Table.NoRowid {
			return nil
		}
		return &move{from: idKey{e.Table.Name, e.RowID}, to: idKey{e.Table.Name, e.NewRowID}, vain: e.vain}
	}
	m := &move{old: make(rowKey, len(e.Table.Cols)), new: make(rowKey, len(e.Table.Cols)), vain: e.vain}
	moved := false
	for _, i := range e.Table.PK {
		if !e.Known.has(i) {
			return nil
		}
		m.old[i], m.new[i] = e.Old[i], e.Old[i]
		if e.Changed.has(i) {
			m.new[i], moved = e.New[i], true
		}
	}
	if !moved {
		return nil
	}
	m.oldKey, m.newKey = keyText(e.Table, m.old), keyText(e.Table, m.new)
	m.from, m.lost = idKey{e.Table.Name, e.RowID}, e.losesKey() && !e.Table.NoRowid
	return m
}

// inVain notes that a move did not happen: who means the row by its new key
// means the one that still has the old.
func (x *Executor) inVain(m *move) {
	switch {
	case m == nil || m.vain || m.lost:
	case m.old == nil:
		x.setTo(m.to, x.resolve(m.from.table, m.from.id))
	default:
		old, known := x.keys[m.oldKey]
		if !known {
			old = m.old
		}
		x.keys[m.newKey] = old
	}
}

// refusedMove is inVain for an update that was refused. If it was to take its row's
// key away, who means the row by its id alone means the one that has the key, if
// there is one.
func (x *Executor) refusedMove(m *move, e *Event) {
	if m == nil || !m.lost {
		x.inVain(m)
		return
	}
	at, was := placeholder(m.from.id), *e
	was.Old = slices.Clone(e.Old)
	if r := x.cap.schema.find(e.Table.Name); r != nil && r.natural(&was) && x.findMoved(&was) {
		if cur, err := x.find(r, &was, was.Old, was.RowID); err == nil && cur != nil {
			at = cur.rowid
		}
	}
	x.setTo(m.from, at)
}

// done notes that it did. The row has the id now.
func (x *Executor) done(m *move, id int64) {
	switch {
	case m == nil:
	case m.old == nil:
		x.setTo(m.from, id)
		if !m.vain {
			x.setTo(m.to, id)
		}
	default:
		if !m.vain {
			delete(x.keys, m.newKey)
		}
		x.keys[m.oldKey] = m.new
	}
}

// move runs an update, and remembers what became of the row's key.
func (x *Executor) move(r *relation, e *Event) error {
	m := x.moving(e)
	if r.ipkFK {
		m = nil // such ids follow others
	}
	natural := r.natural(e) && !r.NoRowid && !r.ipkFK
	x.at = e.RowID
	if err := x.update(r, e); err != nil {
		return err
	}
	if natural { // its author may have known it by another number
		if e.NewRowID == e.RowID {
			e.NewRowID = x.at
		}
		e.RowID = x.at
	}
	if !x.rejected() {
		x.gained(e)
	}
	if e.vain = m != nil && x.rejected(); e.vain {
		x.refusedMove(m, e)
	} else {
		x.done(m, e.NewRowID)
	}
	return nil
}

// gained notes that an update gave a natural key to a row that had none.
func (x *Executor) gained(e *Event) {
	if len(x.keys) == 0 || len(e.Table.PK) == 0 || !hasNullKey(e) {
		return
	}
	key := make(rowKey, len(e.Table.Cols))
	for _, i := range e.Table.PK {
		switch {
		case e.Changed.has(i):
			key[i] = e.New[i]
		case e.Known.has(i):
			key[i] = e.Old[i]
		}
	}
	delete(x.keys, keyText(e.Table, key))
}

// inserted notes that a natural key has got a row of its own.
func (x *Executor) inserted(e *Event) {
	if len(x.keys) > 0 && len(e.Table.PK) > 0 {
		delete(x.keys, keyText(e.Table, e.New))
	}
}

// findMoved rewrites an event's key to the one that its row has. It reports
// false if there is none.
func (x *Executor) findMoved(e *Event) bool {
	if len(x.keys) == 0 || len(e.Old) == 0 {
		return true
	}
	key, ok := x.keys[keyText(e.Table, e.Old)]
	if !ok {
		return true
	}
	if key == nil {
		return false
	}
	for _, i := range e.Table.PK {
		if e.Old[i] = key[i]; key[i].IsNull() {
			return x.findByID(e)
		}
	}
	return true
}

// findByID rewrites the id of an event whose row has lost its key. It reports false
// if that row is not known.
func (x *Executor) findByID(e *Event) bool {
	to, ok := x.ids[idKey{e.Table.Name, e.RowID}]
	if !ok || e.Table.NoRowid || IsPlaceholder(to) {
		return false
	}
	if e.NewRowID == e.RowID {
		e.NewRowID = to
	}
	e.RowID = to
	return true
}

// mapKeys rewrites the row's references to natural keys that their rows have
// not, or have no more.
func (x *Executor) mapKeys(r *relation, e *Event) {
	if len(x.keys) == 0 {
		return
	}
	for _, ref := range r.keyRefs {
		if len(ref.cols) != len(ref.parent.PK) {
			continue
		}
		for _, vals := range [][]sqlite.Value{e.Old, e.New} {
			ref.follow(x.keys, r, e, vals)
		}
	}
}

// follow rewrites the reference in a row's values.
func (ref *keyRef) follow(keys map[string]rowKey, r *relation, e *Event, vals []sqlite.Value) {
	key := make([]sqlite.Value, len(ref.parent.Cols))
	at := make(map[int]int, len(ref.cols))
	for i, j := range ref.cols {
		n := e.Table.column(r.Cols[j])
		if n < 0 || n >= len(vals) {
			return
		}
		key[i], at[i] = vals[n], n
	}
	to := keys[keyText(&ref.parent.Table, key)]
	if len(to) != len(key) {
		return // it is where it was, or gone, or its table has changed
	}
	for i, n := range at {
		vals[n] = to[i]
	}
}

// rejected reports whether the running operation was refused.
func (x *Executor) rejected() bool {
	n := len(x.res)
	return n > 0 && x.res[n-1].Index == uint32(x.op) && x.res[n-1].Code == wire.OpRejected
}

func keyText(t *Table, vals []sqlite.Value) string { return t.Name + "\x00" + keyJSON(t, 0, vals) }

// idChange is what ids had for a key before.
type idChange struct {
	key idKey
	id  int64
	had bool
}

// setTo notes the id that an own row has.
func (x *Executor) setTo(k idKey, id int64) {
	old, had := x.ids[k]
	x.back = append(x.back, idChange{k, old, had})
	x.ids[k] = id
}

// Back forgets the keys that the last Run gave to rows: it was rolled back.
func (x *Executor) Back() {
	for i := len(x.back) - 1; i >= 0; i-- {
		if b := x.back[i]; b.had {
			x.ids[b.key] = b.id
		} else {
			delete(x.ids, b.key)
		}
	}
	x.back = x.back[:0]
	for _, r := range slices.Backward(x.retabled) {
		x.went.retable(retabling{r.to, r.from})
	}
	x.retabled, x.origins = nil, maps.Clone(x.originsBack)
	if x.keys = maps.Clone(x.keysBack); x.keys == nil {
		x.keys = map[string]rowKey{}
	}
}
