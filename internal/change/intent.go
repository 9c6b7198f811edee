package change

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Intents makes operations of row changes that were not captured, but told by
// columns and values: what an Executor runs.
type Intents struct {
	x      *Executor
	tables map[string]*Table
}

// NewIntents returns Intents for an executor.
func NewIntents(x *Executor) *Intents { return &Intents{x: x, tables: map[string]*Table{}} }

// ErrNoTable is returned for an operation on a table or a column that there is
// not.
var ErrNoTable = errors.New("change: no such table or column")

// AutoKey reports whether a table's rows have nothing but an id to identify
// them by: an INTEGER PRIMARY KEY, or only a rowid.
func (n *Intents) AutoKey(table string) bool {
	r := n.x.cap.schema.find(table)
	return r != nil && r.kind == relTable && r.autoKey()
}

// Table reports whether there is a table of that name.
func (n *Intents) Table(name string) bool {
	r := n.x.cap.schema.find(name)
	return r != nil && r.kind == relTable
}

// Exists reports whether a table has a row with that id now.
func (n *Intents) Exists(table string, id int64) (bool, error) {
	r := n.x.cap.schema.find(table)
	if r == nil {
		return false, nil
	}
	return n.x.taken(r, id)
}

// Sole returns the values of key of the only row for which the columns in have
// have those values, nil if there is none or more than one.
func (n *Intents) Sole(table string, key, have []string, vals []sqlite.Value) ([]sqlite.Value, error) {
	var cols, where []string
	for _, c := range key {
		cols = append(cols, quote(c))
	}
	for _, c := range have {
		where = append(where, quote(c)+" IS ?")
	}
	st, err := n.x.conn.Cached("SELECT " + strings.Join(cols, ",") + " FROM main." + quote(table) + " WHERE " + strings.Join(where, " AND ") + " LIMIT 2")
	if err != nil {
		return nil, err
	}
	defer st.Done()
	if err := bindAll(st, 1, vals); err != nil {
		return nil, err
	}
	row, err := st.Step()
	if err != nil || !row {
		return nil, err
	}
	found := make([]sqlite.Value, len(key))
	for i := range found {
		found[i] = st.Column(i)
	}
	if row, err = st.Step(); err != nil || row {
		return nil, err
	}
	return found, nil
}

// Insert returns the insertion of a row. Without an INTEGER PRIMARY KEY the row
// gets a new rowid.
func (n *Intents) Insert(table string, cols []string, vals []sqlite.Value) (*Event, error) {
	e, err := n.event(OpInsert, table, cols, nil)
	if err != nil {
		return nil, err
	}
	e.New = make([]sqlite.Value, len(e.Table.Cols))
	e.RowID = placeholder(-1)
	for i, c := range cols {
		if strings.EqualFold(c, e.Table.IPK) {
			if vals[i].Kind != sqlite.KindInteger {
				return nil, fmt.Errorf("%w: %s.%s of that type", ErrNoTable, table, c)
			}
			e.RowID = vals[i].I
			continue
		}
		e.New[e.Table.column(c)] = vals[i]
	}
	e.NewRowID = e.RowID
	return e, nil
}

// Update returns an update of the row with the key, a rowid if key is empty.
func (n *Intents) Update(table string, cols []string, vals []sqlite.Value, key []string, by []sqlite.Value) (*Event, error) {
	e, err := n.keyed(OpUpdate, table, cols, key, by)
	if err != nil {
		return nil, err
	}
	e.New = make([]sqlite.Value, len(e.Table.Cols))
	e.Changed = newBitset(len(e.Table.Cols))
	for i, c := range cols {
		if strings.EqualFold(c, e.Table.IPK) {
			continue // it can't be another one
		}
		j := e.Table.column(c)
		e.New[j] = vals[i]
		e.Changed.set(j)
	}
	return e, nil
}

// Delete returns the deletion of the row with the key, like Update.
func (n *Intents) Delete(table string, key []string, by []sqlite.Value) (*Event, error) {
	return n.keyed(OpDelete, table, nil, key, by)
}

// DDL returns a schema change.
func DDL(sql string) *Event {
	e := &Event{Op: OpDDL, Intent: true, Statement: &Statement{SQL: sql}}
	e.Name = createdName(sql)
	return e
}

// createdName returns the name in CREATE TABLE or INDEX IF NOT EXISTS.
func createdName(sql string) string {
	words := strings.Fields(normalDDL(sql))
	for i, w := range words {
		if i > 1 && i+1 < len(words) && strings.EqualFold(w, "exists") {
			name, _, _ := strings.Cut(words[i+1], "(")
			return strings.Trim(name, "\"`[]'")
		}
	}
	return ""
}

// keyed returns an operation on an existing row.
func (n *Intents) keyed(op Op, table string, cols, key []string, by []sqlite.Value) (*Event, error) {
	e, err := n.event(op, table, cols, key)
	if err != nil {
		return nil, err
	}
	e.Old = make([]sqlite.Value, len(e.Table.Cols))
	e.Known = newBitset(len(e.Table.Cols))
	if len(key) == 0 {
		e.RowID, e.NewRowID = by[0].I, by[0].I
		return e, nil
	}
	for i, c := range key {
		if strings.EqualFold(c, e.Table.IPK) {
			e.RowID, e.NewRowID = by[i].I, by[i].I
			continue
		}
		j := e.Table.column(c)
		e.Old[j] = by[i]
		e.Known.set(j)
	}
	return e, nil
}

// event returns an operation without values. Operations on the same columns of
// a table share its description, by which the executor finds its statements.
func (n *Intents) event(op Op, table string, cols, key []string) (*Event, error) {
	r := n.x.cap.schema.find(table)
	if r == nil || r.kind != relTable {
		return nil, fmt.Errorf("%w: %s", ErrNoTable, table)
	}
	id := strings.Join(append(append([]string{r.Name}, cols...), key...), "\x00")
	t := n.tables[id]
	if t == nil {
		t = &Table{Name: r.Name, IPK: r.IPK, NoRowid: r.NoRowid}
		add := func(name string) error {
			j := r.column(name)
			switch {
			case strings.EqualFold(name, r.IPK):
			case j < 0:
				return fmt.Errorf("%w: %s.%s", ErrNoTable, table, name)
			case t.column(name) < 0:
				t.Cols = append(t.Cols, r.Cols[j])
			}
			return nil
		}
		for _, list := range [][]string{cols, key} {
			for _, c := range list {
				if err := add(c); err != nil {
					return nil, err
				}
			}
		}
		for _, i := range r.PK {
			j := t.column(r.Cols[i])
			if j < 0 {
				return nil, fmt.Errorf("%w: %s without %s", ErrNoTable, table, r.Cols[i])
			}
			t.PK = append(t.PK, j)
		}
		n.tables[id] = t
	}
	return &Event{Op: op, Intent: true, Table: t}, nil
}

// Moved tells the executor that a row which the changes to come mean by an id
// has another one.
func (x *Executor) Moved(table string, from, to int64) { x.setTo(idKey{table, from}, to) }

// Where returns the id that a row has which changes mean by that id; a
// placeholder if there is none.
func (x *Executor) Where(table string, id int64) int64 { return x.resolve(table, id) }

// Triggers reports whether the schema has triggers.
func (k *Capture) Triggers() bool { return len(k.schema.triggers) > 0 }

// EnableTriggers turns the triggers of main on or off. Temporary ones run
// nevertheless.
func (k *Capture) EnableTriggers(on bool) error {
	k.off = !on
	k.conn.DropCached()
	return k.conn.DBConfig(sqlite.ConfigEnableTrigger, on)
}

// StatementConflict describes a statement that was refused.
func StatementConflict(sql string, args []sqlite.Value, why error) *Conflict {
	kind, message := "refused", why.Error()
	var se *sqlite.Error
	if errors.As(why, &se) {
		kind, message = refusalKind(se), se.Message
	}
	return &Conflict{Kind: kind, Message: message, Losing: statementJSON(&Event{Statement: &Statement{SQL: sql, Args: args}})}
}
