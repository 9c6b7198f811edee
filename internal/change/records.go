package change

import (
	"fmt"
	"math"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Bounds of what Records puts into records.
const (
	maxRecorded = 256 << 10 // bytes of rows
	maxKey      = 1000
	maxRecords  = 1000
)

// Records returns a change that adds conflicts to the synced table. It leaves
// out what is large in all: whoever calls it keeps that elsewhere.
func (k *Capture) Records(list []*Conflict, time, replica string, change uint64) (*Change, error) {
	last, err := k.conn.QueryInt("SELECT coalesce(max(id),0) FROM agentdb_conflicts")
	if err != nil {
		return nil, fmt.Errorf("change: %w", err)
	}
	if last > math.MaxInt64/2 {
		last = 0 // such ids are taken: the executor finds others
	}
	t := &Table{Name: ConflictsTable, IPK: "id", Cols: []string{"time", "replica", "change", "table_name", "key", "kind", "message", "losing", "winning"}}
	c, size := &Change{}, 0
	for i, l := range list {
		losing, key := optional(l.Losing), optional(l.Key)
		if size += len(l.Losing); size > maxRecorded {
			size -= len(l.Losing)
			losing = sqlite.Null()
		}
		if len(l.Key) > maxKey {
			key = sqlite.Null()
		}
		more := len(list) - i
		if i == maxRecords && more > 1 {
			l = &Conflict{Kind: l.Kind, Message: fmt.Sprintf("%s; with %d operations more", l.Message, more)}
			losing, key = sqlite.Null(), sqlite.Null()
		}
		last++
		c.Events = append(c.Events, Event{
			Op: OpInsert, Intent: true, Table: t, RowID: last, NewRowID: last,
			New: []sqlite.Value{
				sqlite.Text(time), sqlite.Text(replica), sqlite.Int(int64(change)), sqlite.Text(l.Table), key,
				sqlite.Text(l.Kind), sqlite.Text(l.Message), losing, sqlite.Null(),
			},
		})
		if i == maxRecords {
			break
		}
	}
	return c, nil
}
