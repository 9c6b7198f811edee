package change

// rows follows rows through the changes that a file has sent and is still to send,
// to say for each operation which row it is about.
type rows struct {
	of map[*Change][]*row // for each intent; nil if it is about no row with an id
	at map[idKey]*row
}

// row is one of them.
type row struct {
	table string
	id    int64 // where it is after the changes
	gone  bool
	moves int   // how often they move it
	name  int64 // the id that the rewritten operations have for it
	named bool
}

func newRows() rows { return rows{map[*Change][]*row{}, map[idKey]*row{}} }

// intent tells about the next one of a change.
func (r *rows) intent(c *Change, e *Event) {
	var of *row
	if e.Op <= OpDelete && !e.Table.NoRowid {
		of = r.follow(e)
	}
	r.of[c] = append(r.of[c], of)
}

func (r *rows) follow(e *Event) *row {
	k := idKey{e.Table.Name, e.RowID}
	of := r.at[k]
	if of == nil || e.Op == OpInsert {
		of = &row{table: k.table}
	}
	delete(r.at, k)
	if of.gone = e.Op == OpDelete; of.gone {
		return of
	}
	if of.id = e.here(); of.id != e.RowID {
		of.moves++
	}
	r.at[idKey{of.table, of.id}] = of
	return of
}

// rename gives an operation on a row with a natural key the id that the row has in
// the file. The server finds the row by its key, but once it has lost that, the id is
// its only name, and an answer about it must not be taken for one about another row.
// was is the operation before it was rewritten.
func (n *Renumbering) rename(of *row, was, e *Event, pending bool) {
	moves := e.Op != OpInsert && was.here() != was.RowID
	if moves {
		of.moves--
	}
	switch {
	case len(e.Table.PK) == 0 || n.x.refersByID(of.table):
		return
	case e.byRowid():
	case !pending && !e.losesKey():
		return
	case !pending: // the server has said which id that is
		e.NewRowID = n.x.resolve(of.table, was.here())
		if !moves {
			e.RowID = e.NewRowID
		}
	default:
		n.renameKeyed(of, was, e, moves)
	}
	of.name, of.named = e.here(), true
}

func (n *Renumbering) renameKeyed(of *row, was, e *Event, moves bool) {
	id, rests := n.rests(of)
	switch {
	case rests && !moves:
		e.RowID = id
	case of.named:
		e.RowID = of.name
	default:
		e.RowID = placeholder(was.RowID) // another's may be there
	}
	switch {
	case moves && rests:
		e.NewRowID = id
	case moves, was.NewRowID == was.RowID: // where it goes in between doesn't matter
		e.NewRowID = e.RowID
	}
	if e.losesKey() {
		n.x.ids[idKey{of.table, was.here()}] = e.here()
	}
}

// rests returns the id that a row has after the moves, if it is there now, after the
// operations that have been rewritten.
func (n *Renumbering) rests(of *row) (id int64, ok bool) {
	k := idKey{of.table, of.id}
	if of.gone || of.moves > 0 || n.refused[k] {
		return 0, false
	}
	if to, moved := n.moves[k]; moved {
		return to, true
	}
	return k.id, true
}
