package change

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// Renumbering gives rows other ids where they are, for a file that can't undo
// its changes to run them again: the ids that a server gave them. It is told
// the changes in their order, runs once, and then rewrites the changes that
// are still pending.
type Renumbering struct {
	x       *Executor
	moves   map[idKey]int64
	pending map[idKey]bool  // rows of changes that the server has not seen
	back    map[idKey]int64 // rows that such changes have moved there: where they were
	undone  map[idKey]bool  // those of them that go back, since the id is another row's
	given   map[idKey]bool  // ids that the server gave to rows, though they may be gone here
	kept    map[idKey]bool  // rows that have the id that they asked for
	refused map[idKey]bool  // rows that it refused to insert
	leaving map[idKey]bool  // rows that the acknowledged changes, run again, take away from where they are
	final   map[idKey]bool  // ids that are final, see targets
	ran     map[idKey]int64 // where the acknowledged changes, run again, have put rows, and where these are
	vain    bool            // it refused anything
	rows    rows
}

// NewRenumbering returns a Renumbering on the capture's connection, whose
// recording must be suspended.
func NewRenumbering(k *Capture) *Renumbering {
	return &Renumbering{x: NewExecutor(k), leaving: map[idKey]bool{}, moves: map[idKey]int64{}, pending: map[idKey]bool{}, back: map[idKey]int64{}, undone: map[idKey]bool{}, given: map[idKey]bool{}, kept: map[idKey]bool{}, refused: map[idKey]bool{}, ran: map[idKey]int64{}, rows: newRows()}
}

// Since tells, in order, about the commits since the state before the changes:
// rows that others moved are to follow, and those that they deleted are to get
// placeholders for ids, so that what is said about them is not taken for
// somebody else's. It comes first.
func (n *Renumbering) Since(own bool, last uint64, c *Change) {
	if own {
		n.x.Own(c, last)
	} else {
		n.x.Foreign(c)
	}
}

// SetBase says what the ids in the changes refer to.
func (n *Renumbering) SetBase(b Base) { n.x.SetBase(b) }

// Moved takes over where the file's rows are that are not in any change. It
// comes after Since.
func (n *Renumbering) Moved() error {
	for k := range n.x.went.moved() {
		to, ok := n.x.went.meant(k)
		if !ok || to == k.id {
			continue
		}
		if err := n.leaves(k, to); err != nil {
			return err
		}
		if !IsPlaceholder(to) { // the row may be deleted here, by a change that is still to be sent
			n.given[idKey{k.table, to}] = true
		}
	}
	return nil
}

// leaves notes that a row is to move, if it is there.
func (n *Renumbering) leaves(k idKey, to int64) error {
	r := n.x.cap.schema.find(k.table)
	if r == nil || !r.autoKey() && len(r.PK) == 0 || r.kind != relTable && !n.keepsContent(r) {
		return nil
	}
	there, err := n.x.taken(r, k.id)
	if there {
		n.moves[k] = to
	}
	return err
}

// Final returns where the rows of an executed change are now, as results.
func (n *Renumbering) Final(id uint64, c *Change, res []wire.OpResult) []wire.OpResult {
	n.x.went.executed(id, c, res)
	in := c.Intents()
	out := slices.Clone(res)
	for i := range out {
		if r := &out[i]; r.Code == wire.OpNewID && int(r.Index) < len(in) && in[r.Index].Table != nil {
			k := idKey{in[r.Index].Table.Name, r.NewID}
			r.NewID = n.x.went.final(k, id, int(r.Index))
		}
	}
	return out
}

// Evict makes room for the rows of an executed change that is to run again. What
// has one of their ids, and is in no change, is gone on the server.
func (n *Renumbering) Evict(id uint64, c *Change, res []wire.OpResult) error {
	by, in := byOperation(n.Final(id, c, res)), c.Intents()
	for i, e := range in {
		if e.Op > OpDelete || by[i].Code == wire.OpRejected || half(in, i) {
			continue
		}
		if by[i].Code == wire.OpNewID {
			if err := n.evict(e.at(by[i])); err != nil {
				return err
			}
		}
		if e.Op == OpDelete || e.NewRowID != e.RowID {
			n.leaving[idKey{e.Table.Name, e.RowID}] = true
		}
	}
	return nil
}

// evict makes room for one row.
func (n *Renumbering) evict(k idKey) error {
	r := n.x.cap.schema.find(k.table)
	if _, leaves := n.moves[k]; leaves || n.leaving[k] || r == nil || !r.autoKey() || IsPlaceholder(k.id) {
		return nil
	}
	there, err := n.x.taken(r, k.id)
	if there {
		n.moves[k] = placeholder(k.id)
	}
	return err
}

// Acked tells about a change that the server executed, with these results.
func (n *Renumbering) Acked(id uint64, c *Change, res []wire.OpResult) {
	by, last := map[int][]wire.OpResult{}, byOperation(res)
	for _, r := range n.Final(id, c, res) {
		by[int(r.Index)] = append(by[int(r.Index)], r)
		n.vain = n.vain || r.Code == wire.OpRejected
	}
	in := c.Intents()
	for i, e := range in {
		n.rows.intent(c, e)
		n.x.seed(id, i, e, last[i])
		if !half(in, i) {
			n.walk(e)
		}
		if e.Op == OpInsert && !e.again && e.byRowid() {
			n.kept[idKey{e.Table.Name, e.RowID}] = true
		}
		told := false
		for _, r := range by[i] {
			n.outcome(e, r)
			told = told || r.Code == wire.OpNewID || r.Code == wire.OpRejected
		}
		if !told {
			n.went(id, i, e)
		}
	}
}

// went notes where a row is that got the id it asked for, if it has left that
// since, on the server alone: the results don't say.
func (n *Renumbering) went(id uint64, op int, e *Event) {
	if e.Op > OpUpdate || e.again || n.x.refersByID(e.Table.Name) || !e.dropsKey() && (e.Op == OpUpdate && e.NewRowID == e.RowID || !e.byRowid()) {
		return
	}
	k := idKey{e.Table.Name, e.here()}
	to := n.x.went.final(idKey{k.table, e.NewRowID}, id, op)
	if n.kept[k] = to == k.id; to != k.id {
		n.moves[k] = to
	}
}

// outcome notes what became of one operation.
func (n *Renumbering) outcome(e *Event, r wire.OpResult) {
	if e.Op > OpUpdate || e.Table.NoRowid {
		return
	}
	k := idKey{e.Table.Name, e.here()}
	follows := n.x.refersByID(e.Table.Name) // such ids follow others
	switch {
	case r.Code == wire.OpNewID && !follows:
		n.moves[k] = r.NewID
		n.kept[k] = r.NewID == k.id
		n.given[idKey{k.table, r.NewID}] = true
	case r.Code == wire.OpRejected && e.again:
	case r.Code == wire.OpRejected && e.Op == OpInsert:
		n.refused[k] = true
	case r.Code == wire.OpRejected && e.dropsKey() && !follows:
		n.moves[k] = placeholder(k.id) // it has only its id here, which may be another's there
		n.x.setTo(k, n.moves[k])
	case r.Code == wire.OpRejected && e.NewRowID != e.RowID && !follows && !e.vain:
		n.moves[k] = n.x.resolve(e.Table.Name, e.RowID)
	}
}

// Pending tells about a change that is still to be sent.
func (n *Renumbering) Pending(c *Change) {
	n.x.Expect(c)
	if c.Bare() {
		return // it was taken back
	}
	in := c.Intents()
	for i, e := range in {
		n.rows.intent(c, e)
		if half(in, i) {
			continue
		}
		n.walk(e)
		switch {
		case e.Op == OpInsert && !e.Table.NoRowid:
			n.pending[idKey{e.Table.Name, e.RowID}] = true
		case e.Op == OpUpdate && e.NewRowID != e.RowID && !e.vain && e.byRowid():
			n.back[idKey{e.Table.Name, e.NewRowID}] = e.RowID
		}
	}
}

// walk follows ids that are used again: a row inserted later with the id of
// one that was to move, or that got that id, is another row.
func (n *Renumbering) walk(e *Event) {
	if e.Op > OpDelete || e.Table.NoRowid || e.Op == OpUpdate && e.here() == e.RowID {
		return
	}
	k, now := idKey{e.Table.Name, e.RowID}, idKey{e.Table.Name, e.NewRowID}
	to, moves := n.moves[k]
	refused := n.refused[k]
	for _, id := range []idKey{k, now} {
		delete(n.moves, id)
		delete(n.refused, id)
		delete(n.kept, id)
		delete(n.back, id)
	}
	if e.Op != OpUpdate {
		return
	}
	if moves && IsPlaceholder(to) {
		n.moves[now] = to
	}
	if refused {
		n.refused[now] = true
	}
}

// Run moves the rows.
func (n *Renumbering) Run() error {
	a, err := NewApplier(n.x.conn, nil)
	if err != nil {
		return err
	}
	if err := n.run(); err != nil {
		return err
	}
	if n.vain {
		if err := n.mend(); err != nil {
			return err
		}
	}
	if err := a.Close(); err != nil {
		return err
	}
	if err := n.rebuild(); err != nil {
		return err
	}
	// What the full-text indexes hold in memory belongs to no change.
	n.x.cap.dirty = true
	return n.x.cap.flush()
}

func (n *Renumbering) run() error {
	for k := range n.refused {
		r := n.x.cap.schema.find(k.table)
		if r == nil || r.NoRowid || r.kind != relTable && !n.keepsContent(r) {
			continue
		}
		if err := n.exec("DELETE FROM "+quote(r.Name)+" WHERE "+quote(r.rowid)+"=?", sqlite.Int(k.id)); err != nil {
			return err
		}
	}
	if err := n.clear(); err != nil {
		return err
	}
	keys := make([]idKey, 0, len(n.moves))
	for k := range n.moves {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b idKey) int { return strings.Compare(a.table, b.table) })
	parked := make([]int64, len(keys))
	for i, k := range keys {
		parked[i] = placeholder(k.id)
		if err := n.move(k.table, k.id, parked[i]); err != nil {
			return err
		}
	}
	for i, k := range keys {
		if err := n.unpark(k, parked[i]); err != nil {
			return err
		}
	}
	return nil
}

// unpark moves a row to where it belongs. If another is there, whatever the
// reason, it keeps an id that no row has on the server: what is said about it is
// recorded there, and the file can be synced. One that is gone on the server may
// be, under the id of another that is gone.
func (n *Renumbering) unpark(k idKey, parked int64) error {
	if r := n.x.cap.schema.find(k.table); r != nil && !r.NoRowid {
		there, err := n.x.there(r, n.moves[k])
		if err != nil {
			return err
		}
		if there {
			n.moves[k] = parked
			return nil
		}
	}
	return n.move(k.table, parked, n.moves[k])
}

// clear moves rows out of the way of those whose id is final: pending ones, those
// that have a key, and may have any rowid, and those that are gone on the server.
func (n *Renumbering) clear() error {
	n.final = map[idKey]bool{}
	for _, to := range n.targets() {
		n.final[to] = true
		r := n.x.cap.schema.find(to.table)
		if _, leaves := n.moves[to]; leaves || n.kept[to] || n.leaving[to] || r == nil || r.NoRowid || IsPlaceholder(to.id) {
			continue
		}
		there, err := n.x.taken(r, to.id)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if from, ok := n.back[to]; ok {
			n.moves[to], n.undone[to] = n.x.resolve(to.table, from), true
			continue
		}
		if len(r.PK) == 0 && !n.pending[to] {
			n.moves[to] = placeholder(to.id)
			continue
		}
		for _, k := range n.targets() {
			if k.table == to.table {
				n.x.asked[r.Name] = max(n.x.asked[r.Name], k.id)
			}
		}
		id, err := n.x.freeID(r)
		if err != nil {
			return err
		}
		n.moves[to] = id
	}
	return nil
}

// targets lists the ids that rows will have, or had when they were deleted here
// since: the server may not know that yet.
func (n *Renumbering) targets() []idKey {
	list := slices.Collect(maps.Keys(n.given))
	for k, id := range n.moves {
		if to := (idKey{k.table, id}); !n.given[to] {
			list = append(list, to)
		}
	}
	return list
}

// move gives a row another id, and its references with it.
func (n *Renumbering) move(table string, from, to int64) error {
	r := n.x.cap.schema.find(table)
	if r == nil || r.NoRowid || r.kind != relTable && !n.keepsContent(r) {
		return nil
	}
	return n.set(r, r.rowid, from, to, nil)
}

// set replaces an id in a column, and, if the column is the table's own key, in
// the references to it. above are the tables that led there.
func (n *Renumbering) set(r *relation, col string, from, to int64, above []*relation) error {
	if err := n.exec("UPDATE "+quote(r.Name)+" SET "+quote(col)+"=? WHERE "+quote(col)+"=?", sqlite.Int(to), sqlite.Int(from)); err != nil {
		return err
	}
	if col != r.rowid {
		return nil
	}
	above = append(above, r)
	for _, child := range n.x.cap.schema.rels {
		for _, fk := range child.fks {
			if fk.parent != r.Name || child.skip {
				continue
			}
			col := child.rowid
			if fk.col >= 0 {
				col = child.Cols[fk.col]
			} else if slices.Contains(above, child) {
				continue
			}
			if err := n.set(child, col, from, to, above); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepsContent reports whether a virtual table is a full-text table with rows
// of its own.
func (n *Renumbering) keepsContent(r *relation) bool {
	c := n.x.cap.schema.rels[r.Name+"_content"]
	return c != nil && c.content == r
}

func (n *Renumbering) exec(sql string, args ...sqlite.Value) error {
	if err := n.x.conn.ExecArgs(sql, args...); err != nil {
		return fmt.Errorf("change: renumber: %w", err)
	}
	return nil
}

// rebuild makes full-text indexes over other tables' content anew: their
// triggers did not run.
func (n *Renumbering) rebuild() error {
	if len(n.moves) == 0 && len(n.refused) == 0 {
		return nil
	}
	for _, r := range n.x.cap.schema.rels {
		if r.kind != relVirtual || r.skip {
			continue
		}
		sql, err := n.x.conn.QueryText("SELECT coalesce(sql,'') FROM main.sqlite_schema WHERE name=?", sqlite.Text(r.Name))
		if err != nil {
			return fmt.Errorf("change: renumber: %w", err)
		}
		if c := n.x.cap.schema.rels[r.Name+"_content"]; c != nil || !containsFold(sql, "fts5") || strings.Contains(sql, "content=''") {
			continue
		}
		if err := n.exec("INSERT INTO " + quote(r.Name) + "(" + quote(r.Name) + ") VALUES('rebuild')"); err != nil {
			return err
		}
	}
	return nil
}
