package change

import (
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// IsPlaceholder reports whether an id stands for a row that there is none of.
func IsPlaceholder(id int64) bool { return id < placeholderBelow }

// IntentsOnly returns the change's intents as a change without effects. The
// values are its own, so that they can be rewritten.
func (c *Change) IntentsOnly() *Change {
	out := &Change{}
	for i := range c.Events {
		if !c.Events[i].Intent {
			continue
		}
		e := c.Events[i]
		e.Effect = false
		e.Old, e.New = slices.Clone(e.Old), slices.Clone(e.New)
		out.Events = append(out.Events, e)
	}
	return out
}

// HasEffects reports whether the change has any effects.
func (c *Change) HasEffects() bool {
	for i := range c.Events {
		if c.Events[i].Effect {
			return true
		}
	}
	return false
}

// Combine returns a change with the given intents and the effects that they
// had. If the effects were captured with the same intents, those are stored
// once.
func Combine(intents, effects *Change) *Change {
	if effects == nil {
		return intents
	}
	if sameIntents(intents, effects) {
		return effects
	}
	out := &Change{Events: slices.Clone(intents.Events), Sequences: effects.Sequences}
	for i := range effects.Events {
		if e := effects.Events[i]; e.Effect {
			e.Intent = false
			out.Events = append(out.Events, e)
		}
	}
	return out
}

func sameIntents(a, b *Change) bool {
	ia, ib := a.Intents(), b.Intents()
	if len(ia) != len(ib) {
		return false
	}
	for i := range ia {
		if !ia[i].sameIntent(ib[i]) {
			return false
		}
	}
	return true
}

// sameIntent reports whether captured, a whole event, says what e does.
func (e *Event) sameIntent(captured *Event) bool {
	if e.Op != captured.Op || e.RowID != captured.RowID || e.NewRowID != captured.NewRowID ||
		e.Kind != captured.Kind || e.again != captured.again || (e.Table == nil) != (captured.Table == nil) {
		return false
	}
	if e.Table == nil {
		return e.Name == captured.Name && e.SQL == captured.SQL && slices.EqualFunc(e.Args, captured.Args, sqlite.Value.Equal)
	}
	if !e.Table.equal(captured.Table) {
		return false
	}
	for i := range e.Table.Cols {
		switch {
		case e.Op == OpUpdate && e.Changed.has(i) != captured.Changed.has(i):
			return false
		case (e.Op == OpInsert || e.Op == OpUpdate && e.Changed.has(i)) && !e.New[i].Equal(captured.New[i]):
			return false
		case e.Op != OpInsert && e.Known.has(i) && !e.Old[i].Equal(captured.Old[i]):
			return false
		}
	}
	return true
}

// Rename says that an insert got another id than it asked for.
type Rename struct {
	Table    string
	Old, New int64
}

// Renamed returns which inserts got other ids when the change was last run.
func (c *Change) Renamed() []Rename {
	var list []Rename
	for i := range c.Events {
		if e := &c.Events[i]; e.renamed && e.RowID != e.was {
			list = append(list, Rename{e.Table.Name, e.was, e.RowID})
		}
	}
	return list
}

// FinalIDs returns the results of a change that was run, with the id of every
// row that it inserted, also of those that kept theirs: a client that lost the
// answer may have given its rows other ids since. A row with a key of its own
// may have any rowid, and is not among them.
func (c *Change) FinalIDs(res []wire.OpResult) []wire.OpResult {
	var out []wire.OpResult
	for i, e := range c.Intents() {
		n := len(out)
		for len(res) > 0 && res[0].Index == uint32(i) {
			out = append(out, res[0])
			res = res[1:]
		}
		if len(out) > n {
			continue
		}
		if e.Op == OpInsert && e.byRowid() {
			out = append(out, wire.OpResult{Index: uint32(i), Code: wire.OpNewID, NewID: e.RowID})
		}
	}
	return out
}

// byRowid reports whether a row is known by its rowid alone.
func (e *Event) byRowid() bool {
	return !e.Table.NoRowid && (len(e.Table.PK) == 0 || hasNullKey(e))
}

// Rewrite rewrites the ids in intents that were executed elsewhere, to those
// that their rows have. Seed must have been told what became of them.
func (x *Executor) Rewrite(c *Change) {
	for i := range c.Events {
		x.rewrite(&c.Events[i])
	}
}

func (x *Executor) rewrite(e *Event) {
	if e.Op > OpDelete {
		return
	}
	r := x.cap.schema.find(e.Table.Name)
	if r == nil {
		return
	}
	x.mapReferences(r, e)
	if e.Table.NoRowid || r.ipkFK || len(r.PK) > 0 && !hasNullKey(e) {
		return
	}
	stays := e.NewRowID == e.RowID
	e.RowID = x.resolve(e.Table.Name, e.RowID)
	for i := range e.Table.Cols {
		if e.self.has(i) {
			e.New[i].I = e.RowID
		}
	}
	if stays {
		e.NewRowID = e.RowID
	}
}

// Force makes the next Run give the inserts the ids that the server gave them.
func (x *Executor) Force(res []wire.OpResult) {
	x.forced = map[int]int64{}
	for _, r := range res {
		if r.Code == wire.OpNewID {
			x.forced[int(r.Index)] = r.NewID
		}
	}
}

// Shadow reports whether the event's table is one that a virtual table keeps
// its data in, as far as the name tells, or agentdb's own.
func (e *Event) Shadow() bool {
	if e.Table == nil || !e.Effect {
		return true
	}
	for _, suffix := range []string{"_data", "_idx", "_content", "_docsize", "_config"} {
		if strings.HasSuffix(e.Table.Name, suffix) && len(e.Table.Cols) > 0 && shadowColumns(e.Table, suffix) {
			return true
		}
	}
	return false
}

// shadowColumns compares a table's columns with those of FTS5's own tables.
func shadowColumns(t *Table, suffix string) bool {
	switch suffix {
	case "_data":
		return t.IPK == "id" && slices.Equal(t.Cols, []string{"block"})
	case "_idx":
		return slices.Equal(t.Cols, []string{"segid", "term", "pgno"})
	case "_content":
		return t.IPK == "id" && t.Cols[0] == "c0"
	case "_docsize":
		return t.IPK == "id" && t.Cols[0] == "sz"
	}
	return slices.Equal(t.Cols, []string{"k", "v"})
}

// Current returns the row that an update or delete is about to change, by the
// event's columns.
func (e *Event) Current(c *sqlite.Conn) ([]sqlite.Value, error) {
	computed, err := e.Table.computedOf(c)
	if err != nil {
		return nil, err
	}
	t := e.Table.like(computed)
	st, err := c.Cached("SELECT " + t.selectList() + " FROM main." + quote(t.Name) + t.where())
	if err != nil {
		return nil, err
	}
	defer st.Done()
	if err := e.Table.bindKey(st, 1, e.RowID, e.Old); err != nil {
		return nil, err
	}
	if row, err := st.Step(); err != nil || !row {
		return nil, err
	}
	vals := make([]sqlite.Value, len(e.Table.Cols))
	for i := range vals {
		vals[i] = st.Column(i + 1)
	}
	return vals, nil
}

// Merged returns the row after an update, given the one before.
func (e *Event) Merged(old []sqlite.Value) []sqlite.Value {
	if e.Op != OpUpdate || len(old) != len(e.Table.Cols) {
		return e.New
	}
	vals := slices.Clone(old)
	for i := range vals {
		if e.Changed.has(i) {
			vals[i] = e.New[i]
		}
	}
	return vals
}
