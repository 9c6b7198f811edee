package change

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// View selects what of a change is encoded.
type View uint8

// The views.
const (
	// ViewFull is everything: what a client keeps of an unsent change.
	ViewFull View = iota
	// ViewIntents is what is sent to a server.
	ViewIntents
	// ViewEffects is what servers ship: effects without old values, except
	// those that identify a row.
	ViewEffects
	// ViewStrict is ViewIntents with whole old rows, for a server to compare.
	ViewStrict
)

// The encoding of a change, all integers varints:
//
//	view byte
//	tables: bytes, count, then each: name, flags (1 NoRowid, 2 has IPK), IPK if any,
//	        columns: count, names; primary key: count, indexes
//	events: count, then each: head byte (op, 8 intent, 16 effect, 32 moved, 64 vain or again),
//	        then by op, see appendEvent
//	sequences: count, then each: table name, before+1, after+1
const (
	headIntent = 1 << 3
	headEffect = 1 << 4
	headMoved  = 1 << 5
	headVain   = 1 << 6 // of an update
	headAgain  = 1 << 6 // of an insert
	headOps    = 7
	headAll    = headOps | headIntent | headEffect | headMoved | headVain
)

// maxColumns is SQLite's highest limit on columns.
const maxColumns = 32767

type encoder struct {
	b      []byte
	view   View
	tables []*Table
	last   *Table
	lastIx int
}

// Append appends the change's encoding to dst.
func (c *Change) Append(dst []byte, view View) []byte {
	e := &encoder{view: view}
	n := 0
	for i := range c.Events {
		if ev := &c.Events[i]; e.selects(ev) {
			n++
			if ev.Table != nil {
				e.index(ev.Table)
			}
		}
	}
	var small [256]byte
	e.b = binary.AppendUvarint(small[:0], uint64(len(e.tables)))
	for _, t := range e.tables {
		e.table(t)
	}
	dict := e.b
	e.b = wire.AppendBytes(append(dst, byte(view)), dict)
	e.b = binary.AppendUvarint(e.b, uint64(n))
	e.b = slices.Grow(e.b, e.size(c))
	for i := range c.Events {
		if ev := &c.Events[i]; e.selects(ev) {
			e.event(ev)
		}
	}
	seqs := c.Sequences
	if view == ViewIntents || view == ViewStrict {
		seqs = nil
	}
	e.b = binary.AppendUvarint(e.b, uint64(len(seqs)))
	for _, s := range seqs {
		e.b = wire.AppendString(e.b, s.Table)
		e.b = binary.AppendVarint(e.b, s.Before)
		e.b = binary.AppendVarint(e.b, s.After)
	}
	return e.b
}

// Size returns about how many bytes the change's encoding takes.
func (c *Change) Size() int { return (&encoder{view: ViewFull}).size(c) }

// size returns about how many bytes the selected events will take.
func (e *encoder) size(c *Change) int {
	n := 0
	for i := range c.Events {
		ev := &c.Events[i]
		if !e.selects(ev) {
			continue
		}
		n += 12
		for j := range ev.New {
			n += 3 + len(ev.New[j].B)
		}
		if e.view != ViewEffects {
			for j := range ev.Old {
				n += 3 + len(ev.Old[j].B)
			}
		}
	}
	return n
}

// EffectsHash returns a hash of the change's effects. Two executions with the
// same hash did the same to the same rows.
func (c *Change) EffectsHash(scratch []byte) (uint64, []byte) {
	b := c.Append(scratch[:0], ViewEffects)
	return xxhash.Sum64(b), b
}

func (e *encoder) selects(ev *Event) bool {
	switch e.view {
	case ViewIntents, ViewStrict:
		return ev.Intent
	case ViewEffects:
		return ev.Effect
	}
	return true
}

// index returns the table's place in the dictionary, adding it if need be.
func (e *encoder) index(t *Table) int {
	if t == e.last {
		return e.lastIx
	}
	i := slices.Index(e.tables, t)
	if i < 0 {
		i = slices.IndexFunc(e.tables, t.equal)
	}
	if i < 0 {
		i = len(e.tables)
		e.tables = append(e.tables, t)
	}
	e.last, e.lastIx = t, i
	return i
}

func (t *Table) equal(o *Table) bool {
	return t.Name == o.Name && t.IPK == o.IPK && t.NoRowid == o.NoRowid &&
		slices.Equal(t.Cols, o.Cols) && slices.Equal(t.PK, o.PK)
}

func (e *encoder) table(t *Table) {
	var f byte
	if t.NoRowid {
		f |= 1
	}
	if t.IPK != "" {
		f |= 2
	}
	e.b = append(wire.AppendString(e.b, t.Name), f)
	if t.IPK != "" {
		e.b = wire.AppendString(e.b, t.IPK)
	}
	e.b = binary.AppendUvarint(e.b, uint64(len(t.Cols)))
	for _, c := range t.Cols {
		e.b = wire.AppendString(e.b, c)
	}
	e.b = binary.AppendUvarint(e.b, uint64(len(t.PK)))
	for _, i := range t.PK {
		e.b = binary.AppendUvarint(e.b, uint64(i))
	}
}

func (e *encoder) event(ev *Event) {
	head := byte(ev.Op)
	if ev.Intent && e.view != ViewEffects {
		head |= headIntent
	}
	if ev.Effect && (e.view == ViewFull || e.view == ViewEffects) {
		head |= headEffect
	}
	if ev.moved() {
		head |= headMoved
	}
	if ev.vain && head&headIntent != 0 {
		head |= headVain
	}
	if ev.again {
		head |= headAgain
	}
	e.b = append(e.b, head)
	switch ev.Op {
	case OpDDL:
		e.b = append(e.b, byte(ev.Kind))
		e.b = wire.AppendString(e.b, ev.Name)
		e.b = wire.AppendString(e.b, ev.SQL)
		return
	case OpSQL:
		e.b = wire.AppendString(e.b, ev.SQL)
		e.b = binary.AppendUvarint(e.b, uint64(len(ev.Args)))
		for i := range ev.Args {
			e.b = appendValue(e.b, &ev.Args[i])
		}
		return
	}
	e.row(ev)
}

// row encodes a row event: table, rowids, then the columns. An insert has all
// of New; a delete the known columns of Old; an update the known columns of
// Old and the changed ones of New, each behind a bit set.
func (e *encoder) row(ev *Event) {
	t := ev.Table
	e.b = binary.AppendUvarint(e.b, uint64(e.index(t)))
	if !t.NoRowid {
		e.b = binary.AppendVarint(e.b, ev.RowID)
		if ev.moved() {
			e.b = binary.AppendVarint(e.b, ev.NewRowID)
		}
	}
	if ev.Op != OpInsert {
		e.cols(ev.Old, e.known(ev), len(t.Cols))
	}
	switch ev.Op {
	case OpInsert:
		for i := range ev.New {
			e.b = appendValue(e.b, &ev.New[i])
		}
	case OpUpdate:
		e.cols(ev.New, ev.Changed, len(t.Cols))
	}
}

// moved reports whether an update gives its row another rowid.
func (e *Event) moved() bool {
	return e.Op == OpUpdate && e.NewRowID != e.RowID && !e.Table.NoRowid
}

// known returns which old values the view carries.
func (e *encoder) known(ev *Event) bitset {
	t := ev.Table
	switch {
	case e.view == ViewStrict, ev.Op == OpDelete && e.view != ViewEffects:
		return ev.Known
	case e.view == ViewEffects && !t.NoRowid:
		return nil
	}
	k := newBitset(len(t.Cols))
	if e.view != ViewEffects {
		for i := range t.Cols {
			if ev.Changed.has(i) && ev.Known.has(i) {
				k.set(i)
			}
		}
	}
	for _, i := range t.PK {
		if ev.Known.has(i) {
			k.set(i)
		}
	}
	return k
}

func (e *encoder) cols(vals []sqlite.Value, set bitset, n int) {
	for i := 0; i < n; i += 8 {
		e.b = append(e.b, set.byte(i))
	}
	for i := range vals {
		if set.has(i) {
			e.b = appendValue(e.b, &vals[i])
		}
	}
}

// Tags of values. Integers from 0 to smallInts-1 and texts and blobs shorter
// than smallLen bytes fit their tag.
const (
	tagNull  = 0
	tagInt   = 1 // zigzag varint
	tagFloat = 2 // 8 bytes, little endian
	tagText  = 3 // length, bytes
	tagBlob  = 4 // length, bytes

	tagSmallInt  = 0x10
	smallInts    = 0x30
	tagSmallText = 0x40
	tagSmallBlob = 0xa0
	smallLen     = 0x60
)

func appendValue(b []byte, v *sqlite.Value) []byte {
	switch v.Kind {
	case sqlite.KindInteger:
		if v.I >= 0 && v.I < smallInts {
			return append(b, tagSmallInt+byte(v.I))
		}
		return binary.AppendVarint(append(b, tagInt), v.I)
	case sqlite.KindFloat:
		return binary.LittleEndian.AppendUint64(append(b, tagFloat), uint64(v.I))
	case sqlite.KindText:
		if len(v.B) < smallLen {
			return append(append(b, tagSmallText+byte(len(v.B))), v.B...)
		}
		return wire.AppendBytes(append(b, tagText), v.B)
	case sqlite.KindBlob:
		if len(v.B) < smallLen {
			return append(append(b, tagSmallBlob+byte(len(v.B))), v.B...)
		}
		return wire.AppendBytes(append(b, tagBlob), v.B)
	}
	return append(b, tagNull)
}

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
	used  int
}

// Sizes of what is decoded, in bytes, and how many events room is made for
// before any is there.
const (
	eventSize     = 128
	valueSize     = 40
	statementSize = 56
	firstEvents   = 4096
)

// maxDicts bounds what a Decoder remembers.
const maxDicts = 1000

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
		d.dicts = map[string][]*Table{}
	}
	d.dicts[string(b)] = tables
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
