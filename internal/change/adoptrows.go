package change

import (
	"maps"
	"slices"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// rowsFirst orders inserts so that rows come after those they refer to. Where
// rows refer to one another, one is inserted without its reference, and updated
// after all of them; cyclic says that its column doesn't allow that.
func (k *Capture) rowsFirst(events []Event) (out []Event, cyclic bool, err error) {
	o := rowOrder{k: k, events: events, ids: map[idKey]int{}, keys: map[string]int{}, state: make([]orderState, len(events)), required: map[idKey]bool{}}
	for i := range events {
		e := &events[i]
		if len(e.Table.PK) > 0 {
			o.keys[keyText(e.Table, e.New)] = i
		}
		if !e.Table.NoRowid {
			o.ids[idKey{e.Table.Name, e.RowID}] = i
		}
		if err := o.columns(e.Table); err != nil {
			return nil, false, err
		}
	}
	for i := range events {
		o.visit(i)
	}
	return append(o.out, o.updates...), o.cyclic, nil
}

type orderState uint8

const (
	rowUnseen  orderState = iota
	rowBegun              // those it refers to are being visited
	rowOrdered            // it is in out
)

type rowOrder struct {
	k        *Capture
	events   []Event
	ids      map[idKey]int
	keys     map[string]int
	required map[idKey]bool // columns that can't be NULL, by number; -1 is there for each table
	state    []orderState
	out      []Event
	updates  []Event
	cyclic   bool
}

// columns notes which columns of a table can't be NULL.
func (o *rowOrder) columns(t *Table) error {
	if o.required[idKey{t.Name, -1}] {
		return nil
	}
	o.required[idKey{t.Name, -1}] = true
	st, _, err := o.k.conn.Prepare(`SELECT name FROM pragma_table_info(?) WHERE "notnull" OR pk`)
	if err != nil {
		return err
	}
	defer st.Finalize()
	if err := st.BindText(1, t.Name); err != nil {
		return err
	}
	for {
		row, err := st.Step()
		if err != nil || !row {
			return err
		}
		if i := t.column(st.ColumnText(0)); i >= 0 {
			o.required[idKey{t.Name, int64(i)}] = true
		}
	}
}

func (o *rowOrder) visit(i int) {
	if o.state[i] != rowUnseen {
		return
	}
	o.state[i] = rowBegun
	e := &o.events[i]
	r := o.k.schema.rels[e.Table.Name]
	var later bitset // columns to be set when all rows are there
	refer := func(p int, ok bool, col int) {
		switch {
		case !ok || p == i:
		case o.state[p] != rowBegun:
			o.visit(p)
		case col < 0 || o.required[idKey{e.Table.Name, int64(col)}]:
			o.cyclic = true
		default:
			if later == nil {
				later = newBitset(len(e.New))
			}
			later.set(col)
		}
	}
	for _, fk := range r.fks {
		if fk.col < 0 {
			p, ok := o.ids[idKey{fk.parent, e.RowID}]
			refer(p, ok, -1)
		} else if v := e.New[fk.col]; v.Kind == sqlite.KindInteger {
			p, ok := o.ids[idKey{fk.parent, v.I}]
			refer(p, ok, fk.col)
		}
	}
	for _, ref := range r.keyRefs {
		key, col := make([]sqlite.Value, len(ref.parent.Cols)), -1
		for to, from := range ref.cols {
			if key[to] = e.New[from]; !o.required[idKey{e.Table.Name, int64(from)}] {
				col = from
			}
		}
		p, ok := o.keys[keyText(&ref.parent.Table, key)]
		refer(p, ok, col)
	}
	o.state[i] = rowOrdered
	o.add(e, later)
}

// add adds an insert, as an insert and an update if some of its columns have to
// wait. What it does to the file is one event all the same.
func (o *rowOrder) add(e *Event, later bitset) {
	if later == nil {
		o.out = append(o.out, *e)
		return
	}
	ins, eff := *e, *e
	ins.Effect, eff.Intent = false, false
	ins.New = slices.Clone(e.New)
	for i := range ins.New {
		if later.has(i) {
			ins.New[i] = sqlite.Value{}
		}
	}
	o.out = append(o.out, ins, eff)
	o.updates = append(o.updates, Event{
		Op: OpUpdate, Intent: true, Table: e.Table, RowID: e.RowID, NewRowID: e.RowID,
		Old: ins.New, Known: all(len(ins.New)), New: e.New, Changed: later,
	})
}

// cuts returns the events before which the change ends, and another begins:
// each time that there are more than about limit bytes of values.
func (k *description) cuts(limit int) []int {
	var cuts []int
	bytes, whole := 0, k.whole
	for i := range k.c.Events {
		for len(whole) > 0 && whole[0][1] <= i {
			whole = whole[1:]
		}
		if bytes > limit && (len(whole) == 0 || i <= whole[0][0]) {
			bytes, cuts = 0, append(cuts, i)
		}
		e := &k.c.Events[i]
		vals := e.New
		if e.Statement != nil {
			vals = e.Args
		}
		for j := range vals {
			bytes += len(vals[j].B) + 9
		}
	}
	return cuts
}

// split ends a change that only inserts at each cut and goes on with another.
// The counters of AUTOINCREMENT go along with the rows.
func (c *Change) split(cuts []int) []*Change {
	if len(cuts) == 0 {
		return []*Change{c}
	}
	var parts []*Change
	at, final := map[string]int64{}, map[string]int64{}
	for _, s := range c.Sequences {
		at[s.Table], final[s.Table] = s.Before, s.After
	}
	start := 0
	for _, end := range append(cuts, len(c.Events)) {
		p := &Change{Events: c.Events[start:end:end]}
		reached := map[string]int64{}
		for i := range p.Events {
			if e := &p.Events[i]; e.Op == OpInsert && e.Table.IPK != "" {
				if was, ok := at[e.Table.Name]; ok {
					reached[e.Table.Name] = max(was, reached[e.Table.Name], e.RowID)
				}
			}
		}
		if end == len(c.Events) {
			maps.Copy(reached, final)
		}
		for _, s := range c.Sequences {
			if to, ok := reached[s.Table]; ok && to != at[s.Table] {
				p.Sequences = append(p.Sequences, Sequence{s.Table, at[s.Table], to})
				at[s.Table] = to
			}
		}
		parts, start = append(parts, p), end
	}
	return parts
}
