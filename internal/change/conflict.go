package change

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// ConflictsSchema creates the synced table in which every overwritten or
// refused value is found. Client files and servers create it alike.
const ConflictsSchema = `CREATE TABLE IF NOT EXISTS agentdb_conflicts(
  id INTEGER PRIMARY KEY,
  time TEXT NOT NULL,
  replica TEXT NOT NULL,
  change INTEGER NOT NULL,
  table_name TEXT NOT NULL,
  key TEXT,
  kind TEXT NOT NULL,
  message TEXT NOT NULL,
  losing TEXT,
  winning TEXT
)`

// Conflict is a value that was overwritten or refused.
type Conflict struct {
	Table   string
	Key     string // JSON: the rowid, or an array of primary key values
	Kind    string // overwrite, merge, delete, missing, unique, foreign-key, check, not-null, raise, schema, refused
	Message string
	Losing  string // JSON object: the row, or the values, that lost; "" if none
	Winning string // JSON object: the row that is there now; "" if none
}

// Insert adds the conflict to the synced table.
func (c *Conflict) Insert(conn *sqlite.Conn, time, replica string, change uint64) error {
	err := conn.ExecArgs("INSERT INTO agentdb_conflicts(time,replica,change,table_name,key,kind,message,losing,winning) VALUES(?,?,?,?,?,?,?,?,?)",
		sqlite.Text(time), sqlite.Text(replica), sqlite.Int(int64(change)), sqlite.Text(c.Table), optional(c.Key),
		sqlite.Text(c.Kind), sqlite.Text(c.Message), optional(c.Losing), optional(c.Winning))
	if err != nil {
		return fmt.Errorf("change: record conflict: %w", err)
	}
	return nil
}

func optional(s string) sqlite.Value {
	if s == "" {
		return sqlite.Null()
	}
	return sqlite.Text(s)
}

// refuse handles SQLite's refusal of an operation.
func (x *Executor) refuse(r *relation, e *Event, se *sqlite.Error) error {
	kind := refusalKind(se)
	var winner *found
	if kind == "unique" && e.Op <= OpUpdate {
		winner = x.clash(r, e, se.Message)
	}
	return x.reject(e, kind, se.Message, winner)
}

// Extended codes of constraints, see https://www.sqlite.org/rescode.html.
const (
	constraintCheck      = 275
	constraintForeignKey = 787
	constraintNotNull    = 1299
	constraintPrimaryKey = 1555
	constraintTrigger    = 1811
	constraintUnique     = 2067
	constraintRowid      = 2579
)

func refusalKind(se *sqlite.Error) string {
	switch se.Code {
	case constraintCheck:
		return "check"
	case constraintForeignKey:
		return "foreign-key"
	case constraintNotNull:
		return "not-null"
	case constraintTrigger:
		return "raise"
	case constraintUnique, constraintPrimaryKey, constraintRowid:
		return "unique"
	}
	if se.Primary() == sqliteConstraint {
		return "constraint"
	}
	return "schema"
}

// clash finds the row that a UNIQUE constraint protects, from the columns that
// SQLite's message names.
func (x *Executor) clash(r *relation, e *Event, msg string) *found {
	_, list, ok := strings.Cut(msg, "UNIQUE constraint failed: ")
	if !ok || strings.HasPrefix(list, "index ") {
		return nil
	}
	var where []string
	var args []sqlite.Value
	for _, col := range strings.Split(list, ", ") {
		name := strings.TrimPrefix(col, r.Name+".")
		if strings.EqualFold(name, r.IPK) {
			where, args = append(where, quote(name)+"=?"), append(args, sqlite.Int(e.NewRowID))
			continue
		}
		i := e.Table.column(name)
		if i < 0 || i >= len(e.New) {
			return nil
		}
		v := e.New[i]
		if e.Op == OpUpdate && !e.Changed.has(i) {
			if !e.Known.has(i) {
				return nil
			}
			v = e.Old[i]
		}
		where, args = append(where, quote(name)+"=?"), append(args, v)
	}
	st, _, err := x.conn.Prepare("SELECT " + r.selectList() + " FROM main." + quote(r.Name) + " WHERE " + strings.Join(where, " AND "))
	if err != nil {
		return nil
	}
	defer st.Finalize()
	if bindAll(st, 1, args) != nil {
		return nil
	}
	if row, err := st.Step(); err != nil || !row {
		return nil
	}
	f := &found{rowid: st.ColumnInt64(0), vals: make([]sqlite.Value, len(r.Cols))}
	for i := range f.vals {
		f.vals[i] = st.Column(i + 1)
	}
	return f
}

// refuseRead handles an error from looking at the table: a schema that doesn't
// fit the operation refuses it.
func (x *Executor) refuseRead(e *Event, err error) error {
	se, fatal := asRefusal(err)
	if fatal != nil {
		return fatal
	}
	return x.reject(e, "schema", se.Message, nil)
}

// reject records that an operation was not applied. What later changes say
// about its row says nothing any more.
func (x *Executor) reject(e *Event, kind, why string, winner *found) error {
	if x.strict {
		return fmt.Errorf("%w: %s", ErrStrict, why)
	}
	x.note(wire.OpRejected, 0)
	if e.Op == OpInsert && !e.Table.NoRowid {
		was := e.RowID
		if e.renamed {
			was = e.was
		}
		gone := placeholder(was)
		x.setTo(idKey{e.Table.Name, was}, gone)
		if r := x.cap.schema.find(e.Table.Name); r != nil && (r.autoKey() || hasNullKey(e)) {
			e.RowID, e.NewRowID = gone, gone
		}
		if x.Conflict != nil {
			e.RowID, e.NewRowID = was, was
		}
	}
	if x.Conflict == nil {
		return nil
	}
	c := &Conflict{Kind: kind, Message: why}
	switch e.Op {
	case OpDDL, OpSQL:
		c.Table, c.Losing = e.Name, statementJSON(e)
	default:
		c.Table = e.Table.Name
		as := e.asWritten(x.cap.schema.find(e.Table.Name))
		c.Key = keyJSON(as.Table, as.RowID, as.key())
		c.Losing = eventJSON(as)
	}
	if winner != nil {
		c.Winning = x.rowJSON(e.Table.Name, winner)
	}
	return x.Conflict(c)
}

// overwritten records the row that an operation changed though its author had
// not seen it so.
func (x *Executor) overwritten(r *relation, e *Event, was *found, rowid int64, kind string) error {
	if x.Conflict == nil {
		return nil
	}
	c := &Conflict{
		Table: r.Name, Kind: kind,
		Key:    keyJSON(&r.Table, rowid, was.vals),
		Losing: x.rowJSON(r.Name, was),
	}
	switch {
	case kind == "delete" && x.next != nil:
		c.Kind, c.Message = "overwrite", "overwritten by a replica that had not seen these values"
		c.Winning = eventJSON(x.next.asWritten(r))
	case kind == "delete":
		c.Message = "deleted by a replica that had not seen these values"
	case kind == "merge":
		c.Message = "inserted again with the same key"
	default:
		c.Message = "overwritten by a replica that had not seen these values"
	}
	if kind != "delete" {
		if now, err := x.reread(r, was, rowid, e); err == nil && now != nil {
			c.Winning = x.rowJSON(r.Name, now)
		}
	}
	return x.Conflict(c)
}

// reread returns a row after a change.
func (x *Executor) reread(r *relation, was *found, rowid int64, e *Event) (*found, error) {
	if !r.NoRowid {
		return x.find(r, &Event{Op: OpUpdate, Table: &Table{Name: r.Name}}, nil, rowid)
	}
	key := make([]sqlite.Value, len(e.Table.Cols))
	for _, i := range e.Table.PK {
		switch j := r.column(e.Table.Cols[i]); {
		case i < len(e.New) && (e.Op == OpInsert || e.Changed.has(i)):
			key[i] = e.New[i]
		case j >= 0:
			key[i] = was.vals[j]
		}
	}
	return x.find(r, e, key, rowid)
}

// rowJSON is a whole row as a JSON object.
func (x *Executor) rowJSON(table string, f *found) string {
	r := x.cap.schema.find(table)
	if r == nil {
		return ""
	}
	var b bytes.Buffer
	b.WriteByte('{')
	if r.IPK != "" {
		writeField(&b, r.IPK, sqlite.Int(f.rowid))
	}
	for i, c := range r.Cols {
		if i < len(f.vals) {
			writeField(&b, c, f.vals[i])
		}
	}
	b.WriteByte('}')
	return b.String()
}

// asWritten returns the event with the ids that placeholders stand for.
func (e *Event) asWritten(r *relation) *Event {
	as := *e
	as.RowID, as.NewRowID = written(e.RowID), written(e.NewRowID)
	if r == nil || len(r.fks) == 0 {
		return &as
	}
	as.Old, as.New = slices.Clone(e.Old), slices.Clone(e.New)
	for _, fk := range r.fks {
		if fk.col < 0 {
			continue
		}
		i := e.Table.column(r.Cols[fk.col])
		for _, vals := range [][]sqlite.Value{as.Old, as.New} {
			if i >= 0 && i < len(vals) && vals[i].Kind == sqlite.KindInteger {
				vals[i].I = written(vals[i].I)
			}
		}
	}
	return &as
}

// eventJSON is what an operation wanted to write, or to delete.
func eventJSON(e *Event) string {
	var b bytes.Buffer
	b.WriteByte('{')
	if e.Table.IPK != "" {
		writeField(&b, e.Table.IPK, sqlite.Int(e.NewRowID))
	}
	for i, c := range e.Table.Cols {
		switch {
		case e.Op == OpInsert && i < len(e.New), e.Op == OpUpdate && e.Changed.has(i) && i < len(e.New):
			writeField(&b, c, e.New[i])
		case e.Op != OpInsert && e.Known.has(i) && i < len(e.Old):
			writeField(&b, c, e.Old[i])
		}
	}
	b.WriteByte('}')
	return b.String()
}

func statementJSON(e *Event) string {
	var b bytes.Buffer
	b.WriteByte('{')
	writeField(&b, "sql", sqlite.Text(e.SQL))
	for i := range e.Args {
		writeField(&b, fmt.Sprintf("?%d", i+1), e.Args[i])
	}
	b.WriteByte('}')
	return b.String()
}

// keyJSON is what identifies a row: its rowid, or its primary key's values.
func keyJSON(t *Table, rowid int64, vals []sqlite.Value) string {
	if len(t.PK) == 0 {
		return fmt.Sprint(rowid)
	}
	var b bytes.Buffer
	b.WriteByte('[')
	for n, i := range t.PK {
		if n > 0 {
			b.WriteByte(',')
		}
		if i < len(vals) {
			b.WriteString(valueJSON(vals[i]))
		} else {
			b.WriteString("null")
		}
	}
	b.WriteByte(']')
	return b.String()
}

func writeField(b *bytes.Buffer, name string, v sqlite.Value) {
	if b.Len() > 1 {
		b.WriteByte(',')
	}
	b.WriteString(stringJSON(name))
	b.WriteByte(':')
	b.WriteString(valueJSON(v))
}

// valueJSON is a value as JSON. What JSON has no words for is an object:
// {"blob":"<base64>"}, {"real":"+Inf"}, and {"text":"<base64>"} for text that
// is not UTF-8.
func valueJSON(v sqlite.Value) string {
	switch v.Kind {
	case sqlite.KindInteger:
		return fmt.Sprint(v.I)
	case sqlite.KindFloat:
		f := v.Float()
		if math.IsInf(f, 0) {
			return fmt.Sprintf(`{"real":"%v"}`, f)
		}
		s, _ := json.Marshal(f)
		if !bytes.ContainsAny(s, ".eE") {
			s = append(s, ".0"...)
		}
		return string(s)
	case sqlite.KindText:
		if strings.ToValidUTF8(string(v.B), "") != string(v.B) {
			return `{"text":"` + base64.StdEncoding.EncodeToString(v.B) + `"}`
		}
		return stringJSON(string(v.B))
	case sqlite.KindBlob:
		return `{"blob":"` + base64.StdEncoding.EncodeToString(v.B) + `"}`
	}
	return "null"
}

func stringJSON(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}
