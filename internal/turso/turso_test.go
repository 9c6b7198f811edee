package turso

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// file makes a database file with SQL and returns it as an Image.
func file(t *testing.T, sql string) *Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Exec(sql), c.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return image(b)
}

func image(b []byte) *Image {
	return &Image{Page: func(no uint32) ([]byte, error) {
		if no == 0 || int(no)*PageSize > len(b) {
			return nil, ErrCorrupt
		}
		return b[int(no-1)*PageSize : int(no)*PageSize], nil
	}}
}

func TestImageReadsSchemaAndRows(t *testing.T) {
	var sql strings.Builder
	for i := range 60 { // the schema's tree has more than one page, and one row with an overflow page
		fmt.Fprintf(&sql, "CREATE TABLE t%d(id INTEGER PRIMARY KEY, %s TEXT);", i, strings.Repeat("c", 200))
	}
	fmt.Fprintf(&sql, "CREATE TABLE big(x TEXT CHECK(x<>'%s')); CREATE VIEW v AS SELECT 1;", strings.Repeat("y", 9000))
	sql.WriteString("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<5000) INSERT INTO t3 SELECT 3*i, hex(randomblob(20)) FROM n; INSERT INTO t4(id) VALUES(-5),(1<<62)")
	m := file(t, sql.String())
	list, err := m.Schema()
	if err != nil || len(list) != 62 {
		t.Fatalf("%d objects, %v", len(list), err)
	}
	if o := list[60]; o.Name != "big" || !strings.HasSuffix(o.SQL, "yyy'))") || len(o.SQL) < 9000 {
		t.Errorf("big: %.50s… of %d bytes", o.SQL, len(o.SQL))
	}
	if o := list[61]; o.Type != "view" || o.Root != 0 {
		t.Errorf("view: %+v", o)
	}
	root, err := m.Root("T3")
	if err != nil || root == 0 {
		t.Fatal(root, err)
	}
	for id, want := range map[int64]bool{3: true, 4: false, 15000: true, 15003: false, -1: false, 7500: true} {
		if got, err := m.HasRow(root, id); got != want || err != nil {
			t.Errorf("row %d: %v, %v", id, got, err)
		}
	}
	if n, err := m.MaxRowID(root); n != 15000 || err != nil {
		t.Errorf("highest id %d, %v", n, err)
	}
	root, _ = m.Root("t4")
	if n, err := m.MaxRowID(root); n != 1<<62 || err != nil {
		t.Errorf("highest id %d, %v", n, err)
	}
	if ok, err := m.HasRow(root, -5); !ok || err != nil {
		t.Errorf("row -5: %v, %v", ok, err)
	}
	root, _ = m.Root("t5")
	if n, err := m.MaxRowID(root); n != 0 || err != nil {
		t.Errorf("highest id of no rows: %d, %v", n, err)
	}
}

func TestEmptyPageIsADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, EmptyPage(), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s, err := c.QueryText("PRAGMA integrity_check"); s != "ok" || err != nil {
		t.Fatal(s, err)
	}
	if err := c.Exec("CREATE TABLE t(x); INSERT INTO t VALUES(1)"); err != nil {
		t.Fatal(err)
	}
}

func TestObstacle(t *testing.T) {
	for _, c := range []struct{ sql, want string }{
		{"CREATE TABLE a(x)", ""},
		{`CREATE TABLE a("as" TEXT DEFAULT 'as (', y CHECK (CAST(y AS TEXT)<>'x'), [as(] INT /* as ( */ -- as (
			); CREATE VIEW w AS SELECT 1`, ""},
		{"CREATE TABLE d AS SELECT 1 AS a, 2 AS b", ""},
		{"CREATE TABLE a(x, y GENERATED ALWAYS AS (x+1) STORED)", "a has a generated column"},
		{"CREATE TABLE a(x, y as(x+1))", "a has a generated column"},
		{"CREATE VIRTUAL TABLE f USING fts5(x)", "f is a virtual table"},
		{"PRAGMA encoding='UTF-16'; CREATE TABLE a(x)", "its text is UTF-16"},
	} {
		if got, err := file(t, c.sql).Obstacle(); got != c.want || err != nil {
			t.Errorf("%s: %q, %v", c.sql, got, err)
		}
	}
	p := bytes.Clone(EmptyPage())
	p[offAutoVacuum+3] = 1
	if got, err := image(p).Obstacle(); got != "auto_vacuum is on" || err != nil {
		t.Errorf("auto_vacuum: %q, %v", got, err)
	}
}

func FuzzImage(f *testing.F) {
	f.Add(EmptyPage(), int64(1))
	f.Fuzz(func(t *testing.T, b []byte, id int64) {
		m := image(b)
		_, _ = m.Obstacle()
		_, _ = m.HasRow(1, id)
		_, _ = m.MaxRowID(1)
	})
}

// set encodes pages, counted from 0, with one container of each form.
func set(runs bool, containers ...[]uint16) []byte {
	var b, body []byte
	le := binary.LittleEndian
	if runs {
		b = le.AppendUint32(b, uint32(len(containers)-1)<<16|cookieRuns)
		flags := make([]byte, (len(containers)+7)/8)
		flags[0] = 1 // the first
		b = append(b, flags...)
	} else {
		b = le.AppendUint32(le.AppendUint32(b, cookieNoRuns), uint32(len(containers)))
	}
	for key, c := range containers {
		b = le.AppendUint16(le.AppendUint16(b, uint16(key)), uint16(len(c)-1))
	}
	for i, c := range containers {
		switch {
		case runs && i == 0: // one run
			body = le.AppendUint16(le.AppendUint16(le.AppendUint16(body, 1), c[0]), uint16(len(c)-1))
		case len(c) > maxArray:
			words := make([]byte, bitmapBytes)
			for _, v := range c {
				words[v/8] |= 1 << (v % 8)
			}
			body = append(body, words...)
		default:
			for _, v := range c {
				body = le.AppendUint16(body, v)
			}
		}
	}
	if !runs || len(containers) >= noOffsetsTill {
		b = append(b, make([]byte, 4*len(containers))...)
	}
	return append(b, body...)
}

func span(from, n int) (c []uint16) {
	for i := range n {
		c = append(c, uint16(from+i))
	}
	return c
}

func TestSelectedPages(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   []byte
		pages uint32
		want  []uint32
	}{
		{"array", set(false, []uint16{0, 2, 65535}), 1 << 20, []uint32{1, 3, 65536}},
		{"beyond the end", set(false, []uint16{0, 2, 65535}), 3, []uint32{1, 3}},
		{"two arrays", set(false, []uint16{7}, []uint16{1}), 1 << 20, []uint32{8, 65538}},
		{"run", set(true, span(5, 3)), 1 << 20, []uint32{6, 7, 8}},
		{"run and array", set(true, span(0, 2), []uint16{9}), 1 << 20, []uint32{1, 2, 65546}},
		{"five containers", set(true, span(0, 1), []uint16{1}, []uint16{2}, []uint16{3}, []uint16{4}), 1 << 20, []uint32{1, 65538, 131075, 196612, 262149}},
		{"none", set(false), 10, nil},
	} {
		if got, err := SelectedPages(c.set, c.pages); !slices.Equal(got, c.want) || err != nil {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
		for cut := range len(c.set) {
			if _, err := SelectedPages(c.set[:cut], c.pages); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %v", c.name, cut, err)
			}
		}
	}
	got, err := SelectedPages(set(false, span(100, 5000)), 4000)
	if len(got) != 3900 || got[0] != 101 || got[3899] != 4000 || err != nil {
		t.Errorf("bitmap: %d pages, %v", len(got), err)
	}
	for _, bad := range [][]byte{{1, 2, 3, 4}, append(set(false, []uint16{1}), 0), set(false, []uint16{2, 1})} {
		if _, err := SelectedPages(bad, 10); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func FuzzSelectedPages(f *testing.F) {
	f.Add(set(true, span(0, 2), []uint16{9}), uint32(1000))
	f.Add(set(false, span(0, 5000)), uint32(1000))
	f.Fuzz(func(t *testing.T, b []byte, pages uint32) {
		got, err := SelectedPages(b, min(pages, 1<<20))
		if err != nil {
			return
		}
		for i, no := range got {
			if no == 0 || no > pages || i > 0 && no <= got[i-1] {
				t.Fatalf("page %d after %v", no, got[:i])
			}
		}
	})
}

func TestPullRequest(t *testing.T) {
	if r, err := DecodePullRequest(nil); err != nil || r.ClientRevision+r.ServerRevision+r.Query != "" || r.WaitMS != 0 || r.Selector != nil {
		t.Errorf("empty: %+v, %v", r, err)
	}
	var b []byte
	b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), 0)
	b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), "s")
	b = protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), "c")
	b = protowire.AppendVarint(protowire.AppendTag(b, 4, protowire.VarintType), 5000)
	b = protowire.AppendBytes(protowire.AppendTag(b, 5, protowire.BytesType), []byte{1})
	b = protowire.AppendString(protowire.AppendTag(b, 7, protowire.BytesType), "SELECT 1")
	b = protowire.AppendFixed32(protowire.AppendTag(b, 99, protowire.Fixed32Type), 7)
	r, err := DecodePullRequest(b)
	if err != nil || r.ServerRevision != "s" || r.ClientRevision != "c" || r.WaitMS != 5000 || len(r.Selector) != 1 || r.Query != "SELECT 1" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := DecodePullRequest(b[:len(b)-1]); !errors.Is(err, ErrMalformed) {
		t.Errorf("cut: %v", err)
	}
}

func FuzzPullRequest(f *testing.F) {
	f.Add([]byte{0x12, 1, 's', 0x20, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = DecodePullRequest(b)
	})
}

func TestRevision(t *testing.T) {
	for _, r := range []Revision{{}, {Seq: 300, Hash: [8]byte{1, 0xff}, Line: 1 << 31, Gen: 77}, {Seq: 1 << 60, Gen: NoGen}} {
		if got, ok := ParseRevision(r.String()); got != r || !ok {
			t.Errorf("%s: %+v, %v", r, got, ok)
		}
	}
	for _, s := range []string{"", "e1.42", "1.00.0.0", "1.0000000000000000.0", "1.0000000000000000.0.0.0", "01.0000000000000000.0.0", "1.0000000000000000.0.-1"} {
		if r, ok := ParseRevision(s); ok {
			t.Errorf("%q is %+v", s, r)
		}
	}
}

func TestAnswerSizes(t *testing.T) {
	for _, no := range []uint32{1, 2, 128, 129, 1 << 20, 1<<32 - 1} {
		if n := len(AppendPageHead(nil, no)) + PageSize; n != PageSizeOnWire(no) {
			t.Errorf("page %d: %d bytes, not the %d that were announced", no, n, PageSizeOnWire(no))
		}
	}
	if got := AppendHeader(nil, "r", 7); !bytes.Equal(got, []byte{7, 0x0a, 1, 'r', 0x10, 7, 0x1a, 0}) {
		t.Errorf("header %x", got)
	}
}
