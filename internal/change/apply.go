package change

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// ErrDiverged is returned by Apply and Undo when a row is not what the change
// says it must be: somebody else wrote to the file. The transaction must be
// rolled back.
var ErrDiverged = errors.New("change: the database differs from its history")

// Applier moves a database along the effects of changes. It must be used on a
// fresh connection, inside one transaction, with a closed connection after it:
// FTS5 keeps what it read of its tables. Triggers and foreign keys are off
// from NewApplier until Close.
type Applier struct {
	conn *sqlite.Conn
	sql  texts
	seen func(*Event) error

	computed map[string][]string // by table, see computedOf
}

// NewApplier turns triggers and foreign keys off. seen, if not nil, is called
// before each row's change, in the direction of the application.
func NewApplier(c *sqlite.Conn, seen func(*Event) error) (*Applier, error) {
	a := &Applier{conn: c, seen: seen}
	for _, op := range []sqlite.DBConfigOp{sqlite.ConfigEnableTrigger, sqlite.ConfigEnableFKey} {
		if err := c.DBConfig(op, false); err != nil {
			return nil, fmt.Errorf("change: %w", err)
		}
	}
	return a, nil
}

// Close turns triggers and foreign keys on again.
func (a *Applier) Close() error {
	return errors.Join(
		a.conn.DBConfig(sqlite.ConfigEnableTrigger, true),
		a.conn.DBConfig(sqlite.ConfigEnableFKey, true))
}

// Apply applies the change's effects.
func (a *Applier) Apply(c *Change) error {
	for i := range c.Events {
		if e := &c.Events[i]; e.Effect {
			if err := a.apply(e); err != nil {
				return err
			}
		}
	}
	for _, s := range c.Sequences {
		if err := a.setSequence(s.Table, s.After); err != nil {
			return err
		}
	}
	return nil
}

// Undo takes the change's effects back, the last first. It needs a change with
// all old values, as Capture makes it and ViewFull keeps it.
func (a *Applier) Undo(c *Change) error {
	for i := len(c.Events) - 1; i >= 0; i-- {
		if e := &c.Events[i]; e.Effect {
			if err := a.undo(e); err != nil {
				return err
			}
		}
	}
	for _, s := range c.Sequences {
		if err := a.setSequence(s.Table, s.Before); err != nil {
			return err
		}
	}
	return nil
}

func (a *Applier) apply(e *Event) error {
	if e.Op == OpDDL {
		a.forget()
		if err := a.conn.Exec(e.SQL); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDiverged, e.SQL, err)
		}
		return nil
	}
	if a.seen != nil {
		if err := a.seen(e); err != nil {
			return err
		}
	}
	switch e.Op {
	case OpInsert:
		return a.insert(e, e.RowID, e.New)
	case OpUpdate:
		return a.update(e, e.RowID, e.NewRowID, e.Old, e.New)
	default:
		return a.delete(e, e.RowID, e.Old)
	}
}

func (a *Applier) undo(e *Event) error {
	if e.Op == OpDDL {
		a.forget()
		return a.undoDDL(e)
	}
	switch e.Op {
	case OpInsert:
		return a.delete(e, e.RowID, e.New)
	case OpUpdate:
		return a.update(e, e.NewRowID, e.RowID, e.keyAfter(), e.Old)
	default:
		return a.insert(e, e.RowID, e.Old)
	}
}

// keyAfter returns the values that identify the row after an update: the new
// ones where they changed.
func (e *Event) keyAfter() []sqlite.Value {
	if !e.Table.NoRowid {
		return nil
	}
	vals := make([]sqlite.Value, len(e.Table.Cols))
	for _, i := range e.Table.PK {
		if e.Changed.has(i) {
			vals[i] = e.New[i]
		} else {
			vals[i] = e.Old[i]
		}
	}
	return vals
}

func (a *Applier) undoDDL(e *Event) error {
	var sql string
	switch e.Kind {
	case DDLCreateTable:
		sql = "DROP TABLE " + quote(e.Name)
	case DDLCreateIndex:
		sql = "DROP INDEX " + quote(e.Name)
	default:
		return fmt.Errorf("change: can't undo %s", e.SQL)
	}
	if err := a.conn.Exec(sql); err != nil {
		return fmt.Errorf("%w: undo of %s: %w", ErrDiverged, e.SQL, err)
	}
	return nil
}

func (a *Applier) insert(e *Event, rowid int64, vals []sqlite.Value) error {
	t := e.Table
	sql, err := a.text(stmtKey{t, OpInsert, ""}, func(t *Table) string { return insertSQL(t, "INSERT") })
	if err != nil {
		return err
	}
	return a.run(sql, e, func(st *sqlite.Stmt) error {
		n := 1
		if !t.NoRowid {
			if err := st.BindInt64(n, rowid); err != nil {
				return err
			}
			n++
		}
		return bindAll(st, n, vals)
	})
}

// insertSQL inserts a whole row, with its rowid if the table has one.
func insertSQL(t *Table, verb string) string {
	var cols, marks strings.Builder
	if !t.NoRowid {
		cols.WriteString(quote(t.rowidName()) + ",")
		marks.WriteString("?,")
	}
	for _, c := range t.Cols {
		cols.WriteString(quote(c) + ",")
		marks.WriteString("?,")
	}
	return verb + " INTO main." + quote(t.Name) + "(" + strings.TrimSuffix(cols.String(), ",") +
		") VALUES(" + strings.TrimSuffix(marks.String(), ",") + ")"
}

func (a *Applier) delete(e *Event, rowid int64, vals []sqlite.Value) error {
	t := e.Table
	sql, err := a.text(stmtKey{t, OpDelete, ""}, func(t *Table) string { return "DELETE FROM main." + quote(t.Name) + t.where() })
	if err != nil {
		return err
	}
	return a.run(sql, e, func(st *sqlite.Stmt) error { return t.bindKey(st, 1, rowid, vals) })
}

// update sets the columns that changed, of the row found by from and the key
// values, to vals and moves it to rowid to.
func (a *Applier) update(e *Event, from, to int64, key, vals []sqlite.Value) error {
	t := e.Table
	moved := from != to
	if e.Changed.empty() && !moved {
		return nil
	}
	sql, err := a.text(stmtKey{t, OpUpdate, updateKey(e.Changed, moved)}, func(t *Table) string { return updateSQL(t, e.Changed, moved) })
	if err != nil {
		return err
	}
	return a.run(sql, e, func(st *sqlite.Stmt) error {
		n := 1
		if moved {
			if err := st.BindInt64(n, to); err != nil {
				return err
			}
			n++
		}
		for i := range t.Cols {
			if e.Changed.has(i) {
				if err := st.Bind(n, vals[i]); err != nil {
					return err
				}
				n++
			}
		}
		return t.bindKey(st, n, from, key)
	})
}

func updateKey(changed bitset, moved bool) string {
	var b []byte
	for i := 0; changed != nil && i < len(*changed)*64; i += 8 {
		b = append(b, changed.byte(i))
	}
	if moved {
		b = append(b, 1)
	}
	return string(b)
}

func updateSQL(t *Table, changed bitset, moved bool) string {
	var set strings.Builder
	if moved {
		set.WriteString(quote(t.rowidName()) + "=?,")
	}
	for i, c := range t.Cols {
		if changed.has(i) {
			set.WriteString(quote(c) + "=?,")
		}
	}
	return "UPDATE main." + quote(t.Name) + " SET " + strings.TrimSuffix(set.String(), ",") + t.where()
}

// where finds one row: by its rowid, or by primary key in a WITHOUT ROWID
// table.
func (t *Table) where() string {
	if !t.NoRowid {
		return " WHERE " + quote(t.rowidName()) + "=?"
	}
	return t.wherePK()
}

// wherePK finds rows by the declared primary key.
func (t *Table) wherePK() string {
	var b strings.Builder
	for n, i := range t.PK {
		if n == 0 {
			b.WriteString(" WHERE ")
		} else {
			b.WriteString(" AND ")
		}
		b.WriteString(quote(t.Cols[i]) + " IS ?")
	}
	return b.String()
}

func (t *Table) bindKey(st *sqlite.Stmt, n int, rowid int64, vals []sqlite.Value) error {
	if !t.NoRowid {
		return st.BindInt64(n, rowid)
	}
	return t.bindPK(st, n, vals)
}

func (t *Table) bindPK(st *sqlite.Stmt, n int, vals []sqlite.Value) error {
	for k, i := range t.PK {
		if err := st.Bind(n+k, vals[i]); err != nil {
			return err
		}
	}
	return nil
}

func bindAll(st *sqlite.Stmt, n int, vals []sqlite.Value) error {
	for i := range vals {
		if err := st.Bind(n+i, vals[i]); err != nil {
			return err
		}
	}
	return nil
}

// run runs a statement that must change exactly one row.
func (a *Applier) run(sql string, e *Event, bind func(*sqlite.Stmt) error) error {
	st, err := a.conn.Cached(sql)
	if err != nil {
		return fmt.Errorf("%w: %s %s: %w", ErrDiverged, e.Op, e.Table.Name, err)
	}
	defer st.Done()
	if err := bind(st); err != nil {
		return fmt.Errorf("change: %s %s: %w", e.Op, e.Table.Name, err)
	}
	if _, err := st.Step(); err != nil {
		var se *sqlite.Error
		if errors.As(err, &se) && !sqlite.IsConstraint(err) {
			return fmt.Errorf("change: %s %s: %w", e.Op, e.Table.Name, err)
		}
		return fmt.Errorf("%w: %s %s: %w", ErrDiverged, e.Op, e.Table.Name, err)
	}
	if n := a.conn.Changes(); n != 1 {
		return fmt.Errorf("%w: %s of row %d of %s changed %d rows, not one", ErrDiverged, e.Op, e.RowID, e.Table.Name, n)
	}
	return nil
}

// setSequence sets an AUTOINCREMENT counter; -1 removes it.
func (a *Applier) setSequence(table string, v int64) error {
	exists, err := a.conn.QueryInt("SELECT count(*) FROM main.sqlite_schema WHERE name=?", sqlite.Text(table))
	if err != nil || exists == 0 {
		return err
	}
	if v >= 0 {
		if err := a.conn.ExecArgs("UPDATE sqlite_sequence SET seq=? WHERE name=?", sqlite.Int(v), sqlite.Text(table)); err != nil {
			return fmt.Errorf("change: set sequence of %s: %w", table, err)
		}
		if a.conn.Changes() > 0 {
			return nil
		}
		err = a.conn.ExecArgs("INSERT INTO sqlite_sequence(name, seq) VALUES(?,?)", sqlite.Text(table), sqlite.Int(v))
	} else {
		err = a.conn.ExecArgs("DELETE FROM sqlite_sequence WHERE name=?", sqlite.Text(table))
	}
	if err != nil {
		return fmt.Errorf("change: set sequence of %s: %w", table, err)
	}
	return nil
}
