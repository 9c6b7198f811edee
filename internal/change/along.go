package change

import (
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// takenAlong returns records of the rows that a DROP TABLE would take along
// though the author of the changes can't have known them.
func (x *Executor) takenAlong(t retabling) (list []*Conflict, err error) {
	r := x.cap.schema.find(t.from)
	if x.Unknown == nil || x.Conflict == nil && !x.strict || t.from == "" || t.to != "" || r == nil || r.kind != relTable || r.skip {
		return nil, nil
	}
	as := r.Table
	if as.Name = x.origin(r.Name); as.Name == "" {
		return nil, nil // the author made it
	}
	unknown, err := x.Unknown()
	if err != nil || unknown == nil {
		return nil, err
	}
	err = r.scan(x.conn, func(rowid int64, vals []sqlite.Value) error {
		e := &Event{Op: OpDelete, Effect: true, Table: &as, RowID: rowid, NewRowID: rowid, Old: vals, Known: r.known()}
		if !unknown(e) {
			return nil
		}
		if x.strict {
			return fmt.Errorf("%w: %s has rows that its author had not seen", ErrStrict, r.Name)
		}
		x.cap.spend(vals)
		c := e.CascadeConflict()
		c.Table, c.Message = r.Name, "dropped with its table by a replica that had not seen it"
		list = append(list, c)
		return x.cap.err
	})
	return list, err
}

// origin returns the name that a table had before the author's changes, "" if
// it was not there.
func (x *Executor) origin(table string) string {
	if was, ok := x.origins[strings.ToLower(table)]; ok {
		return was
	}
	return table
}

// originates notes what a table is called from here on, if it is called anything.
func (x *Executor) originates(r retabling, was string) {
	if r.from == "" {
		return
	}
	if x.origins == nil {
		x.origins = map[string]string{}
	}
	x.origins[strings.ToLower(r.from)] = ""
	if r.to != "" {
		x.origins[strings.ToLower(r.to)] = was
	}
}
