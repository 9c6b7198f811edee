package change

import (
	"encoding/binary"
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

// Append appends the change's encoding to dst. A packed change has ViewFull only.
func (c *Change) Append(dst []byte, view View) []byte {
	if c.packed.n > 0 && view != ViewFull {
		panic("change: another view of a change that is packed")
	}
	e := &encoder{view: view, tables: slices.Clip(c.packed.tables)}
	n := c.packed.n
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
	e.events(c.Events[:c.packed.at])
	c.packed.chunks(0, func(b []byte) { e.b = append(e.b, b...) })
	e.events(c.Events[c.packed.at:])
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

// Count returns how many events an encoded change has, 0 if it is none.
func Count(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	r := wire.NewReader(b[1:])
	r.Bytes() // tables
	n := r.Count(2)
	if r.Err() != nil {
		return 0
	}
	return n
}

func (e *encoder) events(list []Event) {
	for i := range list {
		if ev := &list[i]; e.selects(ev) {
			e.event(ev)
		}
	}
}

// Size returns how many bytes the change's encoding takes in ViewFull, or
// somewhat more.
func (c *Change) Size() int {
	e := &encoder{view: ViewFull, tables: slices.Clip(c.packed.tables)}
	n := 4*binary.MaxVarintLen64 + e.size(c)
	for _, t := range e.tables {
		n += (4+len(t.Cols)+len(t.PK))*binary.MaxVarintLen32 + len(t.Name) + len(t.IPK)
		for _, c := range t.Cols {
			n += len(c)
		}
	}
	for i := range c.Sequences {
		n += 3*binary.MaxVarintLen64 + len(c.Sequences[i].Table)
	}
	return n
}

// size returns how many bytes the selected events will take, or somewhat more.
func (e *encoder) size(c *Change) int {
	n := c.packed.size()
	for i := range c.Events {
		if ev := &c.Events[i]; e.selects(ev) {
			n += e.eventSize(ev)
		}
	}
	return n
}

func (e *encoder) eventSize(ev *Event) int {
	n := 4 * binary.MaxVarintLen64
	if ev.Statement != nil {
		n += len(ev.Name) + len(ev.SQL) + valuesSize(ev.Args)
	}
	if ev.Table != nil {
		e.index(ev.Table)
		n += 2 + len(ev.Table.Cols)/4
	}
	if e.view != ViewEffects {
		n += valuesSize(ev.Old)
	}
	return n + valuesSize(ev.New)
}

func valuesSize(vals []sqlite.Value) int {
	n := len(vals) * (1 + binary.MaxVarintLen64)
	for i := range vals {
		n += len(vals[i].B)
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
	case e.view == ViewEffects && !t.NoRowid && !ev.moved() && !ev.losesKey():
		return nil // its number says enough
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
