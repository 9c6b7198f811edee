package change

// Rewrite returns a change with the ids that the rows have now, and speaks of
// rows that were refused by placeholders. What it did stays in the file: it
// can't be undone any more. The changes come in their order, the pending ones
// last.
func (n *Renumbering) Rewrite(c *Change, pending bool) *Change {
	out := c.IntentsOnly()
	for i := range out.Events {
		e := &out.Events[i]
		was := *e
		if pending && e.Op == OpInsert && !e.again && !e.Table.NoRowid {
			n.inserts(idKey{e.Table.Name, e.RowID})
		}
		n.x.rewrite(e)
		switch m := n.x.moving(e); {
		case !pending || m == nil || m.old != nil || m.vain:
		case n.undone[m.to] || n.passes(m.to):
			n.x.inVain(m)
			e.vain = true
		default:
			n.x.ids[m.to] = m.to.id // whatever had it before
		}
		if of := n.rows.of[c]; i < len(of) && of[i] != nil {
			n.rename(of[i], &was, e, pending)
		}
	}
	if pending && !c.Bare() {
		return out.Fixed()
	}
	return out
}

// inserts notes which id a new row of a change that is still to be sent has,
// whatever had the one that it was written with before.
func (n *Renumbering) inserts(k idKey) {
	to, moved := n.moves[k]
	switch {
	case moved:
		n.x.ids[k] = to
	case n.passes(k):
		n.x.ids[k] = placeholder(k.id) // the server will give it one
	default:
		n.x.ids[k] = k.id
	}
}

// passes reports whether an id that a row had for a while, in changes that are
// still to be sent, is another row's now.
func (n *Renumbering) passes(k idKey) bool {
	r := n.x.cap.schema.find(k.table)
	return n.final[k] && r != nil && r.autoKey() && !n.kept[k]
}

// Renames returns which rows have other ids.
func (n *Renumbering) Renames() []Rename {
	list := make([]Rename, 0, len(n.moves))
	for k, id := range n.moves {
		list = append(list, Rename{k.table, k.id, id})
	}
	return list
}
