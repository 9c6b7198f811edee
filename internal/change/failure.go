package change

import (
	"github.com/agentdb/agentdb/internal/sqlite"
)

// afterFailure forgets what a failed statement did, if SQLite took it back. It
// does for ABORT, the default; rows written before the failure stay with OR
// FAIL. The counter of changes doesn't tell the two apart: it counts rows that
// triggers wrote, and keeps the count when they are taken back. So if it moved,
// the rows themselves are looked at.
func (k *Capture) afterFailure() error {
	if k.start.events >= len(k.events) && k.start.packed >= k.pack.n {
		return nil
	}
	stays := false
	if k.conn.TotalChanges() != k.before {
		var err error
		if stays, err = k.wasKept(k.since(k.start)); err != nil {
			return err
		}
	}
	if !stays {
		k.backTo(k.start)
	}
	return nil
}

// rowState is what a row was before some events, and is after them.
type rowState struct {
	first, last *Event
}

// wasKept reports whether the effects of events are in the database. One row
// that they changed on the whole is enough to tell: all of them are, or none.
func (k *Capture) wasKept(events []Event) (bool, error) {
	type key struct {
		table string
		id    int64
		pk    string
	}
	rows := map[key]*rowState{}
	for i := range events {
		e := &events[i]
		if !e.Effect || e.Op > OpDelete || e.NewRowID != e.RowID || e.waits {
			continue
		}
		at := key{e.Table.Name, e.RowID, e.pkText()}
		s := rows[at]
		if s == nil {
			s = &rowState{first: e}
			rows[at] = s
		}
		s.last = e
	}
	for _, s := range rows {
		before, after := s.first.Old, s.last.New
		if sameRow(before, after) {
			continue
		}
		probe := *s.last
		if probe.Table.NoRowid {
			probe.Old = probe.key()
		}
		now, err := probe.Current(k.conn)
		if err != nil {
			return false, err
		}
		return sameRow(now, after), nil
	}
	return false, nil
}

// sameRow compares rows; nil is a row that is not there.
func sameRow(a, b []sqlite.Value) bool {
	if (a == nil) != (b == nil) || len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

// pkText tells the rows of a WITHOUT ROWID table apart.
func (e *Event) pkText() string {
	if !e.Table.NoRowid {
		return ""
	}
	return keyJSON(e.Table, 0, e.key())
}
