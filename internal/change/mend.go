package change

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// maxMend bounds how often rows are looked for whose parents are gone: those
// that go for it may be parents themselves.
const maxMend = 100

// mend takes away references to rows that were refused, and rows that can't be
// without one: an update that was refused with them is still there.
func (n *Renumbering) mend() error {
	for range maxMend {
		broken, err := n.broken()
		if err != nil || len(broken) == 0 {
			return err
		}
		for _, b := range broken {
			if err := n.cut(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// reference is a foreign key: a table, and its number there.
type reference struct {
	table, parent string
	id            int64
}

// broken lists the foreign keys that some rows violate.
func (n *Renumbering) broken() (list []reference, err error) {
	st, _, err := n.x.conn.Prepare(`SELECT DISTINCT "table", parent, fkid FROM pragma_foreign_key_check`)
	if err != nil {
		return nil, fmt.Errorf("change: renumber: %w", err)
	}
	defer st.Finalize()
	for {
		row, err := st.Step()
		if err != nil || !row {
			return list, err
		}
		list = append(list, reference{st.ColumnText(0), st.ColumnText(1), st.ColumnInt64(2)})
	}
}

// cut sets the references that a foreign key forbids to NULL, or deletes the rows.
func (n *Renumbering) cut(f reference) error {
	r, parent := n.x.cap.schema.find(f.table), n.x.cap.schema.find(f.parent)
	if r == nil || r.skip {
		return nil
	}
	dangling, cols := "1", []string(nil)
	if parent != nil {
		var err error
		if cols, dangling, err = n.dangling(r, parent, f.id); err != nil {
			return err
		}
	}
	if len(cols) > 0 {
		refused, err := n.try("UPDATE OR ABORT " + quote(r.Name) + " SET " + quote(cols[0]) + "=NULL WHERE " + dangling)
		if err != nil || !refused {
			return err
		}
	}
	return n.exec("DELETE FROM " + quote(r.Name) + " WHERE " + dangling)
}

// dangling returns the columns of a foreign key that may be NULL, and the
// condition that finds its rows without a parent.
func (n *Renumbering) dangling(r, parent *relation, id int64) (nullable []string, where string, err error) {
	st, _, err := n.x.conn.Prepare(`SELECT "from", "to" FROM pragma_foreign_key_list(?) WHERE id=? ORDER BY seq`)
	if err != nil {
		return nil, "", fmt.Errorf("change: renumber: %w", err)
	}
	defer st.Finalize()
	if err := errors.Join(st.BindText(1, r.Name), st.BindInt64(2, id)); err != nil {
		return nil, "", err
	}
	var has, same []string
	for i := 0; ; i++ {
		row, err := st.Step()
		if err != nil {
			return nil, "", err
		}
		if !row {
			break
		}
		from, to := st.ColumnText(0), st.ColumnText(1)
		switch {
		case to != "":
		case i < len(parent.PK):
			to = parent.Cols[parent.PK[i]]
		default:
			to = parent.rowid
		}
		has = append(has, quote(r.Name)+"."+quote(from)+" IS NOT NULL")
		same = append(same, "p."+quote(to)+"="+quote(r.Name)+"."+quote(from))
		if !strings.EqualFold(from, r.rowid) {
			nullable = append(nullable, from)
		}
	}
	if len(has) == 0 {
		return nil, "0", nil
	}
	return nullable, strings.Join(has, " AND ") + " AND NOT EXISTS (SELECT 1 FROM " + quote(parent.Name) + " p WHERE " + strings.Join(same, " AND ") + ")", nil
}

// try runs a statement; refused says that a constraint stood against it.
func (n *Renumbering) try(sql string) (refused bool, err error) {
	err = n.x.conn.ExecArgs(sql)
	var se *sqlite.Error
	if errors.As(err, &se) && se.Primary() == sqliteConstraint {
		return true, nil
	}
	return false, err
}
