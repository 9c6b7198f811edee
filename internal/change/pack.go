package change

import (
	"fmt"
	"slices"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// pack holds inserts and deletes that were captured one after the other, encoded
// as in ViewFull: a bulk load is a few chunks of bytes then, without a pointer in
// them. None is ever moved to grow: Go can't stop a goroutine while it copies or
// clears megabytes, and a garbage collection that wants to would spin for so long.
type pack struct {
	encoder          // of the last chunk
	full    [][]byte // the chunks before it
	before  int      // their bytes
	n       int      // how many events there are
	at      int      // how many other events came before the first
}

// A pack's chunks double from the smallest to the largest. An event is never
// split.
const (
	packFirst = 256
	packLast  = 128 << 10
)

// size returns how many bytes are packed.
func (p *pack) size() int { return p.before + len(p.b) }

// chunks calls fn with what is packed from an offset on, in order.
func (p *pack) chunks(from int, fn func([]byte)) {
	for _, b := range p.full {
		if skip := min(from, len(b)); skip < len(b) {
			fn(b[skip:])
		}
		from = max(0, from-len(b))
	}
	if from < len(p.b) {
		fn(p.b[from:])
	}
}

// truncate forgets what was packed after so many bytes.
func (p *pack) truncate(size int) {
	for size < p.before {
		last := len(p.full) - 1
		p.b, p.full = p.full[last], p.full[:last]
		p.before -= len(p.b)
	}
	p.b = p.b[:size-p.before]
}

// reserve makes room for an event of at most n bytes.
func (p *pack) reserve(n int) {
	if n <= cap(p.b)-len(p.b) {
		return
	}
	if len(p.b) > 0 {
		p.full, p.before = append(p.full, p.b), p.size()
	}
	p.b = make([]byte, 0, max(n, min(max(2*cap(p.b), packFirst), packLast)))
}

// position is how much has been captured.
type position struct{ events, packed, bytes, tables int }

func (k *Capture) here() position {
	return position{len(k.events), k.pack.n, k.pack.size(), len(k.pack.tables)}
}

// backTo forgets what came after p.
func (k *Capture) backTo(p position) {
	k.events = k.events[:p.events]
	k.pack.truncate(p.bytes)
	k.pack.n, k.pack.tables = p.packed, k.pack.tables[:p.tables]
	k.pack.last = nil
	if p.packed == 0 {
		k.pack.at = 0 // it begins anew
	}
}

// since returns the events after p.
func (k *Capture) since(p position) []Event {
	if k.pack.n == p.packed {
		return k.events[p.events:]
	}
	tail := pack{n: k.pack.n - p.packed, at: max(k.pack.at-p.events, 0)}
	tail.tables = k.pack.tables
	k.pack.chunks(p.bytes, func(b []byte) { tail.full = append(tail.full, b) })
	return (&Change{Events: k.events[p.events:], packed: tail}).Unpacked().Events
}

// packable reports whether a row's change can be packed. There is one pack in a
// transaction.
func (k *Capture) packable(r *relation, p *sqlite.PreUpdate) bool {
	return k.opt.Pack && r.kind == relTable && (k.pack.n == 0 || k.pack.at == len(k.events)) &&
		(p.Op == sqlite.Insert || p.Op == sqlite.Delete && p.BlobWrite() < 0)
}

// packRow packs the row that is about to change.
func (k *Capture) packRow(r *relation, p *sqlite.PreUpdate) error {
	ev := Event{Op: OpInsert, Table: &r.Table, Effect: true, Intent: k.meant(p.Depth()), RowID: p.NewRowID, NewRowID: p.NewRowID}
	get := p.NewRaw
	if p.Op == sqlite.Delete {
		ev.Op, ev.RowID, ev.NewRowID, get = OpDelete, p.OldRowID, p.OldRowID, p.OldRaw
	}
	vals := slices.Grow(k.row[:0], len(r.cids))[:len(r.cids)]
	k.row = vals
	for i, cid := range r.cids {
		var err error
		if vals[i], err = get(cid); err != nil {
			return err
		}
	}
	if ev.Op == OpInsert {
		ev.New = vals
	} else {
		ev.Old, ev.Known = vals, r.known()
	}
	k.dirty = k.dirty || k.schema.vtabs // a trigger may have fed a full-text index
	k.pack.add(&ev, len(k.events))
	k.spend(vals)
	return nil
}

// add encodes an event that comes after others that are not packed.
func (p *pack) add(ev *Event, others int) {
	if p.n == 0 {
		p.at = others
	}
	p.reserve(p.eventSize(ev))
	p.event(ev)
	p.n++
}

// Unpacked returns the change with all events in Events.
func (c *Change) Unpacked() *Change {
	p := &c.packed
	if p.n == 0 {
		return c
	}
	all := make([]Event, len(c.Events)+p.n)
	copy(all, c.Events[:p.at])
	next := all[p.at : p.at+p.n]
	p.chunks(0, func(b []byte) {
		r := wire.NewReader(b)
		for r.Len() > 0 && r.Err() == nil {
			readEvent(r, &next[0], p.tables)
			next = next[1:]
		}
		if err := r.End(); err != nil {
			panic(fmt.Errorf("change: unpack what was captured: %w", err))
		}
	})
	copy(all[p.at+p.n:], c.Events[p.at:])
	return &Change{Events: all, Sequences: c.Sequences}
}
