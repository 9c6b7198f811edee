package change

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/wire"
)

// travels follows rows since the base of the changes to come, in the order of
// the commits: which were deleted or moved by others, and where they are.
type travels struct {
	from Base
	gone map[idKey]int64 // rows of the base: where they are; a placeholder if deleted
	mine map[idKey][]put // the same of rows that the replica itself put there since
	own  map[idKey]int64 // rows of the base that the replica's own commits deleted: placeholders; or moved, or replaced: 0
	at   map[idKey]place // who is where now, of rows that are not where they began
	// Which of the rows in mine an operation put there, or found: both come in
	// one order.
	puts map[putBy]int
	next map[idKey]int
	upTo uint64 // the last change that executed was told of
	// dropped counts the names that were given to tables which are gone.
	dropped int
	// again says that the own commits are to run again, on the base: what they
	// deleted is still there.
	again bool
}

// put is a row that the replica put at an id, with one of its changes.
type put struct {
	last uint64 // the last change of the commit that did
	to   int64  // where the row is now
	gone int64  // a placeholder, if one of the replica's own commits deleted it
}

// putBy is an operation of one of the replica's changes.
type putBy struct {
	change uint64
	op     int
}

// place says which row is meant: one of the base, or one of the replica's own,
// with the id that it began with.
type place struct {
	id  int64
	own int // the how manieth that the replica put there, from 1; 0: one of the base
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

// reset forgets everything.
func (t *travels) reset() {
	*t = travels{puts: emptied(t.puts), next: emptied(t.next), gone: emptied(t.gone), mine: emptied(t.mine), own: emptied(t.own), at: emptied(t.at)}
}

// follow notes that the row with an id went elsewhere.
func (t *travels) follow(k idKey, to int64) {
	row, there := t.leave(k)
	if !there {
		return // it came after the row of the base, which nobody here can mean
	}
	if began := (idKey{k.table, row.id}); row.own > 0 {
		t.mine[began][row.own-1].to = to
	} else {
		t.gone[began] = to
	}
	if !IsPlaceholder(to) {
		t.at[idKey{k.table, to}] = row
	}
}

// leave takes the row with an id away, and says which it was, if it was one of
// the base or of the replica.
func (t *travels) leave(k idKey) (row place, there bool) {
	if row, there = t.at[k]; there {
		delete(t.at, k)
		return row, true
	}
	_, away := t.gone[k]
	_, deleted := t.own[k]
	return place{id: k.id}, !away && !deleted
}

// put notes that the replica itself has put a row there, in a commit of changes
// up to last. If it deleted another there before, that one is replaced.
func (t *travels) put(k idKey, last uint64) {
	t.mine[k] = append(t.mine[k], put{last: last, to: k.id})
	t.at[k] = place{id: k.id, own: len(t.mine[k])}
	if t.own[k] != 0 {
		t.own[k] = 0
	}
}

// delete notes that one of the replica's own commits deleted a row. It may have
// done so on the server alone, where others had made the row a child of another.
func (t *travels) delete(k idKey) {
	row, there := t.leave(k)
	if !there {
		return
	}
	if began := (idKey{k.table, row.id}); row.own > 0 {
		t.mine[began][row.own-1].gone = placeholder(row.id)
	} else {
		t.own[began] = placeholder(row.id)
	}
}

// executed notes which rows of the replica's the operations of a change that was
// executed have put somewhere, or found. The changes come in their order.
func (t *travels) executed(id uint64, c *Change, res []wire.OpResult) {
	if id <= t.upTo {
		return
	}
	t.upTo = id
	by := byOperation(res)
	for i, e := range c.Intents() {
		r := by[i]
		if e.Op != OpInsert && e.Op != OpUpdate || e.Table.NoRowid || r.Code == wire.OpRejected {
			continue
		}
		lost := e.Op == OpUpdate && r.Code == wire.OpNewID || e.dropsKey()
		if !lost && !e.byRowid() {
			continue // it is known by its key
		}
		k := e.at(r)
		n := t.next[k]
		merged := e.Op == OpInsert && r.Code == wire.OpMerged
		if merged || e.again || e.Op == OpUpdate && e.NewRowID == e.RowID && !lost {
			n--
		} else {
			for n < len(t.mine[k]) && t.mine[k][n].last < id {
				n++
			}
			t.next[k] = n + 1
		}
		t.puts[putBy{id, i}] = n
	}
}

// at returns the id that the row of an executed operation had after it.
func (e *Event) at(r wire.OpResult) idKey {
	if r.Code == wire.OpNewID {
		return idKey{e.Table.Name, r.NewID}
	}
	return idKey{e.Table.Name, e.NewRowID}
}

// final returns where the row of an executed operation is, which had the id k
// after it.
func (t *travels) final(k idKey, id uint64, op int) int64 {
	n, ok := t.puts[putBy{id, op}]
	if ok && n >= 0 && n < len(t.mine[k]) {
		return t.where(t.mine[k][n])
	}
	if ok && n < 0 { // it found a row of the base
		if to, left := t.meant(k); left {
			return to
		}
	}
	return k.id
}

// where returns where a row is that the replica put somewhere.
func (t *travels) where(p put) int64 {
	if p.gone != 0 && !t.again {
		return p.gone
	}
	return p.to
}

// meant returns where the row is that the changes mean by an id, if it is not
// there.
func (t *travels) meant(k idKey) (to int64, ok bool) {
	switch puts := t.mine[k]; {
	case t.from == BaseKnown:
		if to = t.own[k]; to != 0 && !t.again {
			return to, true
		}
		to, ok = t.gone[k]
	case t.from == BaseEmpty && len(puts) > 0:
		to, ok = t.where(puts[len(puts)-1]), true
	}
	return to, ok
}

// moved lists the ids that meant has something about.
func (t *travels) moved() iter.Seq[idKey] {
	switch t.from {
	case BaseKnown:
		all := maps.Clone(t.gone)
		maps.Copy(all, t.own)
		return maps.Keys(all)
	case BaseEmpty:
		return maps.Keys(t.mine)
	}
	return func(func(idKey) bool) {}
}

// touch is what an effect did to a row's id: it gave it out, took it away, or
// replaced it by another.
type touch struct {
	op       Op
	table    string
	from, to int64
	ddl      *Statement // of OpDDL: it gives a table another name
}

// touches returns what the change's effects did to ids of rows: with the inserts,
// if they are wanted, those of rows that are known by nothing else. An update of a
// full-text row is one, though it deletes the row and inserts it again.
func (c *Change) touches(inserts bool) []touch {
	var list []touch
	for i := range c.Events {
		e := &c.Events[i]
		if e.renamesTable() {
			list = append(list, touch{op: OpDDL, ddl: e.Statement})
		}
		if !inserts && e.still() && !e.again {
			continue
		}
		table := e.rowsOf()
		if table != "" && inserts && e.hasKey() {
			if e.losesKey() { // from here on it is known by its id
				list = append(list, touch{op: OpInsert, table: table, from: e.NewRowID, to: e.NewRowID})
			}
			continue
		}
		if table == "" || e.Op == OpUpdate && e.still() {
			continue
		}
		t := touch{op: e.Op, table: table, from: e.RowID, to: e.NewRowID}
		if n := lastDelete(list, table); e.again && n >= 0 {
			t.op, t.from = OpUpdate, list[n].from
			list = slices.Delete(list, n, n+1)
			if t.from == t.to {
				continue
			}
		}
		list = append(list, t)
	}
	return list
}

// hasKey reports whether the row is known to have a natural key: its id is only
// where it happens to be.
func (e *Event) hasKey() bool {
	for _, i := range e.Table.PK {
		if e.Op != OpInsert && (i >= len(e.Old) || !e.Known.has(i)) {
			return false
		}
	}
	return len(e.Table.PK) > 0 && !hasNullKey(e)
}

// losesKey reports whether an update puts a NULL into its row's natural key.
func (e *Event) losesKey() bool {
	return e.Op == OpUpdate && slices.ContainsFunc(e.Table.PK, func(i int) bool { return e.Changed.has(i) && e.New[i].IsNull() })
}

// dropsKey is losesKey of a row that had one: from here on it is known by its id.
func (e *Event) dropsKey() bool { return e.losesKey() && !e.byRowid() }

// lastDelete returns the index of the last touch of a table's rows if it is a
// delete, else -1.
func lastDelete(list []touch, table string) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].table == table {
			if list[i].op == OpDelete {
				return i
			}
			break
		}
	}
	return -1
}

// rowsOf returns the table whose rows an effect is about: its own, or the
// full-text table that keeps its rows there; "" if it is about none.
func (e *Event) rowsOf() string {
	if !e.Effect || e.Op > OpDelete || e.Table.NoRowid {
		return ""
	}
	if !e.Shadow() {
		return e.Table.Name
	}
	name, ok := strings.CutSuffix(e.Table.Name, contentSuffix)
	if !ok || !shadowColumns(e.Table, contentSuffix) {
		return ""
	}
	return name
}

const contentSuffix = "_content"

// Foreign tells the executor about a commit made by others since the base of
// the changes to come: references to rows that it deleted are dead, even if
// the id is in use again, and references to rows that it moved follow.
func (x *Executor) Foreign(c *Change) {
	for _, t := range c.touches(false) {
		if t.op == OpDDL {
			x.retabledByOthers(retabled(t.ddl.SQL))
			continue
		}
		to := t.to
		if t.op == OpDelete {
			to = placeholder(t.from)
		}
		x.went.follow(idKey{t.table, t.from}, to)
	}
}

// Own tells the executor about a commit of its own replica since the base:
// the rows it put somewhere are this replica's, whatever had their id before.
// last is the last change in it; 0 if there is none.
func (x *Executor) Own(c *Change, last uint64) {
	for _, t := range c.touches(true) {
		switch k := (idKey{t.table, t.from}); t.op {
		case OpDDL:
			continue // the change itself is told by Seed
		case OpDelete:
			x.went.delete(k)
		case OpUpdate:
			if row, there := x.went.leave(k); there && row.own == 0 {
				x.went.own[idKey{t.table, row.id}] = 0
			}
		}
		if t.op != OpDelete {
			x.went.put(idKey{t.table, t.to}, last)
		}
	}
}

// Again says whether the changes to come are those of the own commits, to run
// once more on the base: what these deleted is still there. It is off at first.
func (x *Executor) Again(on bool) { x.went.again = on }

// Moves returns what Foreign, or Own, needs to know of a commit, without values.
func (c *Change) Moves(own bool) *Change {
	out := &Change{}
	tables := map[string]*Table{}
	for _, m := range c.touches(own) {
		if m.op == OpDDL {
			out.Events = append(out.Events, Event{Op: OpDDL, Effect: true, Statement: m.ddl})
			continue
		}
		t := tables[m.table]
		if t == nil {
			t = &Table{Name: m.table}
			tables[m.table] = t
		}
		out.Events = append(out.Events, Event{Op: m.op, Effect: true, Table: t, RowID: m.from, NewRowID: m.to})
	}
	return out
}

// still reports whether the event neither deletes nor moves a row by its id.
func (e *Event) still() bool {
	return e.Op > OpDelete || e.Op == OpInsert || e.Table.NoRowid || e.Op == OpUpdate && e.NewRowID == e.RowID
}

// Seed tells the executor what became of the change with a number that was
// executed before, so that later changes find the rows that it made. It comes
// after Foreign and Own.
func (x *Executor) Seed(id uint64, c *Change, res []wire.OpResult) {
	x.went.executed(id, c, res)
	by := byOperation(res)
	for i, e := range c.Intents() {
		x.seed(id, i, e, by[i])
	}
}

// byOperation returns the last result of each operation.
func byOperation(res []wire.OpResult) map[int]wire.OpResult {
	by := make(map[int]wire.OpResult, len(res))
	for _, r := range res {
		by[int(r.Index)] = r
	}
	return by
}

// seed is Seed of one operation: those of a change come in their order.
func (x *Executor) seed(id uint64, op int, e *Event, r wire.OpResult) {
	if e.Op > OpDelete {
		x.seedTable(e, r)
		return
	}
	k, at := idKey{e.Table.Name, e.NewRowID}, e.at(r)
	switch m := x.moving(e); {
	case e.Op == OpUpdate && r.Code == wire.OpRejected:
		x.refusedMove(m, e)
	case e.Op == OpUpdate:
		x.done(m, x.went.final(k, id, op))
		if at != k || e.dropsKey() {
			x.ids[k] = x.went.final(at, id, op)
		}
	case e.Op == OpDelete || e.Table.NoRowid || x.refersByID(e.Table.Name):
	case r.Code == wire.OpRejected:
		x.ids[k] = placeholder(k.id)
	default:
		x.ids[k] = x.went.final(at, id, op)
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
	if to, ok := x.formerly(k); ok {
		return to
	}
	to, went := x.went.meant(k)
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
