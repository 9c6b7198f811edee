package change

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// captured returns what a few transactions did, of every kind of event.
func captured(t testing.TB) []*Change {
	t.Helper()
	c, err := sqlite.Open(filepath.Join(t.TempDir(), "t.db"), sqlite.Options{Synchronous: "OFF"})
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	k, err := Attach(c, Options{})
	must(t, err)
	var list []*Change
	for _, script := range [][]string{
		{
			"CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, n, r REAL, s TEXT, b BLOB)",
			"CREATE INDEX a_s ON a(s)",
			"CREATE TABLE w(k TEXT, l INT, v, PRIMARY KEY(k, l)) WITHOUT ROWID",
			"CREATE TABLE plain(x, y)", "CREATE TABLE empty_row(id INTEGER PRIMARY KEY)",
		},
		{
			"INSERT INTO a VALUES(NULL, 47, 1.5, 'text', x'00ff'), (-5, 48, -0.0, '', x''), (7, -9223372036854775808, 9e999, NULL, zeroblob(95))",
			"INSERT INTO a(s, b) VALUES(printf('%.*c', 95, 'x'), zeroblob(96)), (printf('%.*c', 96, 'y'), zeroblob(300))",
			"INSERT INTO w VALUES('k', 1, NULL), ('k', 2, 'v')",
			"INSERT INTO plain VALUES(1, 2), (3, 4)", "INSERT INTO empty_row VALUES(9)",
		},
		{
			"UPDATE a SET n = n + 1, s = s WHERE id = 7", "UPDATE a SET id = 70 WHERE id = 7", "UPDATE w SET v = 3, l = 30 WHERE l = 2",
			"UPDATE plain SET y = y", "UPDATE plain SET x = NULL, y = 'z'",
		},
		{"DELETE FROM a WHERE id = 70", "DELETE FROM w", "DELETE FROM plain", "DELETE FROM empty_row"},
		{"CREATE VIRTUAL TABLE f USING fts5(t)", "INSERT INTO f VALUES('full text')", "INSERT INTO f(f) VALUES('optimize')"},
		{"ALTER TABLE plain ADD COLUMN z DEFAULT 5", "CREATE VIEW v AS SELECT x FROM plain", "DROP TABLE w"},
	} {
		must(t, c.Exec("BEGIN IMMEDIATE"))
		must(t, k.Begin())
		for _, sql := range script {
			must(t, runCaptured(k, sql))
		}
		ch, err := k.Finish()
		must(t, err)
		must(t, c.Exec("COMMIT"))
		list = append(list, ch)
	}
	return list
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func runCaptured(k *Capture, sql string) error {
	st, _, err := k.conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer st.Finalize()
	if err := k.Before(st); err != nil {
		return err
	}
	for row := true; row; {
		if row, err = st.Step(); err != nil {
			return err
		}
	}
	return k.After(st, nil)
}

// sameChange compares what was decoded of a change with the change, as far as
// ViewFull keeps it.
func sameChange(want, got *Change) error {
	if len(want.Events) != len(got.Events) {
		return fmt.Errorf("%d events, want %d", len(got.Events), len(want.Events))
	}
	for i := range want.Events {
		if err := sameEvent(&want.Events[i], &got.Events[i]); err != nil {
			return fmt.Errorf("event %d, %v: %w", i, want.Events[i].Op, err)
		}
	}
	if !slices.Equal(want.Sequences, got.Sequences) {
		return fmt.Errorf("sequences %v, want %v", got.Sequences, want.Sequences)
	}
	return nil
}

func sameEvent(w, g *Event) error {
	if w.Op != g.Op || w.Intent != g.Intent || w.Effect != g.Effect || w.RowID != g.RowID || w.Op == OpUpdate && w.NewRowID != g.NewRowID {
		return fmt.Errorf("it is %+v, want %+v", g, w)
	}
	if w.Op > OpDelete {
		if d := cmp.Diff(w.Statement, g.Statement, cmpopts.EquateEmpty(), cmp.Comparer(sqlite.Value.Equal)); d != "" || w.Kind != g.Kind {
			return fmt.Errorf("kind %d, want %d: %s", g.Kind, w.Kind, d)
		}
		return nil
	}
	if !w.Table.equal(g.Table) {
		return fmt.Errorf("table %+v, want %+v", g.Table, w.Table)
	}
	known := (&encoder{view: ViewFull}).known(w)
	for i, c := range w.Table.Cols {
		switch {
		case w.Op == OpInsert && !w.New[i].Equal(g.New[i]):
			return fmt.Errorf("%s is %v, want %v", c, g.New[i], w.New[i])
		case w.Op != OpInsert && known.has(i) != g.Known.has(i), w.Op == OpUpdate && w.Changed.has(i) != g.Changed.has(i):
			return fmt.Errorf("%s is in other sets", c)
		case w.Op != OpInsert && known.has(i) && !w.Old[i].Equal(g.Old[i]):
			return fmt.Errorf("old %s is %v, want %v", c, g.Old[i], w.Old[i])
		case w.Op == OpUpdate && w.Changed.has(i) && !w.New[i].Equal(g.New[i]):
			return fmt.Errorf("new %s is %v, want %v", c, g.New[i], w.New[i])
		}
	}
	return nil
}

func TestCodecRoundTrip(t *testing.T) {
	var dec Decoder
	for i, c := range captured(t) {
		got, err := dec.Decode(c.Append(nil, ViewFull))
		must(t, err)
		if err := sameChange(c, got); err != nil {
			t.Errorf("change %d: %v", i, err)
		}
		for view, want := range map[View]int{ViewIntents: len(c.Intents()), ViewStrict: len(c.Intents()), ViewEffects: effects(c)} {
			got, err := dec.Decode(c.Append([]byte("before")[:0:6], view))
			must(t, err)
			if len(got.Events) != want {
				t.Errorf("change %d, view %d: %d events, want %d", i, view, len(got.Events), want)
			}
		}
	}
}

func effects(c *Change) int {
	n := 0
	for i := range c.Events {
		if c.Events[i].Effect {
			n++
		}
	}
	return n
}

// TestStrictKeepsOldRows checks that a server can compare whole rows.
func TestStrictKeepsOldRows(t *testing.T) {
	for _, c := range captured(t) {
		got, err := Decode(c.Append(nil, ViewStrict))
		must(t, err)
		for i, e := range got.Events {
			if e.Op != OpUpdate && e.Op != OpDelete {
				continue
			}
			for j, col := range e.Table.Cols {
				if !e.Known.has(j) {
					t.Errorf("event %d, %v of %s: the old value of %s is missing", i, e.Op, e.Table.Name, col)
				}
			}
		}
	}
}

// TestCodecTruncated cuts every change at every length, in every view.
func TestCodecTruncated(t *testing.T) {
	for i, c := range captured(t) {
		for view := ViewFull; view <= ViewStrict; view++ {
			b := c.Append(nil, view)
			for n := range b {
				if _, err := Decode(b[:n:n]); err == nil {
					t.Fatalf("change %d, view %d: cut to %d of %d bytes it still decodes", i, view, n, len(b))
				}
			}
			if _, err := Decode(append(b, 0)); err == nil {
				t.Errorf("change %d, view %d decodes with a byte more", i, view)
			}
		}
	}
}

// TestCodecValues pins the encoding of values: it is in files and on servers.
func TestCodecValues(t *testing.T) {
	for _, c := range []struct {
		v    sqlite.Value
		want []byte
	}{
		{sqlite.Null(), []byte{0}},
		{sqlite.Int(0), []byte{0x10}},
		{sqlite.Int(47), []byte{0x3f}},
		{sqlite.Int(48), []byte{1, 96}},
		{sqlite.Int(-1), []byte{1, 1}},
		{sqlite.Int(math.MinInt64), []byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
		{sqlite.Real(1.5), []byte{2, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f}},
		{sqlite.Text(""), []byte{0x40}},
		{sqlite.Text("ab"), []byte{0x42, 'a', 'b'}},
		{sqlite.TextBytes(bytes.Repeat([]byte{'x'}, 96)), append([]byte{3, 96}, bytes.Repeat([]byte{'x'}, 96)...)},
		{sqlite.Blob([]byte{}), []byte{0xa0}},
		{sqlite.Blob(bytes.Repeat([]byte{7}, 95)), append([]byte{0xff}, bytes.Repeat([]byte{7}, 95)...)},
		{sqlite.Blob(bytes.Repeat([]byte{7}, 96)), append([]byte{4, 96}, bytes.Repeat([]byte{7}, 96)...)},
	} {
		if got := appendValue(nil, &c.v); !bytes.Equal(got, c.want) {
			t.Errorf("%v is % x, want % x", c.v, got, c.want)
		}
	}
}

// TestCodecRow pins the encoding of a whole change, as docs/protocol.md has it.
func TestCodecRow(t *testing.T) {
	table := &Table{Name: "t", IPK: "id", Cols: []string{"a", "b"}}
	c := &Change{Events: []Event{
		{Op: OpInsert, Intent: true, Effect: true, Table: table, RowID: 3, NewRowID: 3, New: []sqlite.Value{sqlite.Text("x"), sqlite.Null()}},
		{
			Op: OpUpdate, Intent: true, Effect: true, Table: table, RowID: 3, NewRowID: 4, Known: all(2), Changed: bitOf(1),
			Old: []sqlite.Value{sqlite.Text("x"), sqlite.Null()}, New: []sqlite.Value{sqlite.Text("x"), sqlite.Int(5)},
		},
		{Op: OpDelete, Intent: true, Table: table, RowID: 4, NewRowID: 4, Known: all(2), Old: []sqlite.Value{sqlite.Text("x"), sqlite.Int(5)}},
	}, Sequences: []Sequence{{"t", -1, 3}}}
	dict := []byte{13, 1, 1, 't', 2, 2, 'i', 'd', 2, 1, 'a', 1, 'b', 0}
	for view, want := range map[View][]byte{
		ViewIntents: slices.Concat([]byte{1}, dict, []byte{3},
			[]byte{0x09, 0, 6, 0x41, 'x', 0},
			[]byte{0x2a, 0, 6, 8, 2, 0, 2, 0x15},
			[]byte{0x0b, 0, 8, 3, 0x41, 'x', 0x15},
			[]byte{0}),
		ViewEffects: slices.Concat([]byte{2}, dict, []byte{2},
			[]byte{0x11, 0, 6, 0x41, 'x', 0},
			[]byte{0x32, 0, 6, 8, 0, 2, 0x15},
			[]byte{1, 1, 't', 1, 6}),
	} {
		if got := c.Append(nil, view); !bytes.Equal(got, want) {
			t.Errorf("view %d:\n got % x\nwant % x", view, got, want)
		}
	}
}

func bitOf(i int) bitset {
	b := newBitset(i + 1)
	b.set(i)
	return b
}

// allocated returns how many bytes fn allocates.
func allocated(fn func()) uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	before := s[0].Value.Uint64()
	fn()
	metrics.Read(s)
	return s[0].Value.Uint64() - before
}

// TestCodecBadHeads changes the first byte of events to what nobody writes.
func TestCodecBadHeads(t *testing.T) {
	// Tables with and without rowids, "t" and "w", with one column each.
	dict := wire.AppendBytes([]byte{byte(ViewFull)}, []byte{2, 1, 't', 0, 1, 1, 'a', 0, 1, 'w', 1, 1, 1, 'a', 1, 0})
	insert, update, del := byte(OpInsert), byte(OpUpdate), byte(OpDelete)
	for name, c := range map[string]struct {
		event []byte
		ok    bool
	}{
		"insert":                       {[]byte{insert | headIntent, 0, 6, 0}, true},
		"insert, again":                {[]byte{insert | headAgain, 0, 6, 0}, true},
		"delete, bit 6":                {[]byte{del | 1<<6, 0, 6, 0}, false},
		"update, in vain":              {[]byte{update | headIntent | headVain, 0, 6, 0, 1, 0}, true},
		"effect, in vain":              {[]byte{update | headEffect | headVain, 0, 6, 0, 1, 0}, false},
		"bit 7":                        {[]byte{insert | 1<<7, 0, 6, 0}, false},
		"insert, moved":                {[]byte{insert | headMoved, 0, 6, 8, 0}, false},
		"insert, moved, and no id":     {[]byte{insert | headMoved, 0, 6, 0}, false},
		"update":                       {[]byte{update, 0, 6, 0, 1, 0}, true},
		"update, moved":                {[]byte{update | headMoved, 0, 6, 8, 0, 1, 0}, true},
		"update, moved to where it is": {[]byte{update | headMoved, 0, 6, 6, 0, 1, 0}, false},
		"update without rowid":         {[]byte{update, 1, 1, 0, 1, 0}, true},
		"update without rowid, moved":  {[]byte{update | headMoved, 1, 1, 0, 1, 0}, false},
		"delete":                       {[]byte{del, 0, 6, 0}, true},
		"delete, moved":                {[]byte{del | headMoved, 0, 6, 8, 0}, false},
		"schema, moved":                {[]byte{byte(OpDDL) | headMoved, 0, 1, 'n', 1, 's'}, false},
		"statement, moved":             {[]byte{byte(OpSQL) | headMoved, 1, 's', 0}, false},
	} {
		_, err := Decode(slices.Concat(dict, []byte{1}, c.event, []byte{0}))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What decoding a change allocates: the budget, twice since the room for events
// doubles as they come, and growth for each byte: four times 16.
const (
	growth = 64
	budget = 1 << 20
)

// TestDecodeGrowth decodes what takes most memory for its bytes.
func TestDecodeGrowth(t *testing.T) {
	cols := 2000
	wide := slices.Concat([]byte{1, 1, 't', 0}, binary.AppendUvarint(nil, uint64(cols)), make([]byte, cols+1))
	wide = wire.AppendBytes([]byte{byte(ViewFull)}, wide)
	update := slices.Concat([]byte{byte(OpUpdate), 0, 6, 1}, make([]byte, cols/8-1), []byte{0, 1}, make([]byte, cols/8-1), []byte{0})
	times := func(prefix []byte, n int, one []byte) []byte {
		return slices.Concat(prefix, binary.AppendUvarint(nil, uint64(n)), bytes.Repeat(one, n))
	}
	for name, b := range map[string][]byte{
		"few columns of many": times(wide, 2000, update),
		"many statements":     times([]byte{byte(ViewFull), 1, 0}, 300_000, []byte{byte(OpSQL), 0, 0}),
		"many tables":         wire.AppendBytes([]byte{byte(ViewFull)}, times(nil, 200_000, []byte{1, 't', 0, 0, 0})),
		"many columns":        wire.AppendBytes([]byte{byte(ViewFull)}, times([]byte{1, 1, 't', 0}, 30_000, []byte{0})),
		"many sequences":      times([]byte{byte(ViewFull), 1, 0, 0}, 300_000, []byte{0, 0, 0}),
	} {
		if n := allocated(func() { _, _ = (&Decoder{Budget: budget}).Decode(b) }); n > growth*uint64(len(b))+2*budget {
			t.Errorf("%s: decoding %d bytes allocated %d", name, len(b), n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range captured(f) {
		for view := ViewFull; view <= ViewStrict; view++ {
			f.Add(c.Append(nil, view))
		}
	}
	f.Add([]byte{0, 1, 0, 0, 0})
	f.Add(binary.AppendUvarint([]byte{0, 1, 0}, 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c *Change
		var err error
		if n := allocated(func() { c, err = (&Decoder{Budget: budget}).Decode(b) }); n > growth*uint64(len(b))+2*budget {
			t.Fatalf("decoding %d bytes allocated %d", len(b), n)
		}
		if err != nil {
			return
		}
		full := c.Append(nil, ViewFull)
		again, err := Decode(full)
		if err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		if err := sameChange(c, again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Append(nil, ViewFull), full) {
			t.Fatal("encoded twice, it differs")
		}
		for view := ViewFull; view <= ViewStrict; view++ {
			if _, err := Decode(c.Append(nil, view)); err != nil {
				t.Fatalf("view %d: %v", view, err)
			}
		}
	})
}
