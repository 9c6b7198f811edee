package tenant

import (
	"context"
	"iter"
	"slices"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/turso"
)

// Export returns a database as it is in the history: how many bytes its file
// has, and the file in parts. A part is valid until the next one. With a
// generation other than 0 it is the file that this begins with.
func (m *Manager) Export(ctx context.Context, name string, generation uint32) (size int64, parts iter.Seq2[[]byte, error], err error) {
	if _, err := ParseName(name); err != nil {
		return 0, nil, err
	}
	id := history.DBID(name)
	var head history.Head
	if generation, err = m.inLine(ctx, name, generation); err != nil {
		return 0, nil, err
	}
	switch generation {
	case 0:
		head, err = m.cfg.Store.DurableHead(ctx, id)
	case 1: // begins with nothing
	default:
		head, err = m.cfg.Store.At(ctx, id, uint64(generation-1)*generationCommits)
	}
	if err != nil {
		return 0, nil, revisionErr(err)
	}
	if head.DBSize == 0 && generation > 0 {
		return history.PageSize, func(yield func([]byte, error) bool) { yield(turso.EmptyPage(), nil) }, nil
	}
	size, file, err := m.export(ctx, name, head, generation == 0)
	if generation == 0 || err != nil {
		return size, file, err
	}
	return size, func(yield func([]byte, error) bool) {
		first := true
		for b, err := range file {
			if err == nil && first {
				b = slices.Clone(b)
				markWAL(b)
			}
			if first = false; !yield(b, err) {
				return
			}
		}
	}, nil
}
