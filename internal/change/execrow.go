package change

import (
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// insert runs an INSERT. A row with an id of SQLite's choice gets another id
// if that one is taken; one with a natural key that exists is merged into it.
func (x *Executor) insert(r *relation, e *Event) error {
	if r.autoKey() || !r.ipkFK && hasNullKey(e) {
		return x.insertAuto(r, e)
	}
	x.inserted(e)
	cur, err := x.find(r, e, e.New, e.RowID)
	if err != nil {
		return x.refuseRead(e, err)
	}
	if cur == nil {
		return x.insertRow(r, e, r.ipkFK)
	}
	if x.strict {
		return fmt.Errorf("%w: %s has that key already", ErrStrict, r.Name)
	}
	set := newBitset(len(e.Table.Cols))
	overwrites := false
	for i, c := range e.Table.Cols {
		j := r.column(c)
		if j >= 0 && !cur.vals[j].Equal(e.New[i]) {
			set.set(i)
			overwrites = true
		}
	}
	if !overwrites {
		x.note(wire.OpNoop, 0)
		return nil
	}
	kind := "merge"
	if x.Seen != nil && !r.NoRowid && x.Seen(r.Name, cur.rowid) {
		kind = ""
	}
	return x.set(r, e, cur, set, cur.rowid, kind)
}

// hasNullKey reports whether a natural key holds a NULL, which makes it no key.
func hasNullKey(e *Event) bool {
	vals := e.New
	if e.Op != OpInsert {
		vals = e.Old
	}
	for _, i := range e.Table.PK {
		if i < len(vals) && vals[i].IsNull() {
			return !e.Table.NoRowid
		}
	}
	return false
}

func (x *Executor) insertAuto(r *relation, e *Event) error {
	asked := idKey{e.Table.Name, e.RowID}
	id := e.RowID
	taken, check := false, x.free != e
	saved, ok := x.forced[x.op]
	if !ok {
		saved, ok = x.saved[asked]
	}
	switch {
	case ok:
		id, check = saved, !IsPlaceholder(saved) // one that is forced: others have deleted the row since
	case e.again:
		id, check = x.left, false // the delete before has freed it
	}
	if check {
		var err error
		if taken, err = x.taken(r, id); err != nil {
			return x.refuseRead(e, err)
		}
	}
	if taken {
		if x.strict {
			return fmt.Errorf("%w: id %d of %s is taken", ErrStrict, e.RowID, r.Name)
		}
		var err error
		if id, err = x.backOrFree(r, asked); err != nil {
			return err
		}
	}
	x.setID(e, id)
	x.setTo(asked, id)
	return x.insertRow(r, e, true)
}

// backOrFree returns the id that the row had when it was deleted by the same
// replica, as REPLACE and updates of a full-text table do, else a new one.
func (x *Executor) backOrFree(r *relation, asked idKey) (int64, error) {
	if had, ok := x.ids[asked]; ok && !IsPlaceholder(had) {
		if taken, err := x.taken(r, had); err != nil || !taken {
			return had, err
		}
	}
	return x.freeID(r)
}

// setID gives the row its id, in references to itself too.
func (x *Executor) setID(e *Event, id int64) {
	for i := range e.Table.Cols {
		if e.self.has(i) {
			e.New[i].I = id
		}
	}
	e.was, e.renamed = e.RowID, id != e.RowID
	e.RowID, e.NewRowID = id, id
}

// insertRow inserts the row as it is, or leaves its rowid to SQLite.
func (x *Executor) insertRow(r *relation, e *Event, keepID bool) error {
	kind := "insert"
	if !keepID && !r.NoRowid {
		if taken, err := x.taken(r, e.RowID); err != nil {
			return x.refuseRead(e, err)
		} else if taken {
			kind = "insert-auto"
		}
	}
	st, err := x.stmt(stmtKey{e.Table, OpInsert, kind}, func() string {
		t := *e.Table.like(r.computed)
		t.NoRowid = kind == "insert-auto" || t.NoRowid
		return insertSQL(&t, "INSERT OR ABORT")
	})
	if err != nil {
		return x.refuseRead(e, err)
	}
	defer st.Done()
	n := 1
	if kind == "insert" && !e.Table.NoRowid {
		if err := st.BindInt64(n, e.RowID); err != nil {
			return err
		}
		n++
	}
	if err := bindAll(st, n, e.New); err != nil {
		return err
	}
	x.cap.again = e.again
	refused, err := x.doRow(st)
	x.cap.again = false
	if err != nil {
		return err
	}
	if refused != nil {
		return x.refuse(r, e, refused)
	}
	if e.renamed {
		x.note(wire.OpNewID, e.RowID)
	}
	return nil
}

// found is a row as it is now.
type found struct {
	rowid int64
	vals  []sqlite.Value // of the relation's Cols
}

// find returns the row that an operation means, nil if there is none: by its
// natural key if it has one, else by rowid.
func (x *Executor) find(r *relation, e *Event, key []sqlite.Value, rowid int64) (*found, error) {
	byPK := r.natural(e)
	kind := "find"
	if byPK {
		kind = "find-pk"
	}
	st, err := x.stmt(stmtKey{e.Table, 0, kind}, func() string {
		sql := "SELECT " + r.selectList() + " FROM main." + quote(r.Name)
		if byPK {
			return sql + e.Table.wherePK()
		}
		return sql + " WHERE " + quote(r.rowid) + "=?"
	})
	if err != nil {
		return nil, err
	}
	defer st.Done()
	if byPK {
		if len(key) == 0 {
			return nil, nil
		}
		err = e.Table.bindPK(st, 1, key)
	} else {
		err = st.BindInt64(1, rowid)
	}
	if err != nil {
		return nil, err
	}
	row, err := st.Step()
	if err != nil || !row {
		return nil, err
	}
	f := &found{rowid: st.ColumnInt64(0), vals: make([]sqlite.Value, len(r.Cols))}
	for i := range f.vals {
		f.vals[i] = st.Column(i + 1)
	}
	return f, nil
}

// target finds the row that an update or delete means.
func (x *Executor) target(r *relation, e *Event) (*found, error) {
	if !r.NoRowid && !r.ipkFK && (len(r.PK) == 0 || hasNullKey(e)) {
		was := e.RowID
		e.RowID = x.resolve(e.Table.Name, e.RowID)
		if e.NewRowID == was {
			e.NewRowID = e.RowID
		}
		if IsPlaceholder(e.RowID) && x.Conflict != nil {
			e.RowID, e.NewRowID = was, was // what a record should say
			return nil, nil
		} // a file that only pushes keeps rows that others have deleted
	}
	if r.natural(e) && !x.findMoved(e) {
		return nil, nil
	}
	return x.find(r, e, e.Old, e.RowID)
}

func (x *Executor) update(r *relation, e *Event) error {
	cur, err := x.target(r, e)
	if err != nil {
		return x.refuseRead(e, err)
	}
	if cur == nil {
		if x.strict {
			return fmt.Errorf("%w: a row of %s is gone", ErrStrict, r.Name)
		}
		return x.reject(e, "missing", "the row was deleted", nil)
	}
	if err := x.checkStrict(r, e, cur); err != nil {
		return err
	}
	to := cur.rowid
	x.at = cur.rowid
	if e.NewRowID != e.RowID {
		if to = e.NewRowID; to != cur.rowid {
			taken, err := x.taken(r, to)
			if err != nil {
				return x.refuseRead(e, err)
			}
			if taken {
				return x.dropMove(r, e, cur)
			}
		}
	}
	set := e.Changed
	kind := ""
	for i, c := range e.Table.Cols {
		j := r.column(c)
		if !set.has(i) || j < 0 || cur.vals[j].Equal(e.New[i]) {
			continue
		}
		if e.Known.has(i) && !cur.vals[j].Equal(e.Old[i]) || x.unseen(r, cur.rowid, c) {
			kind = "overwrite"
		}
	}
	return x.set(r, e, cur, set, to, kind)
}

// dropMove refuses a change of primary key to a key that is taken.
func (x *Executor) dropMove(r *relation, e *Event, cur *found) error {
	if x.strict {
		return fmt.Errorf("%w: id %d of %s is taken", ErrStrict, e.NewRowID, r.Name)
	}
	return x.reject(e, "unique", fmt.Sprintf("the new key %d is taken", e.NewRowID), cur)
}

// set writes the columns in set, and the rowid if it differs, to a row. kind,
// if not empty, is the conflict to record about it.
func (x *Executor) set(r *relation, e *Event, cur *found, set bitset, to int64, kind string) error {
	moved := to != cur.rowid
	if set.empty() && !moved && len(e.Table.Cols) > 0 {
		set = newBitset(len(e.Table.Cols))
		set.set(0) // a no-op update still fires triggers
		for i, c := range e.Table.Cols {
			if j := r.column(c); j >= 0 {
				set = newBitset(len(e.Table.Cols))
				set.set(i)
				e.fill(i, cur.vals[j])
				break
			}
		}
	}
	byPK := r.NoRowid
	st, err := x.stmt(stmtKey{e.Table, OpUpdate, updateKey(set, moved)}, func() string {
		sql := updateSQL(e.Table.like(r.computed), set, moved)
		return "UPDATE OR ABORT" + strings.TrimPrefix(sql, "UPDATE")
	})
	if err != nil {
		return x.refuseRead(e, err)
	}
	defer st.Done()
	n := 1
	if moved {
		if err := st.BindInt64(n, to); err != nil {
			return err
		}
		n++
	}
	for i := range e.Table.Cols {
		if set.has(i) {
			if err := st.Bind(n, e.New[i]); err != nil {
				return err
			}
			n++
		}
	}
	if byPK {
		err = e.Table.bindPK(st, n, e.key())
	} else {
		err = st.BindInt64(n, cur.rowid)
	}
	if err != nil {
		return err
	}
	refused, err := x.doRow(st)
	if err != nil {
		return err
	}
	if refused != nil {
		return x.refuse(r, e, refused)
	}
	return x.afterSet(r, e, cur, to, kind)
}

// afterSet records what an update overwrote and where the row went.
func (x *Executor) afterSet(r *relation, e *Event, cur *found, to int64, kind string) error {
	if kind != "" {
		if x.strict {
			return fmt.Errorf("%w: a value in %s", ErrStrict, r.Name)
		}
		x.note(wire.OpMerged, 0)
		if err := x.overwritten(r, e, cur, to, kind); err != nil {
			return err
		}
	}
	if x.losesKey(r, e) {
		x.setTo(idKey{e.Table.Name, e.NewRowID}, to) // whatever had it before
		if to != e.NewRowID {
			x.note(wire.OpNewID, to)
		}
	}
	return nil
}

// losesKey reports whether an update puts a NULL into its row's natural key:
// from then on the rowid is the row's only name.
func (x *Executor) losesKey(r *relation, e *Event) bool {
	return r.natural(e) && !r.NoRowid && !r.ipkFK && e.losesKey()
}

// key returns the values that find the row before the operation.
func (e *Event) key() []sqlite.Value {
	if e.Op == OpInsert {
		return e.New
	}
	return e.Old
}

// fill sets a column that the event does not know to the row's own value.
func (e *Event) fill(i int, v sqlite.Value) {
	if e.New == nil {
		e.New = make([]sqlite.Value, len(e.Table.Cols))
	}
	e.New[i] = v
}

// checkStrict refuses a row that differs from what the client saw.
func (x *Executor) checkStrict(r *relation, e *Event, cur *found) error {
	if !x.strict {
		return nil
	}
	for i, c := range e.Table.Cols {
		if j := r.column(c); j < 0 || e.Known.has(i) && !cur.vals[j].Equal(e.Old[i]) {
			return fmt.Errorf("%w: row %d of %s", ErrStrict, cur.rowid, r.Name)
		}
	}
	return nil
}

func (x *Executor) delete(r *relation, e *Event) error {
	x.lost = true
	cur, err := x.target(r, e)
	if err != nil {
		return x.refuseRead(e, err)
	}
	if cur == nil {
		if x.strict {
			return fmt.Errorf("%w: a row of %s is gone", ErrStrict, r.Name)
		}
		x.note(wire.OpNoop, 0)
		return nil
	}
	if err := x.checkStrict(r, e, cur); err != nil {
		return err
	}
	changed := x.unseen(r, cur.rowid, "")
	for i, c := range e.Table.Cols {
		if j := r.column(c); j >= 0 && e.Known.has(i) && !cur.vals[j].Equal(e.Old[i]) {
			changed = true
		}
	}
	st, err := x.stmt(stmtKey{e.Table, OpDelete, ""}, func() string { return "DELETE FROM main." + quote(e.Table.Name) + e.Table.like(r.computed).where() })
	if err != nil {
		return x.refuseRead(e, err)
	}
	defer st.Done()
	if err := e.Table.bindKey(st, 1, cur.rowid, e.Old); err != nil {
		return err
	}
	refused, err := x.doRow(st)
	if err != nil {
		return err
	}
	if refused != nil {
		return x.refuse(r, e, refused)
	}
	x.lost, x.left = false, cur.rowid
	if changed {
		x.note(wire.OpMerged, 0)
		return x.overwritten(r, e, cur, cur.rowid, "delete")
	}
	return nil
}
