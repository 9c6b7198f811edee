package tenant

import (
	"context"
	"iter"

	"github.com/agentdb/agentdb/internal/history"
)

// Export returns a database as it is in the history: how many bytes its file
// has, and the file in parts. A part is valid until the next one.
func (m *Manager) Export(ctx context.Context, name string) (size int64, parts iter.Seq2[[]byte, error], err error) {
	if _, err := ParseName(name); err != nil {
		return 0, nil, err
	}
	id := history.DBID(name)
	head, err := m.cfg.Store.DurableHead(ctx, id)
	if err != nil {
		return 0, nil, translate(err)
	}
	return int64(head.DBSize) * history.PageSize, func(yield func([]byte, error) bool) {
		if head.DBSize == 0 {
			return
		}
		for p, err := range m.cfg.Store.Pages(ctx, id, head.Seq) {
			if !yield(p.Data, translate(err)) || err != nil {
				return
			}
		}
	}, nil
}
