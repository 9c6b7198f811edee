package change

import (
	"maps"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// rowsFirst orders inserts so that rows come after those they refer to. It
// reports whether that is impossible, because rows refer to one another.
func (k *Capture) rowsFirst(events []Event) (cyclic bool) {
	o := rowOrder{k: k, events: events, ids: map[idKey]int{}, keys: map[string]int{}, state: make([]uint8, len(events))}
	for i := range events {
		if e := &events[i]; len(e.Table.PK) > 0 {
			o.keys[keyText(e.Table, e.New)] = i
		}
		if e := &events[i]; !e.Table.NoRowid {
			o.ids[idKey{e.Table.Name, e.RowID}] = i
		}
	}
	for i := range events {
		o.visit(i)
	}
	copy(events, o.out)
	return o.cyclic
}

type rowOrder struct {
	k      *Capture
	events []Event
	ids    map[idKey]int
	keys   map[string]int
	state  []uint8 // 1: those it refers to are being visited; 2: it is in out
	out    []Event
	cyclic bool
}

func (o *rowOrder) visit(i int) {
	if o.state[i] != 0 {
		o.cyclic = o.cyclic || o.state[i] == 1
		return
	}
	o.state[i] = 1
	e := &o.events[i]
	r := o.k.schema.rels[e.Table.Name]
	for _, fk := range r.fks {
		id := e.RowID
		if fk.col >= 0 {
			if e.New[fk.col].Kind != sqlite.KindInteger {
				continue
			}
			id = e.New[fk.col].I
		}
		if p, ok := o.ids[idKey{fk.parent, id}]; ok && p != i {
			o.visit(p)
		}
	}
	for _, ref := range r.keyRefs {
		key := make([]sqlite.Value, len(ref.parent.Cols))
		for to, from := range ref.cols {
			key[to] = e.New[from]
		}
		if p, ok := o.keys[keyText(&ref.parent.Table, key)]; ok && p != i {
			o.visit(p)
		}
	}
	o.state[i] = 2
	o.out = append(o.out, *e)
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
