package change

import (
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Adopt describes what a file holds that no capture has seen, as a change: the
// tables without guard triggers and their rows, and what depends on them. It
// returns nil if there is nothing, and guards the tables from then on.
func (k *Capture) Adopt() (*Change, error) {
	guarded, err := k.guards()
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, table := range guarded {
		known[table] = true
	}
	objects, err := k.objectList()
	if err != nil {
		return nil, err
	}
	fresh := map[string]bool{}
	for _, o := range objects {
		r := k.schema.rels[o.name]
		if o.typ == "table" && r != nil && r.kind == relTable && !r.skip && !strings.EqualFold(r.Name, ConflictsTable) && !known[r.Name] {
			fresh[r.Name] = true
		}
	}
	if len(fresh) == 0 {
		return nil, k.guard()
	}
	c, err := k.describe(objects, fresh)
	if err != nil {
		return nil, err
	}
	return c, k.guard()
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

// describe lists the tables in fresh with their rows, then their indexes,
// virtual tables with what they hold, views and triggers.
func (k *Capture) describe(objects []object, fresh map[string]bool) (*Change, error) {
	c := &Change{}
	ddl := func(o object, kind DDLKind) {
		c.Events = append(c.Events, Event{Op: OpDDL, Intent: true, Effect: true, Kind: kind, Statement: &Statement{Name: o.name, SQL: o.sql}})
	}
	for _, o := range objects {
		if o.typ == "table" && fresh[o.name] {
			ddl(o, DDLCreateTable)
		}
	}
	if err := k.describeRows(c, objects, fresh); err != nil {
		return nil, err
	}
	for _, o := range objects {
		if o.typ == "index" && o.sql != "" && fresh[o.table] {
			ddl(o, DDLCreateIndex)
		}
	}
	if err := k.describeVirtual(c, objects, ddl); err != nil {
		return nil, err
	}
	for _, typ := range []string{"view", "trigger"} {
		for _, o := range objects {
			if o.typ == typ && !hasPrefixFold(o.name, Prefix) {
				ddl(o, DDLOther)
			}
		}
	}
	return c, nil
}

func (k *Capture) describeRows(c *Change, objects []object, fresh map[string]bool) error {
	for _, r := range k.parentsFirst(objects, fresh) {
		err := r.scan(k.conn, func(rowid int64, vals []sqlite.Value) error {
			c.Events = append(c.Events, Event{Op: OpInsert, Intent: true, Effect: true, Table: &r.Table, RowID: rowid, NewRowID: rowid, New: vals})
			return nil
		})
		if err != nil {
			return err
		}
		if r.autoinc {
			seq, err := readSequence(k.conn, r.Name)
			if err != nil {
				return err
			}
			c.Sequences = append(c.Sequences, Sequence{Table: r.Name, Before: -1, After: seq})
		}
	}
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
func (k *Capture) describeVirtual(c *Change, objects []object, ddl func(object, DDLKind)) error {
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
		case containsFold(o.sql, "fts5"):
			c.Events = append(c.Events, Event{Op: OpSQL, Intent: true, Statement: &Statement{SQL: fmt.Sprintf("INSERT INTO %s(%s) VALUES('rebuild')", quote(o.name), quote(o.name))}})
		}
	}
	return nil
}
