package change

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// ErrForeign says that another program changed or removed objects of the schema.
var ErrForeign = errors.New("another program changed the schema")

// Objects returns the schema's objects but agentdb's and SQLite's own: their
// SQL by type and name. That there are statistics is kept.
func Objects(c *sqlite.Conn) (map[string]string, error) {
	m, err := schemaObjects(c)
	if err != nil {
		return nil, err
	}
	for key := range m {
		_, name, _ := strings.Cut(key, " ")
		switch {
		case hasPrefixFold(name, "sqlite_stat"):
			m[key] = ""
		case hasPrefixFold(name, Prefix), hasPrefixFold(name, "sqlite_"):
			delete(m, key)
		}
	}
	return m, nil
}

// Renumbered returns ErrForeign if VACUUM may have given rows other rowids: the
// schema's version has changed since known was all of it, which is all there
// is, and there are rows without an id that would have kept them in place.
func (k *Capture) Renumbered(known map[string]string) error {
	now, err := Objects(k.conn)
	if err != nil || !sameObjects(known, now) {
		return err
	}
	for _, r := range k.schema.rels {
		if r.kind != relTable || r.skip || r.NoRowid || r.IPK != "" || strings.EqualFold(r.Name, ConflictsTable) {
			continue
		}
		n, err := k.conn.QueryInt("SELECT EXISTS(SELECT 1 FROM main." + quote(r.Name) + ")")
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%w, or renumbered the rows of %s by VACUUM", ErrForeign, r.Name)
		}
	}
	return nil
}

// Adopt describes objects that no capture has seen made, as changes: tables
// with their rows, and what depends on them. known are those that were seen. A
// change ends after about limit bytes of rows, unless rows that refer to later
// ones keep it together. Adopt returns none if there is nothing new, and
// ErrForeign if known objects differ.
func (k *Capture) Adopt(known map[string]string, limit int) ([]*Change, error) {
	objects, err := k.objectList()
	if err != nil {
		return nil, err
	}
	guards, err := k.guards()
	if err != nil {
		return nil, err
	}
	guarded := map[string]int{}
	for _, table := range guards {
		guarded[table]++
	}
	var fresh []object
	left := 0
	for key := range known {
		if _, name, _ := strings.Cut(key, " "); !hasPrefixFold(name, "sqlite_") {
			left++
		}
	}
	for _, o := range objects {
		if hasPrefixFold(o.name, Prefix) || hasPrefixFold(o.name, "sqlite_") {
			continue
		}
		sql, ok := known[o.typ+" "+o.name]
		switch {
		case !ok:
			fresh = append(fresh, o)
		case sql != o.sql:
			return nil, fmt.Errorf("%w: %s %s", ErrForeign, o.typ, o.name)
		case k.opt.Guard && o.typ == "table" && k.guardable(o.name) && guarded[o.name] < len(guardedOps):
			return nil, fmt.Errorf("%w: the guards of %s are gone, and it may have been written to", ErrForeign, o.name)
		default:
			left--
		}
	}
	if left != 0 {
		return nil, fmt.Errorf("%w: %d objects are gone", ErrForeign, left)
	}
	if len(fresh) == 0 {
		return nil, k.guard()
	}
	d := description{Capture: k, c: &Change{}}
	if err := d.describe(fresh); err != nil {
		return nil, err
	}
	return d.c.split(d.cuts(limit)), k.guard()
}

// object is a row of sqlite_schema.
type object struct{ typ, name, table, sql string }

func (k *Capture) objectList() ([]object, error) {
	st, err := k.conn.Cached("SELECT type, name, tbl_name, coalesce(sql,'') FROM main.sqlite_schema ORDER BY rowid")
	if err != nil {
		return nil, fmt.Errorf("change: read schema: %w", err)
	}
	defer st.Done()
	var list []object
	for {
		row, err := st.Step()
		if err != nil {
			return nil, fmt.Errorf("change: read schema: %w", err)
		}
		if !row {
			return list, nil
		}
		list = append(list, object{st.ColumnText(0), st.ColumnText(1), st.ColumnText(2), st.ColumnText(3)})
	}
}

// description describes what is found in a file.
type description struct {
	*Capture
	c     *Change
	whole [][2]int // events that must stay in one change: their rows refer to one another
}

// describe lists new tables with their rows, then indexes, virtual tables with
// what they hold, views and triggers.
func (k *description) describe(objects []object) error {
	c := k.c
	ddl := func(o object, kind DDLKind) {
		c.Events = append(c.Events, Event{Op: OpDDL, Intent: true, Effect: true, Kind: kind, Statement: &Statement{Name: o.name, SQL: o.sql}})
	}
	fresh := map[string]bool{}
	for _, o := range objects {
		if r := k.schema.rels[o.name]; o.typ == "table" && r != nil && r.kind == relTable && !r.skip {
			if err := r.checkRowid(); err != nil {
				return err
			}
			fresh[o.name] = true
			ddl(o, DDLCreateTable)
		}
	}
	if err := k.describeRows(objects, fresh); err != nil {
		return err
	}
	for _, o := range objects {
		if o.typ == "index" && o.sql != "" {
			ddl(o, DDLCreateIndex)
		}
	}
	if err := k.describeVirtual(objects, ddl); err != nil {
		return err
	}
	for _, typ := range []string{"view", "trigger"} {
		for _, o := range objects {
			if o.typ == typ {
				ddl(o, DDLOther)
			}
		}
	}
	return nil
}

func (k *description) describeRows(objects []object, fresh map[string]bool) error {
	order := k.parentsFirst(objects, fresh)
	place := map[string]int{}
	for i, r := range order {
		place[r.Name] = i
	}
	start, last := 0, -1 // of tables that refer to themselves, or to one another
	for i, r := range order {
		parents, err := k.parents(r.Name)
		if err != nil {
			return err
		}
		if i > last {
			start = len(k.c.Events)
		}
		for _, name := range parents {
			if p := k.schema.find(name); p != nil && fresh[p.Name] && place[p.Name] >= i {
				last = max(last, place[p.Name])
			}
		}
		if err := k.describeTable(r); err != nil {
			return err
		}
		if i != last {
			continue
		}
		ordered, cyclic, err := k.rowsFirst(k.c.Events[start:])
		if err != nil {
			return fmt.Errorf("change: order rows: %w", err)
		}
		k.c.Events = append(k.c.Events[:start], ordered...)
		if cyclic {
			k.whole = append(k.whole, [2]int{start, len(k.c.Events)})
		}
	}
	return nil
}

func (k *description) describeTable(r *relation) error {
	c := k.c
	err := r.scan(k.conn, func(rowid int64, vals []sqlite.Value) error {
		c.Events = append(c.Events, Event{Op: OpInsert, Intent: true, Effect: true, Table: &r.Table, RowID: rowid, NewRowID: rowid, New: vals})
		return nil
	})
	if err != nil || !r.autoinc {
		return err
	}
	seq, err := readSequence(k.conn, r.Name)
	if err != nil {
		return err
	}
	c.Sequences = append(c.Sequences, Sequence{Table: r.Name, Before: -1, After: seq})
	return nil
}

// parentsFirst orders tables so that rows come after those they refer to.
func (k *Capture) parentsFirst(objects []object, fresh map[string]bool) []*relation {
	var order []*relation
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		r := k.schema.find(name)
		if r == nil || !fresh[r.Name] || seen[r.Name] {
			return
		}
		seen[r.Name] = true
		parents, err := k.parents(r.Name)
		if err == nil {
			for _, p := range parents {
				visit(p)
			}
		}
		order = append(order, r)
	}
	for _, o := range objects {
		if o.typ == "table" {
			visit(o.name)
		}
	}
	return order
}

func (k *Capture) parents(table string) ([]string, error) {
	st, _, err := k.conn.Prepare(`SELECT DISTINCT "table" FROM pragma_foreign_key_list(?)`)
	if err != nil {
		return nil, err
	}
	defer st.Finalize()
	if err := st.BindText(1, table); err != nil {
		return nil, err
	}
	var list []string
	for {
		row, err := st.Step()
		if err != nil || !row {
			return list, err
		}
		list = append(list, st.ColumnText(0))
	}
}

// describeVirtual describes virtual tables: an FTS5 table that keeps its own
// content by its rows, one over a table's content by a rebuild.
func (k *description) describeVirtual(objects []object, ddl func(object, DDLKind)) error {
	c := k.c
	for _, o := range objects {
		r := k.schema.rels[o.name]
		if o.typ != "table" || r == nil || r.kind != relVirtual {
			continue
		}
		ddl(o, DDLOther)
		content := k.schema.rels[o.name+"_content"]
		switch {
		case content != nil && content.content == r:
			err := r.scan(k.conn, func(rowid int64, vals []sqlite.Value) error {
				c.Events = append(c.Events, Event{Op: OpInsert, Intent: true, Table: &r.Table, RowID: rowid, NewRowID: rowid, New: vals})
				return nil
			})
			if err != nil {
				return err
			}
		case containsFold(o.sql, "vec0"):
			if err := k.describeVectors(r, o.sql); err != nil {
				return err
			}
		case containsFold(o.sql, "fts5"):
			c.Events = append(c.Events, Event{Op: OpSQL, Intent: true, Statement: &Statement{SQL: fmt.Sprintf("INSERT INTO %s(%s) VALUES('rebuild')", quote(o.name), quote(o.name))}})
		}
	}
	return nil
}

// describeVectors describes the rows of a vec0 table by statements.
func (k *description) describeVectors(r *relation, ddl string) error {
	var cols, marks []string
	keyed := containsFold(ddl, "primary key")
	if !keyed {
		cols, marks = []string{"rowid"}, []string{"?"}
	}
	for _, name := range r.Cols {
		cols, marks = append(cols, quote(name)), append(marks, "?")
	}
	sql := "INSERT INTO " + quote(r.Name) + "(" + strings.Join(cols, ",") + ") VALUES(" + strings.Join(marks, ",") + ")"
	return r.scan(k.conn, func(rowid int64, vals []sqlite.Value) error {
		if !keyed {
			vals = append([]sqlite.Value{sqlite.Int(rowid)}, vals...)
		}
		k.c.Events = append(k.c.Events, Event{Op: OpSQL, Intent: true, Statement: &Statement{SQL: sql, Args: vals}})
		return nil
	})
}
