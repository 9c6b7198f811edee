package tenant

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/wire"
)

// packers is how many chunks of a snapshot are compressed at a time.
const packers = 2

// chunk is a part of a snapshot on its way out.
type chunk struct {
	first uint32
	pages []byte
	msg   []byte
	err   error
	done  chan struct{} // closed when msg is there
}

// snapshot yields the pages at a revision, in chunks. Pages are read and
// compressed ahead of the chunk that is being sent.
func (d *database) snapshot(ctx context.Context, head history.Head) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		work := make(chan *chunk)
		out := make(chan *chunk, 2*packers)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() {
			defer close(work)
			defer close(out)
			d.readChunks(ctx, head, func(c *chunk) bool { return offer(ctx, out, c) && (c.err != nil || offer(ctx, work, c)) })
		})
		for range packers {
			wg.Go(func() {
				for c := range work {
					c.msg = wire.AppendPages(nil, c.first, c.pages)
					c.pages = nil
					close(c.done)
				}
			})
		}
		for c := range out {
			select {
			case <-c.done:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
			d.m.stats.pulledBytes.Add(uint64(len(c.msg)))
			if !yield(c.msg, c.err) || c.err != nil {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

func offer(ctx context.Context, to chan<- *chunk, c *chunk) bool {
	select {
	case to <- c:
		return true
	case <-ctx.Done():
		return false
	}
}

// readChunks reads the pages of a revision and hands them on until emit
// returns false.
func (d *database) readChunks(ctx context.Context, head history.Head, emit func(*chunk) bool) {
	next := func(first uint32) *chunk {
		return &chunk{first: first, pages: make([]byte, 0, wire.ChunkPages*wire.PageSize), done: make(chan struct{})}
	}
	c := next(1)
	for p, err := range d.m.cfg.Store.Pages(ctx, d.id(), head.Seq) {
		if err != nil {
			c.err, c.pages = fmt.Errorf("tenant: snapshot: %w", translate(err)), nil
			close(c.done)
			emit(c)
			return
		}
		if c.pages = append(c.pages, p.Data...); len(c.pages) == cap(c.pages) {
			first := c.first + wire.ChunkPages
			if !emit(c) {
				return
			}
			c = next(first)
		}
	}
	if len(c.pages) > 0 {
		emit(c)
	}
}
