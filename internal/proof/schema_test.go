package proof

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// keyKind is how the rows of a table are told apart.
type keyKind int

const (
	keyRowID   keyKind = iota // id INTEGER PRIMARY KEY
	keyAuto                   // the same with AUTOINCREMENT
	keyOne                    // id INTEGER PRIMARY KEY that is a foreign key: at most one per parent
	keyText                   // k TEXT PRIMARY KEY, which may be NULL
	keyTextWR                 // the same WITHOUT ROWID
	keyPair                   // (k1, k2), either of which may be NULL
	keyPairWR                 // the same WITHOUT ROWID
	keyNone                   // no primary key
	keyKindEnd = iota
)

// table is one table of a random schema. Each has the columns tok, the row's
// name for life, and a and b, which no constraint concerns.
type table struct {
	name     string
	kind     keyKind
	parent   *table // column p refers to it, or p1 and p2; ptok is the parent's tok
	onDelete string
	onUpdate string
	deferred bool
	unique   bool // column u
	replace  bool // … ON CONFLICT REPLACE
	check    bool // columns c and d, whose sum is limited
	strict   bool
	gen      bool   // a generated column
	counts   *table // this table's column n is the number of that child's rows
	log      bool   // an AFTER INSERT trigger writes to table log
	policy   string // RAISE(…) of a BEFORE INSERT trigger, for rows with b = 'forbidden'
	fts      bool   // an external content index over b
	view     bool   // a view with INSTEAD OF triggers
	natural  bool   // rows with the same key are the same row
}

// key returns the names of the key's columns.
func (t *table) key() []string {
	switch t.kind {
	case keyRowID, keyAuto, keyOne:
		return []string{"id"}
	case keyText, keyTextWR:
		return []string{"k"}
	case keyPair, keyPairWR:
		return []string{"k1", "k2"}
	}
	return nil
}

// refs returns the names of the columns that refer to the parent.
func (t *table) refs() []string {
	if t.parent == nil {
		return nil
	}
	if t.kind == keyOne {
		return []string{"id"}
	}
	if len(t.parent.key()) == 2 {
		return []string{"p1", "p2"}
	}
	return []string{"p"}
}

func (t *table) withoutRowID() bool { return t.kind == keyTextWR || t.kind == keyPairWR }

// schema is a random schema.
type schema struct {
	tables []*table
	fts    string // a full text table with content of its own, or ""
}

func randomSchema(r *rand.Rand) *schema {
	s := &schema{}
	for i := range 3 + r.IntN(3) {
		s.tables = append(s.tables, s.randomTable(r, i))
	}
	for _, t := range s.tables {
		if p := t.parent; p != nil && p != t && !p.natural && p.counts == nil && t.kind != keyOne && r.IntN(2) == 0 && len(p.key()) == 1 && !t.unique {
			p.counts = t
		}
	}
	if r.IntN(2) == 0 {
		s.fts = "notes"
	}
	s.reduce()
	return s
}

// reduce leaves out what -proof.without names, to find what a failure needs.
func (s *schema) reduce() {
	without := func(what string) bool { return slices.Contains(strings.Split(*flagWithout, ","), what) }
	for _, t := range s.tables {
		t.fts = t.fts && !without("fts")
		t.view = t.view && !without("view")
		t.log = t.log && !without("log")
		if without("counts") {
			t.counts = nil
		}
		if without("policy") {
			t.policy = ""
		}
	}
	if without("fts") {
		s.fts = ""
	}
}

func (s *schema) randomTable(r *rand.Rand, i int) *table {
	t := &table{name: fmt.Sprintf("t%d", i), kind: keyKind(r.IntN(keyKindEnd))}
	if i == 0 {
		t.kind = keyKind(r.IntN(2))
	}
	chance := func(n int) bool { return r.IntN(n) == 0 }
	if i > 0 && (t.kind == keyOne || !chance(3)) {
		t.parent = s.tables[r.IntN(i)]
		for t.parent.kind == keyNone || t.parent.kind == keyPair {
			t.parent = s.tables[r.IntN(i)]
		}
	}
	if t.kind == keyOne {
		t.parent = s.tables[0]
	}
	if t.parent == nil && (t.kind == keyRowID || t.kind == keyAuto) && chance(4) {
		t.parent = t
	}
	if t.parent != nil {
		t.onDelete = []string{"", "CASCADE", "CASCADE", "SET NULL", "RESTRICT"}[r.IntN(5)]
		if t.kind == keyOne && t.onDelete == "SET NULL" {
			t.onDelete = "CASCADE"
		}
		t.onUpdate = []string{"", "CASCADE"}[r.IntN(2)]
		if t.deferred = chance(10); t.deferred && t.onDelete == "" {
			t.onDelete = "CASCADE" // else a row that reuses the parent's number inherits the children
		}
	}
	t.unique, t.check, t.log, t.gen, t.strict = chance(3), chance(3), chance(3), chance(6), chance(5)
	t.replace = t.unique && chance(4)
	t.fts = chance(3) && !t.withoutRowID()
	t.view = chance(3) && t.kind != keyOne
	if chance(5) {
		t.policy = []string{"ABORT", "FAIL", "IGNORE", "ROLLBACK"}[r.IntN(4)]
	}
	t.replace = t.replace && !t.fts // its deletes fire no triggers, so the index would go stale
	t.natural = t.kind != keyRowID && t.kind != keyAuto && t.kind != keyNone
	return t
}

// deferred reports whether a whole transaction may be refused at its end.
func (s *schema) deferred() bool {
	return slices.ContainsFunc(s.tables, func(t *table) bool { return t.deferred })
}

// references is the REFERENCES clause without its columns' names.
func (t *table) references() string {
	s := fmt.Sprintf("REFERENCES %s(%s)", t.parent.name, strings.Join(t.parent.key(), ", "))
	if t.onDelete != "" {
		s += " ON DELETE " + t.onDelete
	}
	if t.onUpdate != "" {
		s += " ON UPDATE " + t.onUpdate
	}
	if t.deferred {
		s += " DEFERRABLE INITIALLY DEFERRED"
	}
	return s
}

func (t *table) columns() []string {
	any := ""
	if t.strict {
		any = " ANY"
	}
	var c []string
	switch t.kind {
	case keyRowID:
		c = append(c, "id INTEGER PRIMARY KEY")
	case keyAuto:
		c = append(c, "id INTEGER PRIMARY KEY AUTOINCREMENT")
	case keyOne:
		c = append(c, "id INTEGER PRIMARY KEY "+t.references())
	case keyText, keyTextWR:
		c = append(c, "k TEXT PRIMARY KEY")
	case keyPair, keyPairWR:
		c = append(c, "k1 TEXT", "k2 INTEGER")
	}
	c = append(c, "tok TEXT", "a"+any, "b TEXT")
	if t.unique {
		u := "u INTEGER UNIQUE"
		if t.replace {
			u += " ON CONFLICT REPLACE"
		}
		c = append(c, u)
	}
	if t.check {
		c = append(c, "c INTEGER DEFAULT 0", "d INTEGER DEFAULT 0")
	}
	if t.counts != nil {
		c = append(c, "n INTEGER NOT NULL DEFAULT 0")
	}
	if t.gen {
		c = append(c, "g INTEGER GENERATED ALWAYS AS (length(b)) STORED", "h TEXT AS (upper(b))")
	}
	return append(c, t.constraints()...)
}

// constraints returns the columns of the reference and what stands after all columns.
func (t *table) constraints() (c []string) {
	refs := t.refs()
	if t.parent != nil {
		for i, ref := range refs {
			kind := "INTEGER"
			if t.parent.kind == keyText || t.parent.kind == keyTextWR || i == 0 && len(refs) == 2 {
				kind = "TEXT"
			}
			if t.kind != keyOne {
				c = append(c, ref+" "+kind)
			}
		}
		c = append(c, "ptok TEXT")
	}
	if t.check {
		c = append(c, "CHECK (c + d < 100)")
	}
	if len(t.key()) == 2 {
		c = append(c, "PRIMARY KEY (k1, k2)")
	}
	if t.parent != nil && t.kind != keyOne {
		c = append(c, fmt.Sprintf("FOREIGN KEY (%s) %s", strings.Join(refs, ", "), t.references()))
	}
	return c
}

// create is the table's CREATE TABLE.
func (t *table) create() string {
	var opts []string
	if t.strict {
		opts = append(opts, "STRICT")
	}
	if t.withoutRowID() {
		opts = append(opts, "WITHOUT ROWID")
	}
	return strings.TrimSpace(fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (%s) %s",
		t.name, strings.Join(t.columns(), ", "), strings.Join(opts, ", ")))
}

// ddl is the whole schema, statement by statement. Each may be run again.
func (s *schema) ddl() []string {
	out := []string{"CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, tok TEXT)"}
	for _, t := range s.tables {
		out = append(out, t.create())
	}
	for _, t := range s.tables {
		if t.parent != nil && t.name != "t2" {
			out = append(out, fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s_ref ON %s (%s)", t.name, t.name, strings.Join(t.refs(), ", ")))
		}
		out = append(out, t.triggers()...)
		if t.fts {
			out = append(out, t.index()...)
		}
		if t.view {
			out = append(out, t.views()...)
		}
	}
	if s.fts != "" {
		out = append(out, "CREATE VIRTUAL TABLE IF NOT EXISTS "+s.fts+" USING fts5(tok, body)")
	}
	return out
}

func (t *table) triggers() (out []string) {
	if t.log {
		out = append(out, fmt.Sprintf("CREATE TRIGGER IF NOT EXISTS %s_log AFTER INSERT ON %s BEGIN INSERT INTO log (tok) VALUES (NEW.tok); END", t.name, t.name))
	}
	if t.policy != "" {
		raise := "RAISE(IGNORE)"
		if t.policy != "IGNORE" {
			raise = "RAISE(" + t.policy + ", 'forbidden here')"
		}
		out = append(out, fmt.Sprintf("CREATE TRIGGER IF NOT EXISTS %s_policy BEFORE INSERT ON %s WHEN NEW.b = 'forbidden' BEGIN SELECT %s; END", t.name, t.name, raise))
	}
	if c := t.counts; c != nil {
		ref, key := c.refs()[0], t.key()[0]
		set := func(when, op, row string) string {
			return fmt.Sprintf("CREATE TRIGGER IF NOT EXISTS %s_n%s AFTER %s ON %s BEGIN UPDATE %s SET n = n %s 1 WHERE %s = %s.%s; END",
				t.name, row, when, c.name, t.name, op, key, row, ref)
		}
		out = append(out, set("INSERT", "+", "NEW"), set("DELETE", "-", "OLD"),
			fmt.Sprintf("CREATE TRIGGER IF NOT EXISTS %s_nmove AFTER UPDATE OF %s ON %s BEGIN UPDATE %s SET n = n - 1 WHERE %s = OLD.%s; UPDATE %s SET n = n + 1 WHERE %s = NEW.%s; END",
				t.name, ref, c.name, t.name, key, ref, t.name, key, ref))
	}
	return out
}

// index is a full text index over b, kept by triggers.
func (t *table) index() []string {
	f, row := t.name+"_fts", "rowid"
	if t.kind == keyRowID || t.kind == keyAuto || t.kind == keyOne {
		row = "id"
	}
	ins := fmt.Sprintf("INSERT INTO %s(rowid, b) VALUES (NEW.%s, NEW.b);", f, row)
	del := fmt.Sprintf("INSERT INTO %s(%s, rowid, b) VALUES ('delete', OLD.%s, OLD.b);", f, f, row)
	trigger := func(name, when, body string) string {
		return fmt.Sprintf("CREATE TRIGGER IF NOT EXISTS %s_%s AFTER %s ON %s BEGIN %s END", f, name, when, t.name, body)
	}
	return []string{
		fmt.Sprintf("CREATE VIRTUAL TABLE IF NOT EXISTS %s USING fts5(b, content='%s', content_rowid='%s')", f, t.name, row),
		trigger("ai", "INSERT", ins), trigger("ad", "DELETE", del), trigger("au", "UPDATE", del+" "+ins),
	}
}

// views is a view over the table that takes inserts, updates and deletes.
func (t *table) views() []string {
	v := t.name + "_v"
	key, args := "", ""
	for _, k := range t.key() {
		key += k + ", "
		args += "NEW." + k + ", "
	}
	trigger := func(when, body string) string {
		return fmt.Sprintf("CREATE TRIGGER IF NOT EXISTS %s_%s INSTEAD OF %s ON %s BEGIN %s; END", v, strings.ToLower(when), when, v, body)
	}
	return []string{
		fmt.Sprintf("CREATE VIEW IF NOT EXISTS %s AS SELECT %stok, a, b FROM %s", v, key, t.name),
		trigger("INSERT", fmt.Sprintf("INSERT INTO %s (%stok, a, b) VALUES (%sNEW.tok, NEW.a, NEW.b)", t.name, key, args)),
		trigger("UPDATE", fmt.Sprintf("UPDATE %s SET a = NEW.a, b = NEW.b WHERE tok = OLD.tok", t.name)),
		trigger("DELETE", fmt.Sprintf("DELETE FROM %s WHERE tok = OLD.tok", t.name)),
	}
}
