package proof

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// words are what full texts are made of.
var words = []string{"ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen"}

// state is the content of a file as its users see it.
type state struct {
	schema []string            // type, name and text of everything in the schema
	rows   map[string][]string // by table, in order, with rowids
	fts    map[string]string   // results of queries, by full text table and query
	tokens map[string]int      // how often a token is in a column tok of a user's table
	lost   string              // the text of agentdb_conflicts
}

// backup copies a database that may be open elsewhere, through SQLite.
func backup(path, dst string) (err error) {
	src, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	d, err := sqlite.Open(dst, sqlite.Options{NoWAL: true, Synchronous: "OFF"})
	if err != nil {
		return err
	}
	return errors.Join(src.BackupTo(d), d.Close())
}

// inspect reads the whole state of a file and lets SQLite check it.
func inspect(t testing.TB, path string) *state {
	t.Helper()
	s, err := readState(path)
	if err != nil {
		t.Errorf("inspect %s: %v", filepath.Base(path), err)
		return &state{}
	}
	return s
}

func readState(path string) (*state, error) {
	dir, err := os.MkdirTemp("", "proof")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // only litter would be left
	dst := filepath.Join(dir, "copy.db")
	if err := backup(path, dst); err != nil {
		return nil, err
	}
	c, err := sqlite.Open(dst, sqlite.Options{NoWAL: true, Synchronous: "OFF"})
	if err != nil {
		return nil, err
	}
	s := &state{rows: map[string][]string{}, fts: map[string]string{}, tokens: map[string]int{}}
	err = errors.Join(s.check(c), s.readSchema(c), s.readTables(c))
	return s, errors.Join(err, c.Close())
}

// query returns all rows as texts in which values of different types differ.
func query(c *sqlite.Conn, text string) ([][]string, error) {
	st, err := c.Cached(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	defer st.Done()
	var rows [][]string
	for {
		more, err := st.Step()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		if !more {
			return rows, nil
		}
		row := make([]string, st.ColumnCount())
		for i := range row {
			row[i] = show(st.Column(i))
		}
		rows = append(rows, row)
	}
}

func show(v sqlite.Value) string {
	switch v.Kind {
	case sqlite.KindNull:
		return "NULL"
	case sqlite.KindInteger:
		return strconv.FormatInt(v.I, 10)
	case sqlite.KindFloat:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64) + "f"
	}
	b := v.B
	if len(b) > 200 {
		h := fnv.New64a()
		_, _ = h.Write(b) // never fails
		b = fmt.Appendf(nil, "%s… %d bytes %x", b[:40], len(b), h.Sum64())
	}
	if v.Kind == sqlite.KindBlob {
		return fmt.Sprintf("x%q", b)
	}
	return fmt.Sprintf("%q", b)
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// check runs SQLite's own checks.
func (s *state) check(c *sqlite.Conn) error {
	rows, err := query(c, "PRAGMA integrity_check")
	if err != nil {
		return err
	}
	if len(rows) != 1 || rows[0][0] != `"ok"` {
		return fmt.Errorf("integrity_check: %v", rows)
	}
	rows, err = query(c, "PRAGMA foreign_key_check")
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return fmt.Errorf("foreign_key_check: %v", rows)
	}
	return nil
}

// ours reports whether a name in the schema belongs to agentdb and is not content.
func ours(name string) bool {
	return strings.HasPrefix(name, "agentdb_") && name != "agentdb_conflicts"
}

func (s *state) readSchema(c *sqlite.Conn) error {
	rows, err := query(c, "SELECT type, name, tbl_name, sql FROM sqlite_schema")
	if err != nil {
		return err
	}
	for _, r := range rows {
		name, table := strings.Trim(r[1], `"`), strings.Trim(r[2], `"`)
		if !ours(name) && !ours(table) && !strings.HasPrefix(name, "sqlite_stat") {
			s.schema = append(s.schema, strings.Join(r, " "))
		}
	}
	sort.Strings(s.schema)
	return nil
}

// readTables reads all tables but those that full text tables are made of.
func (s *state) readTables(c *sqlite.Conn) error {
	list, err := query(c, "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main'")
	if err != nil {
		return err
	}
	for _, r := range list {
		name, kind := strings.Trim(r[0], `"`), strings.Trim(r[1], `"`)
		if ours(name) || name == "sqlite_schema" || strings.HasPrefix(name, "sqlite_stat") {
			continue
		}
		switch kind {
		case "table":
			err = s.readTable(c, name, r[2] == "1")
		case "virtual":
			err = s.readVirtual(c, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *state) readTable(c *sqlite.Conn, name string, withoutRowID bool) error {
	text := "SELECT rowid, * FROM " + quote(name) + " ORDER BY rowid"
	switch {
	case name == "sqlite_sequence":
		text = "SELECT name, seq FROM sqlite_sequence WHERE seq > 0 AND name NOT LIKE 'agentdb\\_%' ESCAPE '\\' ORDER BY name" // an insert that a trigger ignored leaves a 0
	case withoutRowID:
		text = "SELECT * FROM " + quote(name)
	}
	rows, err := query(c, text)
	if err != nil {
		return err
	}
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = strings.Join(r, " | ")
	}
	s.rows[name] = out
	if name == "agentdb_conflicts" {
		s.lost, err = c.QueryText("SELECT coalesce(group_concat(coalesce(losing, '') || coalesce(winning, ''), char(10)), '') FROM agentdb_conflicts")
		return err
	}
	if strings.HasPrefix(name, "log") {
		return nil
	}
	cols, err := query(c, "SELECT name FROM pragma_table_info('"+name+"') WHERE name = 'tok'")
	if err != nil || len(cols) == 0 {
		return err
	}
	toks, err := query(c, "SELECT tok FROM "+quote(name)+" WHERE tok IS NOT NULL")
	for _, r := range toks {
		s.tokens[strings.Trim(r[0], `"`)]++
	}
	return err
}

// readVirtual asks a full text table the same questions everywhere, and lets
// it compare itself with what it indexes.
func (s *state) readVirtual(c *sqlite.Conn, name string) error {
	def, err := c.QueryText("SELECT sql FROM sqlite_schema WHERE name = '" + name + "'")
	if err != nil || !strings.Contains(strings.ToLower(def), "fts5") {
		return err
	}
	rank := "0" // of a table with content of its own; an index over another table checks that with 1
	if strings.Contains(def, "content=") {
		rank = "1"
	}
	if err := c.Exec(fmt.Sprintf("INSERT INTO %s(%s, rank) VALUES('integrity-check', %s)", quote(name), quote(name), rank)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, w := range words {
		rows, err := query(c, fmt.Sprintf("SELECT rowid FROM %s WHERE %s MATCH '%s' ORDER BY rowid", quote(name), quote(name), w))
		if err != nil {
			return err
		}
		s.fts[name+" "+w] = fmt.Sprint(rows)
	}
	if rank == "0" {
		rows, err := query(c, "SELECT rowid, * FROM "+quote(name)+" ORDER BY rowid")
		if err != nil {
			return err
		}
		for _, r := range rows {
			s.rows[name] = append(s.rows[name], strings.Join(r, " | "))
			s.tokens[strings.Trim(r[1], `"`)]++
		}
	}
	return nil
}

// diff says in a few lines how two states differ; "" if they don't.
func (s *state) diff(o *state) string {
	var b strings.Builder
	lines(&b, "schema", s.schema, o.schema)
	names := map[string]bool{}
	for n := range s.rows {
		names[n] = true
	}
	for n := range o.rows {
		names[n] = true
	}
	sorted := make([]string, 0, len(names))
	for n := range names {
		sorted = append(sorted, n)
	}
	slices.Sort(sorted)
	for _, n := range sorted {
		lines(&b, n, s.rows[n], o.rows[n])
	}
	for q, r := range s.fts {
		if o.fts[q] != r {
			fmt.Fprintf(&b, "full text %s: %s and %s\n", q, r, o.fts[q])
		}
	}
	return b.String()
}

// lines writes what is in one of two lists only.
func lines(b *strings.Builder, what string, x, y []string) {
	if slices.Equal(x, y) {
		return
	}
	fmt.Fprintf(b, "%s: %d and %d\n", what, len(x), len(y))
	inX, inY := map[string]int{}, map[string]int{}
	for _, l := range x {
		inX[l]++
	}
	for _, l := range y {
		inY[l]++
	}
	n := 0
	for _, side := range []struct {
		sign  string
		lines []string
		other map[string]int
	}{{"<", x, inY}, {">", y, inX}} {
		for _, l := range side.lines {
			if side.other[l] == 0 && n < 12 {
				fmt.Fprintf(b, "  %s %s\n", side.sign, l)
				n++
			}
		}
	}
	if n == 0 {
		fmt.Fprintf(b, "  in another order\n")
	}
}

// same fails the test if the files differ.
func same(t testing.TB, paths ...string) *state {
	t.Helper()
	first := inspect(t, paths[0])
	for _, p := range paths[1:] {
		if d := first.diff(inspect(t, p)); d != "" {
			t.Errorf("%s (<) and %s (>) differ:\n%s", filepath.Base(paths[0]), filepath.Base(p), d)
		}
	}
	return first
}
