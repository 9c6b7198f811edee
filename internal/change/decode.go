package change

import (
	"fmt"
	"math"
	"slices"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

func readValue(r *wire.Reader) sqlite.Value {
	tag := r.Byte()
	switch {
	case tag == tagNull:
		return sqlite.Value{}
	case tag == tagInt:
		return sqlite.Int(r.Varint())
	case tag == tagFloat:
		f := math.Float64frombits(r.Uint64())
		if math.IsNaN(f) {
			r.Fail("NaN is no SQLite value")
		}
		return sqlite.Real(f)
	case tag == tagText:
		return sqlite.TextBytes(r.Bytes())
	case tag == tagBlob:
		return sqlite.Blob(r.Bytes())
	case tag >= tagSmallBlob:
		return sqlite.Blob(r.Raw(int(tag - tagSmallBlob)))
	case tag >= tagSmallText:
		return sqlite.TextBytes(r.Raw(int(tag - tagSmallText)))
	case tag >= tagSmallInt:
		return sqlite.Int(int64(tag - tagSmallInt))
	}
	r.Fail("unknown value tag %#x", tag)
	return sqlite.Value{}
}

// Decode decodes one change. The values alias b.
func Decode(b []byte) (*Change, error) { return new(Decoder).Decode(b) }

// Decoder decodes many changes and shares their tables: those of equal
// dictionaries are the same pointers.
type Decoder struct {
	// Budget bounds the memory that decoded changes may take, in bytes, beyond
	// sixteen times their encoding; 0 is no bound. A few bytes can say that one
	// column of two thousand changed.
	Budget int

	dicts map[string][]*Table
	kept  int // bytes of dicts' keys
	used  int
}

// Reset makes the decoder ready for another request. It still knows the tables
// of the last ones, unless they are many.
func (d *Decoder) Reset() {
	d.used = 0
	if d.kept > maxKept {
		d.dicts, d.kept = nil, 0
	}
}

// Sizes of what is decoded, in bytes, and how many events room is made for
// before any is there.
const (
	eventSize     = 128
	valueSize     = 40
	statementSize = 56
	firstEvents   = 4096
)

// Bounds of what a Decoder remembers: dictionaries, and the bytes of those that
// Reset keeps.
const (
	maxDicts = 1000
	maxKept  = 16 << 10
)

// dict decodes a dictionary, or finds it among those seen.
func (d *Decoder) dict(r *wire.Reader) []*Table {
	b := r.Bytes()
	if tables, ok := d.dicts[string(b)]; ok {
		return tables
	}
	in := wire.NewReader(b)
	tables := make([]*Table, in.Count(3))
	for i := range tables {
		tables[i] = readTable(in)
	}
	if err := in.End(); err != nil {
		r.Fail("bad tables: %v", err)
		return nil
	}
	if d.dicts == nil || len(d.dicts) >= maxDicts {
		d.dicts, d.kept = map[string][]*Table{}, 0
	}
	d.dicts[string(b)] = tables
	d.kept += len(b)
	return tables
}

// Decode decodes one change. The values alias b.
func (d *Decoder) Decode(b []byte) (*Change, error) {
	r := wire.NewReader(b)
	if view := View(r.Byte()); view > ViewStrict {
		r.Fail("unknown view %d", view)
	}
	tables := d.dict(r)
	c := &Change{}
	n := r.Count(2)
	c.Events = make([]Event, 0, min(n, firstEvents))
	d.used -= 16 * len(b)
	for range n {
		if have := len(c.Events); have == cap(c.Events) {
			c.Events = slices.Grow(c.Events, min(n-have, have))
		}
		c.Events = append(c.Events, Event{})
		e := &c.Events[len(c.Events)-1]
		if readEvent(r, e, tables); r.Err() != nil {
			break
		}
		d.used += eventSize + valueSize*(len(e.Old)+len(e.New))
		if e.Statement != nil {
			d.used += statementSize + valueSize*len(e.Args)
		}
		if d.Budget > 0 && d.used > d.Budget {
			return nil, fmt.Errorf("change: decode: %w: the rows take more than %d bytes of memory", wire.ErrTooLarge, d.Budget)
		}
	}
	if n := r.Count(3); n > 0 {
		c.Sequences = make([]Sequence, n)
	}
	for i := range c.Sequences {
		c.Sequences[i] = Sequence{Table: r.String(), Before: r.Varint(), After: r.Varint()}
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("change: decode: %w", err)
	}
	return c, nil
}

func readTable(r *wire.Reader) *Table {
	t := &Table{Name: r.String()}
	f := r.Byte()
	t.NoRowid = f&1 != 0
	if f&2 != 0 {
		t.IPK = r.String()
	}
	n := r.Count(1)
	if t.Name == "" || f > 3 || n > maxColumns || t.NoRowid && t.IPK != "" {
		r.Fail("bad table")
		return t
	}
	t.Cols = make([]string, n)
	for i := range t.Cols {
		t.Cols[i] = r.String()
	}
	if k := r.Count(1); k > 0 {
		t.PK = make([]int, k)
	}
	for i := range t.PK {
		p := r.Uvarint()
		if p >= uint64(n) {
			r.Fail("primary key column %d of %d", p, n)
			return t
		}
		t.PK[i] = int(p)
	}
	if t.NoRowid && len(t.PK) == 0 {
		r.Fail("a WITHOUT ROWID table without a primary key")
	}
	return t
}

func readEvent(r *wire.Reader, ev *Event, tables []*Table) {
	head := r.Byte()
	op, intent := Op(head&headOps), head&headIntent != 0
	ev.Op, ev.Intent, ev.Effect = op, intent, head&headEffect != 0
	ev.vain = op == OpUpdate && head&headVain != 0
	ev.again = op == OpInsert && head&headAgain != 0
	if head&^headAll != 0 || head&headMoved != 0 && op != OpUpdate || ev.vain && !intent || head&headVain != 0 && !ev.vain && !ev.again {
		r.Fail("bad head %#x of an event", head)
	}
	switch ev.Op {
	case OpDDL:
		ev.Kind = DDLKind(r.Byte())
		ev.Statement = &Statement{Name: r.String(), SQL: r.String()}
		if ev.Kind > DDLCreateIndex {
			r.Fail("unknown schema change %d", ev.Kind)
		}
	case OpSQL:
		ev.Statement = &Statement{SQL: r.String()}
		if n := r.Count(1); n > 0 {
			ev.Args = make([]sqlite.Value, n)
		}
		for i := range ev.Args {
			ev.Args[i] = readValue(r)
		}
	case OpInsert, OpUpdate, OpDelete:
		i := r.Uvarint()
		if i >= uint64(len(tables)) {
			r.Fail("table %d of %d", i, len(tables))
			return
		}
		ev.Table = tables[i]
		readRow(r, ev, head)
	default:
		r.Fail("unknown operation %d", ev.Op)
	}
}

func readRow(r *wire.Reader, ev *Event, head byte) {
	n := len(ev.Table.Cols)
	if !ev.Table.NoRowid {
		ev.RowID = r.Varint()
		ev.NewRowID = ev.RowID
		if head&headMoved != 0 {
			ev.NewRowID = r.Varint()
		}
	}
	if ev.moved() != (head&headMoved != 0) {
		r.Fail("bad head %#x of an event", head)
	}
	if ev.Op != OpInsert {
		ev.Old, ev.Known = readCols(r, n)
	}
	switch ev.Op {
	case OpInsert:
		if n > r.Len() {
			r.Fail("%d values in %d bytes", n, r.Len())
			return
		}
		ev.New = make([]sqlite.Value, n)
		for i := range ev.New {
			ev.New[i] = readValue(r)
		}
	case OpUpdate:
		ev.New, ev.Changed = readCols(r, n)
	}
}

func readCols(r *wire.Reader, n int) ([]sqlite.Value, bitset) {
	bits := r.Raw((n + 7) / 8)
	if r.Err() != nil {
		return nil, nil
	}
	set := newBitset(n)
	for i, w := range bits {
		(*set)[i/8] |= uint64(w) << (i % 8 * 8)
	}
	for i := n; i < len(*set)*64; i++ {
		if set.has(i) {
			r.Fail("column %d of %d", i, n)
			return nil, nil
		}
	}
	if set.empty() {
		return nil, set
	}
	vals := make([]sqlite.Value, n)
	for i := range vals {
		if set.has(i) {
			vals[i] = readValue(r)
		}
	}
	return vals, set
}
