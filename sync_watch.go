package agentdb

import (
	"context"
	"errors"
	"strings"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/replica"
	"github.com/agentdb/agentdb/internal/sqlite"
)

var errOverflow = errors.New("agentdb: watch: too far behind; changes were dropped, look at the tables again")

func watchLoop(ctx context.Context, w *replica.Watcher, tables []string, yield func(Change, error) bool) {
	defer w.Close()
	for {
		select {
		case <-w.News():
		case <-ctx.Done():
			yield(Change{}, ctxError(ctx))
			return
		}
		list, closed, overflowed := w.Take()
		if overflowed && !yield(Change{}, errOverflow) {
			return
		}
		for i := range list {
			if watches(tables, list[i].Table.Name) && !yield(rowChange(&list[i]), nil) {
				return
			}
		}
		if closed {
			yield(Change{}, ErrClosed)
			return
		}
	}
}

func watches(tables []string, name string) bool {
	for _, t := range tables {
		if strings.EqualFold(t, name) {
			return true
		}
	}
	return len(tables) == 0
}

func rowChange(r *replica.RowChange) Change {
	c := Change{Table: r.Table.Name, Op: ChangeOp(r.Op.String()), Remote: r.Remote}
	if r.Op != change.OpInsert {
		c.Old = columns(r.Table, r.OldRowID, r.Old)
	}
	if r.Op != change.OpDelete {
		c.New = columns(r.Table, r.RowID, r.New)
	}
	c.Key = rowKey(r)
	return c
}

// columns is a row as a map.
func columns(t *change.Table, rowid int64, vals []sqlite.Value) map[string]any {
	if vals == nil {
		return nil
	}
	m := make(map[string]any, len(vals)+1)
	if t.IPK != "" {
		m[t.IPK] = rowid
	}
	for i, name := range t.Cols {
		m[name] = vals[i].Any()
	}
	return m
}

// rowKey is what identifies the row: the new key, unless it was deleted.
func rowKey(r *replica.RowChange) any {
	if len(r.Table.PK) == 0 {
		return r.RowID
	}
	vals := r.New
	if vals == nil {
		vals = r.Old
	}
	key := make([]any, 0, len(r.Table.PK))
	for _, i := range r.Table.PK {
		if i < len(vals) {
			key = append(key, vals[i].Any())
		}
	}
	if len(key) == 1 {
		return key[0]
	}
	return key
}
