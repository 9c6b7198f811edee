package change

import (
	"fmt"
	"iter"
)

// Cascaded returns the rows that were deleted since the last Finish by foreign
// keys and triggers, and are not there again.
func (k *Capture) Cascaded() []*Event {
	var list []*Event
	var back map[string]bool
	for i := len(k.events) - 1; i >= 0; i-- {
		e := &k.events[i]
		switch {
		case !e.Effect || e.Intent && e.Op == OpDelete || e.Op > OpDelete || e.Shadow():
		case e.Op != OpDelete:
			if list == nil && !k.cascades(i) {
				return nil
			}
			if back == nil {
				back = map[string]bool{}
			}
			back[e.RowKey()] = true
		case !back[e.RowKey()]:
			list = append(list, e)
		}
	}
	return list
}

// cascades reports whether there is a delete before the n-th event that the
// user did not ask for.
func (k *Capture) cascades(n int) bool {
	for i := range k.events[:n] {
		if e := &k.events[i]; e.Op == OpDelete && e.Effect && !e.Intent && !e.Shadow() {
			return true
		}
	}
	return false
}

// RowKey identifies the row of an event, after it, among those of all tables.
func (e *Event) RowKey() string {
	if !e.Table.NoRowid {
		return fmt.Sprint(e.Table.Name, "\x00", e.NewRowID)
	}
	if e.Op == OpUpdate {
		return keyText(e.Table, e.keyAfter())
	}
	return keyText(e.Table, e.key())
}

// CascadeConflict describes a row that was deleted along with another one.
func (e *Event) CascadeConflict() *Conflict {
	return &Conflict{
		Table: e.Table.Name, Key: keyJSON(e.Table, e.RowID, e.Old), Kind: "delete",
		Message: "deleted along with another row by a replica that had not seen it",
		Losing:  eventJSON(e),
	}
}

// Updated yields the names of the columns that the event writes.
func (e *Event) Updated() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, c := range e.Table.Cols {
			if (e.Op == OpInsert || e.Changed.has(i)) && !yield(c) {
				return
			}
		}
	}
}
