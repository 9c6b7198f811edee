package change

import (
	"fmt"
	"slices"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// pack holds inserts and deletes that were captured one after the other, encoded
// as in ViewFull: a bulk load is one allocation then, without a pointer in it.
type pack struct {
	encoder
	n  int // how many there are
	at int // how many other events came before the first
}

// position is how much has been captured.
type position struct{ events, packed, bytes, tables int }

func (k *Capture) here() position {
	return position{len(k.events), k.pack.n, len(k.pack.b), len(k.pack.tables)}
}

// backTo forgets what came after p.
func (k *Capture) backTo(p position) {
	k.events = k.events[:p.events]
	k.pack.n, k.pack.b, k.pack.tables = p.packed, k.pack.b[:p.bytes], k.pack.tables[:p.tables]
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
	tail := k.pack
	tail.n, tail.b, tail.at = k.pack.n-p.packed, k.pack.b[p.bytes:], max(k.pack.at-p.events, 0)
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
	if room := cap(p.b) - len(p.b); room < packStep {
		p.b = slices.Grow(p.b, max(len(p.b), packStep)) // twice as much
	}
	p.event(ev)
	p.n++
}

// packStep is room for a small event.
const packStep = 256

// Unpacked returns the change with all events in Events.
func (c *Change) Unpacked() *Change {
	p := &c.packed
	if p.n == 0 {
		return c
	}
	all := make([]Event, len(c.Events)+p.n)
	copy(all, c.Events[:p.at])
	r := wire.NewReader(p.b)
	for i := range p.n {
		readEvent(r, &all[p.at+i], p.tables)
	}
	if err := r.End(); err != nil {
		panic(fmt.Errorf("change: unpack what was captured: %w", err))
	}
	copy(all[p.at+p.n:], c.Events[p.at:])
	return &Change{Events: all, Sequences: c.Sequences}
}
