package change

import (
	"fmt"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Virtual tables such as vec0 write into the middle of values that they store.
// The hook is told then which row changes, but not to what: the event waits for
// the next change of the row, which says what it was before, or for the end.

// blobWritten begins the event of such a write.
func (k *Capture) blobWritten(r *relation, p *sqlite.PreUpdate) (Event, error) {
	if r.kind != relShadow || r.NoRowid {
		return Event{}, fmt.Errorf("%w: incremental blob writes; use UPDATE", ErrUnsupported)
	}
	old, err := k.copyRow(r, p, p.Old)
	return Event{
		Op: OpUpdate, Effect: true, Table: &r.Table, RowID: p.OldRowID, NewRowID: p.OldRowID,
		Old: old, Known: r.known(), waits: true,
	}, err
}

// settleBlobs completes the events that wait.
func (k *Capture) settleBlobs() error {
	waiting := map[idKey]int{}
	for i := range k.events {
		e := &k.events[i]
		if e.Op > OpDelete || !e.Effect || len(waiting) == 0 && !e.waits {
			continue
		}
		at := idKey{e.Table.Name, e.RowID}
		if j, ok := waiting[at]; ok && e.Old != nil {
			k.events[j].settle(e.Old)
			delete(waiting, at)
		}
		if e.waits {
			waiting[at] = i
		}
	}
	for _, i := range waiting {
		now, err := k.events[i].Current(k.conn)
		if err != nil || now == nil {
			return fmt.Errorf("change: read what was written to row %d of %s: %w", k.events[i].RowID, k.events[i].Table.Name, err)
		}
		k.events[i].settle(now)
	}
	return nil
}

// settle says what a row became.
func (e *Event) settle(now []sqlite.Value) {
	e.New, e.waits = now, false
	e.Changed = newBitset(len(now))
	for i := range now {
		if !now[i].Equal(e.Old[i]) {
			e.Changed.set(i)
		}
	}
}
