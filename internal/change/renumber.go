package change

import (
	"fmt"
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
	pending map[idKey]bool // rows of changes that the server has not seen
	refused []*Event       // inserts that it refused
}

// NewRenumbering returns a Renumbering on the capture's connection, whose
// recording must be suspended.
func NewRenumbering(k *Capture) *Renumbering {
	return &Renumbering{x: NewExecutor(k), moves: map[idKey]int64{}, pending: map[idKey]bool{}}
}

// Acked tells about a change that the server executed, with these results.
func (n *Renumbering) Acked(c *Change, res []wire.OpResult) {
	n.x.Seed(c, res)
	in := c.Intents()
	for _, e := range in {
		n.walk(e)
	}
	for _, r := range res {
		if int(r.Index) >= len(in) || in[r.Index].Op != OpInsert || in[r.Index].Table.NoRowid {
			continue
		}
		e := in[r.Index]
		switch r.Code {
		case wire.OpNewID:
			n.moves[idKey{e.Table.Name, e.RowID}] = r.NewID
		case wire.OpRejected:
			n.refused = append(n.refused, e)
		}
	}
}

// Pending tells about a change that is still to be sent.
func (n *Renumbering) Pending(c *Change) {
	n.x.Expect(c)
	for _, e := range c.Intents() {
		n.walk(e)
		if e.Op == OpInsert && !e.Table.NoRowid {
			n.pending[idKey{e.Table.Name, e.RowID}] = true
		}
	}
}

// walk follows ids that are used again: a row inserted later with the id of
// one that was to move is another row.
func (n *Renumbering) walk(e *Event) {
	if e.Op <= OpDelete && !e.Table.NoRowid && (e.Op == OpInsert || e.Op == OpDelete) {
		delete(n.moves, idKey{e.Table.Name, e.RowID})
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
	if err := a.Close(); err != nil {
		return err
	}
	return n.rebuild()
}

func (n *Renumbering) run() error {
	for _, e := range n.refused {
		r := n.x.cap.schema.find(e.Table.Name)
		if r == nil || r.NoRowid || r.kind != relTable && !n.keepsContent(r) {
			continue
		}
		if err := n.exec("DELETE FROM "+quote(r.Name)+" WHERE "+quote(r.rowid)+"=?", sqlite.Int(e.RowID)); err != nil {
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
		if err := n.move(k.table, parked[i], n.moves[k]); err != nil {
			return err
		}
	}
	return nil
}

// clear moves pending rows out of the way of those whose id is final.
func (n *Renumbering) clear() error {
	for _, to := range n.targets() {
		if _, leaves := n.moves[to]; leaves || !n.pending[to] {
			continue
		}
		r := n.x.cap.schema.find(to.table)
		if r == nil {
			continue
		}
		for k, id := range n.moves {
			if k.table == to.table && id > n.x.asked[r.Name] {
				n.x.asked[r.Name] = id
			}
		}
		id, err := n.x.freeID(r)
		if err != nil {
			return err
		}
		n.moves[to], n.x.ids[to] = id, id
	}
	return nil
}

func (n *Renumbering) targets() []idKey {
	var list []idKey
	for k, id := range n.moves {
		list = append(list, idKey{k.table, id})
	}
	return list
}

// move gives a row another id, and its references with it.
func (n *Renumbering) move(table string, from, to int64) error {
	r := n.x.cap.schema.find(table)
	if r == nil || r.NoRowid || r.kind != relTable && !n.keepsContent(r) {
		return nil
	}
	if err := n.exec("UPDATE "+quote(r.Name)+" SET "+quote(r.rowid)+"=? WHERE "+quote(r.rowid)+"=?", sqlite.Int(to), sqlite.Int(from)); err != nil {
		return err
	}
	for _, child := range n.x.cap.schema.rels {
		for _, fk := range child.fks {
			if fk.parent != r.Name || child.skip {
				continue
			}
			col := child.IPK
			if fk.col >= 0 {
				col = child.Cols[fk.col]
			}
			if err := n.exec("UPDATE "+quote(child.Name)+" SET "+quote(col)+"=? WHERE "+quote(col)+"=?", sqlite.Int(to), sqlite.Int(from)); err != nil {
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

// Rewrite returns a pending change with the ids that the rows have now. Its
// intents speak of rows that were refused by placeholders; its effects are what
// is in the file.
func (n *Renumbering) Rewrite(c *Change) *Change {
	intents := c.IntentsOnly()
	n.x.Rewrite(intents)
	effects := &Change{Sequences: c.Sequences}
	for i := range c.Events {
		e := c.Events[i]
		if !e.Effect || e.Table != nil && n.refusedRow(&e) {
			continue
		}
		if e.Table != nil {
			e.Old, e.New = slices.Clone(e.Old), slices.Clone(e.New)
			n.follow(&e)
		}
		effects.Events = append(effects.Events, e)
	}
	return Combine(intents, effects)
}

// refusedRow reports whether an effect is on a row that Run deleted.
func (n *Renumbering) refusedRow(e *Event) bool {
	for _, r := range n.refused {
		if r.Table.Name == e.Table.Name && !e.Table.NoRowid && r.RowID == e.RowID {
			return true
		}
	}
	return false
}

// follow gives an effect the ids that rows were moved to.
func (n *Renumbering) follow(e *Event) {
	r := n.x.cap.schema.find(e.Table.Name)
	if r == nil {
		return
	}
	move := func(table string, id *int64) {
		if to, ok := n.moves[idKey{table, *id}]; ok {
			*id = to
		}
	}
	if !e.Table.NoRowid {
		move(r.Name, &e.RowID)
		move(r.Name, &e.NewRowID)
	}
	for _, fk := range r.fks {
		if fk.col < 0 {
			continue
		}
		i := e.Table.column(r.Cols[fk.col])
		for _, vals := range [][]sqlite.Value{e.Old, e.New} {
			if i >= 0 && i < len(vals) && vals[i].Kind == sqlite.KindInteger {
				move(fk.parent, &vals[i].I)
			}
		}
	}
}

// Renames returns which rows have other ids.
func (n *Renumbering) Renames() []Rename {
	list := make([]Rename, 0, len(n.moves))
	for k, id := range n.moves {
		list = append(list, Rename{k.table, k.id, id})
	}
	return list
}
