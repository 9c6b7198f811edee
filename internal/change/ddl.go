package change

import (
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// beforeDDL remembers the schema before a statement that changes it.
func (k *Capture) beforeDDL(*facts) error {
	if k.blobs {
		k.blobs = false
		if err := k.settleBlobs(); err != nil {
			return err
		}
	}
	var err error
	k.objects, err = schemaObjects(k.conn)
	return err
}

// schemaObjects returns the SQL of each object, by type and name.
func schemaObjects(c *sqlite.Conn) (map[string]string, error) {
	st, err := c.Cached("SELECT type||' '||name, coalesce(sql,'') FROM main.sqlite_schema")
	if err != nil {
		return nil, fmt.Errorf("change: read schema: %w", err)
	}
	defer st.Done()
	m := map[string]string{}
	for {
		row, err := st.Step()
		if err != nil {
			return nil, fmt.Errorf("change: read schema: %w", err)
		}
		if !row {
			return m, nil
		}
		m[st.ColumnText(0)] = st.ColumnText(1)
	}
}

// afterDDL records a schema change that happened. CREATE is recorded in the
// words that SQLite keeps, without IF NOT EXISTS; one that found its object
// there already changed nothing, and is not recorded.
func (k *Capture) afterDDL(st *sqlite.Stmt, f *facts, failed error) error {
	before := k.objects
	k.objects = nil
	if failed != nil {
		return nil
	}
	after, err := schemaObjects(k.conn)
	if err != nil {
		return err
	}
	if sameObjects(before, after) {
		return nil
	}
	k.altered = true
	ev := Event{Op: OpDDL, Intent: true, Effect: true, Kind: f.kind, Statement: &Statement{Name: f.create, SQL: trimStatement(st.SQL())}}
	if f.create != "" {
		for key, sql := range after {
			_, name, _ := strings.Cut(key, " ")
			if _, had := before[key]; !had && strings.EqualFold(name, f.create) {
				ev.Name, ev.SQL = name, sql
			}
		}
	}
	if err := k.schema.refresh(); err != nil {
		return err
	}
	if err := k.refuseNew(ev.Name); err != nil {
		return err
	}
	k.events = append(k.events, ev)
	if f.ctas {
		if err := k.captureRows(ev.Name); err != nil {
			return err
		}
	}
	return k.guard()
}

func sameObjects(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// captureRows records the rows of a table that CREATE TABLE … AS SELECT made:
// no hook sees them.
func (k *Capture) captureRows(table string) error {
	r := k.schema.find(table)
	if r == nil {
		return fmt.Errorf("change: %s vanished", table)
	}
	return r.scan(k.conn, func(rowid int64, vals []sqlite.Value) error {
		k.events = append(k.events, Event{
			Op: OpInsert, Intent: true, Effect: true, Table: &r.Table,
			RowID: rowid, NewRowID: rowid, New: vals,
		})
		k.spend(vals)
		return k.err
	})
}

// scan calls fn for every row.
func (r *relation) scan(c *sqlite.Conn, fn func(rowid int64, vals []sqlite.Value) error) error {
	st, _, err := c.Prepare("SELECT " + r.selectList() + " FROM main." + quote(r.Name))
	if err != nil {
		return fmt.Errorf("change: read %s: %w", r.Name, err)
	}
	defer st.Finalize()
	for {
		row, err := st.Step()
		if err != nil {
			return fmt.Errorf("change: read %s: %w", r.Name, err)
		}
		if !row {
			return nil
		}
		vals := make([]sqlite.Value, len(r.Cols))
		for i := range vals {
			vals[i] = st.Column(i + 1)
		}
		if err := fn(st.ColumnInt64(0), vals); err != nil {
			return err
		}
	}
}

// selectList is the rowid, or 0, and all columns.
func (t *Table) selectList() string {
	var b strings.Builder
	if t.NoRowid {
		b.WriteString("0")
	} else {
		b.WriteString(quote(t.rowidName()))
	}
	for _, c := range t.Cols {
		b.WriteString("," + quote(c))
	}
	return b.String()
}

// trimStatement drops the space and the semicolons around a statement.
func trimStatement(sql string) string {
	return strings.TrimRight(strings.TrimSpace(sql), "; \t\r\n")
}

// sameDDL compares two statements' words: outside quotes, white space, comments
// and case don't count.
func sameDDL(a, b string) bool { return normalDDL(a) == normalDDL(b) }

func normalDDL(sql string) string {
	var b strings.Builder
	var quoted byte
	space := false
	for i := 0; i < len(sql); i++ {
		c := sql[i]
		switch {
		case quoted != 0:
			if c == quoted {
				quoted = 0
			}
		case c == '\'' || c == '"' || c == '`':
			quoted = c
		case c == '[':
			quoted = ']'
		case c == '-' && strings.HasPrefix(sql[i:], "--"):
			if n := strings.IndexByte(sql[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(sql)
			}
			space = true
			continue
		case c == '/' && strings.HasPrefix(sql[i:], "/*"):
			if n := strings.Index(sql[i+2:], "*/"); n >= 0 {
				i += 2 + n + 1
			} else {
				i = len(sql)
			}
			space = true
			continue
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			space = true
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if space && b.Len() > 0 && isWord(c) && isWord(lastByte(&b)) {
			b.WriteByte(' ')
		}
		space = false
		b.WriteByte(c)
	}
	return strings.TrimSuffix(b.String(), ";")
}

func lastByte(b *strings.Builder) byte { s := b.String(); return s[len(s)-1] }

func isWord(c byte) bool {
	return c == '_' || c == '\'' || c == '"' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
