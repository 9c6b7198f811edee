package change

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// relKind is the kind of a relation in the schema.
type relKind uint8

const (
	relTable relKind = iota
	relView
	relVirtual
	relShadow
)

// relation is what the package knows of a table, view or virtual table.
type relation struct {
	Table
	kind    relKind
	cids    []int // of Cols, the numbers that the preupdate hook uses
	autoinc bool
	skip    bool // internal, out of capture
	fks     []foreignKey
	keyRefs map[int]*keyRef // references to natural keys, by SQLite's number
	ipkFK   bool            // the INTEGER PRIMARY KEY is itself a reference: a natural key
	rowid   string
	taken   string    // SQL that finds a rowid, once it was needed
	content *relation // of an FTS5 table's %_content: the FTS5 table it backs
	ddl     string    // of a table: all that is in Table, and refs, follows from it
	refs    []declared
}

// declared is a column of a foreign key, as SQLite lists it.
type declared struct {
	parent, from, to string
	id, seq          int
}

// foreignKey is a reference to the rowid of a parent table: the only kind that
// has to follow when an id changes.
type foreignKey struct {
	col    int // index into Cols; -1 for the INTEGER PRIMARY KEY
	parent string
}

// keyRef is a reference to the natural key of a parent table.
type keyRef struct {
	parent *relation
	cols   map[int]int // from indexes into the parent's Cols to those into Cols
}

// ownParent reports whether rows refer to rows of the same table.
func (r *relation) ownParent() bool {
	for _, f := range r.fks {
		if strings.EqualFold(f.parent, r.Name) {
			return true
		}
	}
	for _, f := range r.keyRefs {
		if f.parent == r {
			return true
		}
	}
	return false
}

// autoKey reports whether rows are identified by an id that SQLite may choose:
// such rows get another id when theirs is taken.
func (r *relation) autoKey() bool {
	return !r.NoRowid && len(r.PK) == 0 && !r.ipkFK
}

// lacksKey returns a column that t's rows are identified by and r has not, ""
// if there is none. Statements would not fail over it: SQLite takes an unknown
// name in double quotes for a string.
func (r *relation) lacksKey(t *Table) string {
	if t.IPK != "" && !strings.EqualFold(t.IPK, r.IPK) {
		return t.IPK
	}
	for _, i := range t.PK {
		if r.column(t.Cols[i]) < 0 {
			return t.Cols[i]
		}
	}
	return ""
}

// schema caches relations of one connection, for one version of the schema.
type schema struct {
	conn    *sqlite.Conn
	version int64
	loaded  int                  // how often it was read
	rels    map[string]*relation // by name as SQLite gives it
	vtabs   bool
	fks     bool // some table has a foreign key
	// triggers are the tables and views that triggers belong to.
	triggers map[string]string
}

func newSchema(c *sqlite.Conn) *schema {
	return &schema{conn: c, version: -1}
}

// refresh drops the cache if the schema has changed since. It must run inside
// a transaction to mean anything.
func (s *schema) refresh() error {
	v, err := s.conn.QueryInt("PRAGMA main.schema_version")
	if err != nil {
		return fmt.Errorf("change: schema version: %w", err)
	}
	if v == s.version {
		return nil
	}
	s.forget()
	if err := s.load(); err != nil {
		return err
	}
	s.version = v
	return nil
}

// refreshTriggers is refresh where nothing but triggers can have changed.
func (s *schema) refreshTriggers() error {
	v, err := s.conn.QueryInt("PRAGMA main.schema_version")
	if err != nil {
		return fmt.Errorf("change: schema version: %w", err)
	}
	if v == s.version {
		return nil
	}
	s.loaded++
	s.conn.DropCached()
	s.version = v
	return s.loadTriggers()
}

// forget makes the next refresh load again.
func (s *schema) forget() { s.version = -1 }

// load reads the whole schema.
func (s *schema) load() error {
	s.loaded++
	s.conn.DropCached() // with a new trigger they hold more than they say
	old := s.rels
	s.rels = map[string]*relation{}
	s.vtabs, s.fks = false, false
	st, err := s.conn.Cached("SELECT l.name, l.type, l.wr, coalesce(m.sql,'') FROM pragma_table_list l " +
		"LEFT JOIN main.sqlite_schema m ON m.name=l.name AND m.type IN ('table','view') WHERE l.schema='main'")
	if err != nil {
		return fmt.Errorf("change: read schema: %w", err)
	}
	var ddl []string
	var rels []*relation
	for {
		row, err := st.Step()
		if err != nil {
			st.Done()
			return fmt.Errorf("change: read schema: %w", err)
		}
		if !row {
			break
		}
		r := &relation{Table: Table{Name: st.ColumnText(0), NoRowid: st.ColumnInt64(2) != 0}}
		switch st.ColumnText(1) {
		case "view":
			r.kind = relView
		case "virtual":
			r.kind, s.vtabs = relVirtual, true
			r.NoRowid = false
		case "shadow":
			r.kind = relShadow
		}
		r.skip = Internal(r.Name)
		rels, ddl = append(rels, r), append(ddl, st.ColumnText(3))
	}
	st.Done()
	markVectorShadows(rels, ddl)
	for i, r := range rels {
		s.rels[r.Name] = r
		if r.skip || r.sameAs(old[r.Name], ddl[i]) {
			continue
		}
		if err := s.loadColumns(r, ddl[i]); err != nil {
			return err
		}
		if r.kind != relTable {
			continue
		}
		if err := s.loadForeignKeys(r); err != nil {
			return err
		}
		r.ddl = ddl[i]
	}
	for _, r := range rels {
		s.resolveForeignKeys(r)
	}
	s.linkContent(rels, ddl)
	return s.loadTriggers()
}

func (s *schema) loadTriggers() error {
	s.triggers = map[string]string{}
	st, err := s.conn.Cached("SELECT name, tbl_name FROM main.sqlite_schema WHERE type='trigger'")
	if err != nil {
		return fmt.Errorf("change: read triggers: %w", err)
	}
	defer st.Done()
	for {
		row, err := st.Step()
		if err != nil {
			return fmt.Errorf("change: read triggers: %w", err)
		}
		if !row {
			return nil
		}
		s.triggers[st.ColumnText(0)] = st.ColumnText(1)
	}
}

func (s *schema) loadColumns(r *relation, ddl string) error {
	st, err := s.conn.Cached("SELECT cid, name, type, pk, hidden FROM pragma_table_xinfo(?)")
	if err != nil {
		return fmt.Errorf("change: read columns of %s: %w", r.Name, err)
	}
	defer st.Done()
	if err := st.BindText(1, r.Name); err != nil {
		return err
	}
	type column struct {
		name, typ string
		cid, pk   int
	}
	var cols []column
	keys := 0
	for {
		row, err := st.Step()
		if err != nil {
			if r.kind == relView || r.kind == relVirtual {
				return nil // broken views are the user's to mend
			}
			return fmt.Errorf("change: read columns of %s: %w", r.Name, err)
		}
		if !row {
			break
		}
		if st.ColumnInt64(4) != 0 {
			if name := st.ColumnText(1); r.kind == relTable && isRowidName(name) {
				r.computed = append(r.computed, name)
			}
			continue // hidden or generated: SQLite computes it
		}
		c := column{st.ColumnText(1), st.ColumnText(2), int(st.ColumnInt64(0)), int(st.ColumnInt64(3))}
		if c.pk > 0 {
			keys++
		}
		cols = append(cols, c)
	}
	order := make([]int, keys)
	for _, c := range cols {
		if keys == 1 && c.pk == 1 && !r.NoRowid && strings.EqualFold(c.typ, "INTEGER") && s.isIPK(r.Name) {
			r.IPK = c.name
			continue
		}
		if c.pk > 0 && c.pk <= keys {
			order[c.pk-1] = len(r.Cols)
		}
		r.Cols = append(r.Cols, c.name)
		r.cids = append(r.cids, c.cid)
	}
	if r.IPK == "" && keys > 0 {
		r.PK = order
	}
	r.rowid = r.rowidName()
	r.autoinc = r.IPK != "" && containsFold(normalDDL(ddl), "autoincrement") && s.hasSequences()
	return nil
}

// hasSequences reports whether there are AUTOINCREMENT counters at all: the word
// alone may be somebody's comment.
func (s *schema) hasSequences() bool {
	n, err := s.conn.QueryInt("SELECT count(*) FROM main.sqlite_schema WHERE name='sqlite_sequence'")
	return err == nil && n > 0
}

// isIPK tells INTEGER PRIMARY KEY from INTEGER PRIMARY KEY DESC: only the
// latter, which is no alias of the rowid, has an index of its own.
func (s *schema) isIPK(table string) bool {
	n, err := s.conn.QueryInt("SELECT count(*) FROM pragma_index_list(?) WHERE origin='pk'", sqlite.Text(table))
	return err == nil && n == 0
}

// sameAs takes over what is known of a table from when the schema was read before,
// if it has not changed since.
func (r *relation) sameAs(was *relation, ddl string) bool {
	if was == nil || ddl == "" || was.ddl != ddl || was.kind != r.kind || was.NoRowid != r.NoRowid {
		return false
	}
	r.Table, r.cids, r.autoinc, r.rowid, r.refs, r.ddl = was.Table, was.cids, was.autoinc, was.rowid, was.refs, ddl
	return true
}

func (s *schema) loadForeignKeys(r *relation) error {
	st, err := s.conn.Cached(`SELECT "table", "from", coalesce("to",''), id, seq FROM pragma_foreign_key_list(?1)`)
	if err != nil {
		return fmt.Errorf("change: read foreign keys of %s: %w", r.Name, err)
	}
	defer st.Done()
	if err := st.BindText(1, r.Name); err != nil {
		return err
	}
	for {
		row, err := st.Step()
		if err != nil {
			return fmt.Errorf("change: read foreign keys of %s: %w", r.Name, err)
		}
		if !row {
			return nil
		}
		r.refs = append(r.refs, declared{st.ColumnText(0), st.ColumnText(1), st.ColumnText(2), int(st.ColumnInt64(3)), int(st.ColumnInt64(4))})
	}
}

// resolveForeignKeys keeps the columns that refer to a parent's rowid, alone or
// with others.
func (s *schema) resolveForeignKeys(r *relation) {
	for _, d := range r.refs {
		s.fks = true
		parent := s.find(d.parent)
		if parent != nil && len(parent.PK) > 0 {
			r.refersTo(parent, d.id, d.seq, d.from, d.to)
			continue
		}
		if parent == nil || parent.IPK == "" || d.to != "" && !strings.EqualFold(d.to, parent.IPK) {
			continue
		}
		fk := foreignKey{col: -1, parent: parent.Name}
		if !strings.EqualFold(d.from, r.IPK) {
			if fk.col = r.column(d.from); fk.col < 0 {
				continue
			}
		} else {
			r.ipkFK = true
		}
		r.fks = append(r.fks, fk)
	}
}

// markVectorShadows finds the tables in which vec0 keeps its data: it does not
// name all of them to SQLite.
func markVectorShadows(rels []*relation, ddl []string) {
	for i, v := range rels {
		if v.kind != relVirtual || !containsFold(ddl[i], "vec0") {
			continue
		}
		for _, r := range rels {
			if r.kind == relTable && hasPrefixFold(r.Name, v.Name+"_") {
				r.kind = relShadow
			}
		}
	}
}

// refersTo notes a column of the id-th reference, to a natural key.
func (r *relation) refersTo(parent *relation, id, seq int, from, to string) {
	if to == "" && seq < len(parent.PK) {
		to = parent.Cols[parent.PK[seq]]
	}
	i, j := parent.column(to), r.column(from)
	if i < 0 || j < 0 || !slices.Contains(parent.PK, i) {
		return
	}
	if r.keyRefs == nil {
		r.keyRefs = map[int]*keyRef{}
	}
	if r.keyRefs[id] == nil {
		r.keyRefs[id] = &keyRef{parent: parent, cols: map[int]int{}}
	}
	r.keyRefs[id].cols[i] = j
}

// linkContent finds the FTS5 tables that keep their own content, whose rows
// are then told from writes to %_content.
func (s *schema) linkContent(rels []*relation, ddl []string) {
	for i, r := range rels {
		if r.kind != relVirtual || !containsFold(ddl[i], "fts5") {
			continue
		}
		c := s.rels[r.Name+"_content"]
		if c != nil && c.kind == relShadow && len(c.Cols) >= len(r.Cols) {
			c.content = r
		}
	}
}

// find returns a relation by name, in any case.
func (s *schema) find(name string) *relation {
	if r := s.rels[name]; r != nil {
		return r
	}
	for n, r := range s.rels {
		if strings.EqualFold(n, name) {
			return r
		}
	}
	return nil
}

// column returns a column's index in Cols, -1 if there is none.
func (t *Table) column(name string) int {
	for i, c := range t.Cols {
		if c == name {
			return i
		}
	}
	for i, c := range t.Cols {
		if strings.EqualFold(c, name) {
			return i
		}
	}
	return -1
}

func containsFold(s, sub string) bool {
	return strings.Contains(strings.ToLower(s), sub)
}

// quote returns an identifier in double quotes.
func quote(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
