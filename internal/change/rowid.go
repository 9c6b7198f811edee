package change

import (
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// rowidNames are what SQLite calls a rowid, unless a column is called so.
var rowidNames = [...]string{"rowid", "_rowid_", "oid"}

// rowidName returns a name that reaches the rowid: one that no column hides.
func (t *Table) rowidName() string {
	if t.NoRowid {
		return ""
	}
	if t.IPK != "" {
		return t.IPK
	}
	for _, name := range rowidNames {
		if !t.hides(name) {
			return name
		}
	}
	return rowidNames[0]
}

// hides reports whether a column has that name.
func (t *Table) hides(name string) bool {
	for _, cols := range [][]string{t.Cols, t.computed} {
		for _, c := range cols {
			if strings.EqualFold(c, name) {
				return true
			}
		}
	}
	return false
}

// isRowidName reports whether a column of that name hides a rowid's.
func isRowidName(col string) bool {
	for _, name := range rowidNames {
		if strings.EqualFold(col, name) {
			return true
		}
	}
	return false
}

// checkRowid refuses a table with rowids that no name reaches.
func (r *relation) checkRowid() error {
	if r == nil || r.kind != relTable || r.skip || r.NoRowid || r.IPK != "" || !r.hides(r.rowidName()) {
		return nil
	}
	return fmt.Errorf("%w: the columns of %s hide its rowid by all three names, rowid, oid and _rowid_: rename one, or declare an INTEGER PRIMARY KEY", ErrUnsupported, r.Name)
}

// refuseNew takes back a CREATE of a table with rowids that no name reaches, and
// returns ErrUnsupported. If it can't, for statements that still read, the
// transaction can't be committed. ALTER TABLE itself refuses such names.
func (k *Capture) refuseNew(table string) error {
	no := k.schema.find(table).checkRowid()
	if no == nil {
		return nil
	}
	if err := k.unrecorded("DROP TABLE main." + quote(table)); err != nil {
		k.err = no
		return no
	}
	if err := k.schema.refresh(); err != nil {
		return err
	}
	return no
}

// unrecorded runs a statement of agentdb's own.
func (k *Capture) unrecorded(sql string) error {
	gather, suspended := k.gather, k.suspended
	k.gather, k.suspended = nil, true
	defer func() { k.gather, k.suspended = gather, suspended }()
	return k.conn.Exec(sql)
}

// like returns t, a change's table, with the generated columns of the database's,
// which changes don't tell.
func (t *Table) like(computed []string) *Table {
	if len(t.computed) == 0 && len(computed) == 0 {
		return t
	}
	c := *t
	c.computed = computed
	return &c
}

// computedOf returns the generated columns of a table in the database that hide
// a name of its rowid.
func (t *Table) computedOf(c *sqlite.Conn) (cols []string, err error) {
	if t.NoRowid || t.IPK != "" {
		return nil, nil
	}
	st, err := c.Cached("SELECT name FROM pragma_table_xinfo(?) WHERE hidden>1")
	if err != nil {
		return nil, fmt.Errorf("change: read columns of %s: %w", t.Name, err)
	}
	defer st.Done()
	if err := st.BindText(1, t.Name); err != nil {
		return nil, err
	}
	for {
		row, err := st.Step()
		if err != nil {
			return nil, fmt.Errorf("change: read columns of %s: %w", t.Name, err)
		}
		if !row {
			return cols, nil
		}
		if name := st.ColumnText(0); isRowidName(name) {
			cols = append(cols, name)
		}
	}
}

// text returns a statement's text, which make makes of the table as it is in the
// database.
func (a *Applier) text(k stmtKey, make func(*Table) string) (sql string, err error) {
	sql = a.sql.get(k, func() string {
		cols, ok := a.computed[k.table.Name]
		if !ok {
			if cols, err = k.table.computedOf(a.conn); err != nil {
				return ""
			}
			if a.computed == nil {
				a.computed = map[string][]string{}
			}
			a.computed[k.table.Name] = cols
		}
		return make(k.table.like(cols))
	})
	if err != nil {
		a.forget() // an empty text
	}
	return sql, err
}

// forget makes the applier look at the tables again.
func (a *Applier) forget() { a.sql, a.computed = texts{}, nil }
