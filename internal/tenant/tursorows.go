package tenant

import (
	"errors"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/turso"
)

// insert takes an INSERT. One of a row that the client has seen is an update:
// clients send their ON CONFLICT DO UPDATE so. One of an id that the client
// can't have seen is a new row, which gets another id if that one is taken.
func (t *tursoRun) insert(op *tursoOp, w *turso.Write, args []sqlite.Value) (err error) {
	id, auto := t.keyID(w.Table, w.Key, keyVals(w, args))
	if auto && !t.deleted[w.Table][id] {
		known := t.owns(w.Table, id)
		if !known {
			exists, err := t.in.Exists(w.Table, id)
			if err == nil && exists {
				known, err = t.base.has(w.Table, id)
			}
			if err != nil {
				return err
			}
		}
		if known {
			op.e, err = t.in.Update(w.Table, w.Cols, args, w.Key, keyVals(w, args))
			return err
		}
	}
	if op.e, err = t.in.Insert(w.Table, w.Cols, args); err != nil {
		return err
	}
	switch {
	case auto:
		op.auto, op.id = true, id
		delete(t.deleted[w.Table], id)
		t.state.own(w.Table, id)
	case len(w.Key) == 0 && t.in.AutoKey(w.Table):
		op.auto = true
		op.rows, err = t.localRows(w.Table)
	}
	return err
}

// owns reports whether the client has inserted a row with that id since its
// base.
func (t *tursoRun) owns(table string, id int64) bool {
	return t.state.owns(table, id) || t.replay != nil && t.replay.owns(table, id)
}

// localRows returns the client's rows without a key in a table, by the rowids
// that the statements mean.
func (t *tursoRun) localRows(table string) (*localRows, error) {
	if t.replay != nil {
		return t.rowsOn(t.replay, table, t.origin, t.origins)
	}
	return t.rowsOn(t.state, table, t.base, t.others)
}

// rowsOn returns the rows without a key that a client has put into a table of
// that state, or one of the others.
func (t *tursoRun) rowsOn(s *tursoState, table string, base *past, others []uint64) (*localRows, error) {
	if l := s.Rows[table]; l != nil {
		return l, nil
	}
	l := &localRows{Vague: base == nil}
	s.Rows[table] = l
	if base == nil {
		return l, nil
	}
	var err error
	if l.Top, err = base.top(table); err != nil {
		return nil, err
	}
	for _, seq := range others {
		top, err := t.d.past(seq).top(table)
		if err != nil {
			return nil, err
		}
		l.Vague = l.Vague || top != l.Top
	}
	return l, nil
}

// errVague: a rowid of the client's may be that of several rows.
var errVague = errors.New("which row has that rowid at the client is not known: pull before you change rows without a key")

// rowID returns where a row without a key is that the client knows by a rowid.
func (t *tursoRun) rowID(table string, local int64, gone bool) (int64, error) {
	if err := t.flush(); err != nil { // rows of this push get their rowid there
		return 0, err
	}
	l, err := t.localRows(table)
	if err != nil {
		return 0, err
	}
	if (l.Vague || t.replay != nil && t.again) && local > l.Top {
		return 0, errVague
	}
	i := l.find(local)
	if i < 0 {
		if gone {
			on := t.base
			if t.replay != nil {
				on = t.origin
			}
			err = l.dies(local, table, on)
		}
		return local, err
	}
	here := l.Rows[i][1]
	if gone {
		l.Rows = append(l.Rows[:i], l.Rows[i+1:]...)
	}
	return here, nil
}

func (t *tursoRun) update(op *tursoOp, w *turso.Write, args []sqlite.Value) (err error) {
	n := len(w.Cols)
	if w.RowID {
		id, err := t.rowID(w.Table, args[n].I, false)
		if err == nil {
			op.e, err = t.in.Update(w.Table, w.Cols, args[:n], nil, []sqlite.Value{sqlite.Int(id)})
		}
		return err
	}
	by := args[n:]
	if moved := movesKey(w); moved {
		if by, err = t.oldKey(w, args); err != nil {
			return err
		}
	}
	op.e, err = t.in.Update(w.Table, w.Cols, args[:n], w.Key, by)
	return err
}

// movesKey reports whether an update sets columns of the key.
func movesKey(w *turso.Write) bool {
	for _, k := range w.Key {
		for _, c := range w.Cols {
			if c == k {
				return true
			}
		}
	}
	return false
}

// oldKey returns the key that a row had before an update of its key, which
// tells the new one only: that of the sole row with the same values in the other
// columns of the key.
func (t *tursoRun) oldKey(w *turso.Write, args []sqlite.Value) ([]sqlite.Value, error) {
	by := args[len(w.Cols):]
	if err := t.flush(); err != nil {
		return nil, err
	}
	if !t.in.Table(w.Table) {
		return by, nil
	}
	if same, err := t.in.Sole(w.Table, w.Key, w.Key, by); err != nil || same != nil {
		return by, err
	}
	var have []string
	var vals []sqlite.Value
next:
	for i, k := range w.Key {
		for _, c := range w.Cols {
			if c == k {
				continue next
			}
		}
		have, vals = append(have, k), append(vals, by[i])
	}
	if len(have) == 0 {
		return by, nil
	}
	old, err := t.in.Sole(w.Table, w.Key, have, vals)
	if err != nil || old == nil {
		return by, err
	}
	return old, nil
}

func (t *tursoRun) delete(op *tursoOp, w *turso.Write, args []sqlite.Value) (err error) {
	if w.RowID {
		id, err := t.rowID(w.Table, args[0].I, true)
		if err == nil {
			op.e, err = t.in.Delete(w.Table, nil, []sqlite.Value{sqlite.Int(id)})
		}
		return err
	}
	if id, ok := t.keyID(w.Table, w.Key, args); ok {
		if t.deleted[w.Table] == nil {
			t.deleted[w.Table] = map[int64]bool{}
		}
		t.deleted[w.Table][id] = true
		t.state.forget(w.Table, id)
		t.replay.forget(w.Table, id)
	}
	op.e, err = t.in.Delete(w.Table, w.Key, args)
	return err
}
