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
	pages *buffer // nil if it is in the cache
	msg   *buffer
	err   error
	done  chan struct{} // closed when msg or err is there
}

// buffer is memory for chunks, to use again: clearing new memory for each of them
// takes a good part of the time that a cached one does.
type buffer struct{ b []byte }

var (
	pageBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, wire.ChunkPages*wire.PageSize)} }}
	messages    = sync.Pool{New: func() any { return new(buffer) }}
)

// snapshot yields the pages at a revision, in chunks, each valid until the next.
// Pages are read and compressed ahead of the chunk that is being sent.
func (d *database) snapshot(ctx context.Context, head history.Head) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		work := make(chan *chunk)
		out := make(chan *chunk, 2*packers)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		view := d.m.chunks.at(ctx, d.m.cfg.Store, d.name, head)
		wg.Go(func() {
			defer close(work)
			defer close(out)
			d.readChunks(ctx, head, view, func(c *chunk) bool { return offer(ctx, out, c) && (c.err != nil || offer(ctx, work, c)) })
		})
		for range packers {
			wg.Go(func() {
				for c := range work {
					d.pack(ctx, head, view, c)
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
			if c.err != nil {
				yield(nil, c.err)
				return
			}
			d.m.stats.pulledBytes.Add(uint64(len(c.msg.b)))
			d.m.meters.add(d.name, Usage{BytesSynced: uint64(len(c.msg.b))})
			if !yield(c.msg.b, nil) {
				return
			}
			messages.Put(c.msg)
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

// pack finds or makes a chunk's message.
func (d *database) pack(ctx context.Context, head history.Head, view *chunkView, c *chunk) {
	defer close(c.done)
	c.msg, _ = messages.Get().(*buffer)
	if c.pages == nil {
		var ok bool
		if c.msg.b, ok = view.get(c.first, c.msg.b[:0]); ok {
			return
		}
		c.takePages()
		nos := chunkOf(c.first, head.DBSize)
		for p, err := range d.m.pages(ctx, d.id(), head, nos...) {
			if err != nil {
				c.err = fmt.Errorf("tenant: snapshot: %w", err)
				return
			}
			c.pages.b = append(c.pages.b, p.Data...)
		}
	}
	clearer, err := d.m.clearer(ctx, d.id(), head)
	if err != nil {
		c.err = err
		return
	}
	for i := range len(c.pages.b) / wire.PageSize {
		clearer.Clear(c.pages.b[i*wire.PageSize:(i+1)*wire.PageSize], c.first+uint32(i))
	}
	c.msg.b = wire.AppendPages(c.msg.b[:0], c.first, c.pages.b)
	pageBuffers.Put(c.pages)
	c.pages = nil
	view.put(c.first, c.msg.b)
}

// takePages gives a chunk room for pages.
func (c *chunk) takePages() {
	c.pages, _ = pageBuffers.Get().(*buffer)
	c.pages.b = c.pages.b[:0]
}

// chunkOf returns the numbers of the pages of a chunk.
func chunkOf(first, size uint32) []uint32 {
	nos := make([]uint32, chunkPages(first, size))
	for i := range nos {
		nos[i] = first + uint32(i)
	}
	return nos
}

// readChunks reads the pages of a revision that are in no cached chunk, and
// hands chunks on, in order, until emit returns false.
func (d *database) readChunks(ctx context.Context, head history.Head, view *chunkView, emit func(*chunk) bool) {
	var missing []uint32
	for first := uint32(1); first <= head.DBSize; first += wire.ChunkPages {
		if !view.has(first) {
			missing = append(missing, chunkOf(first, head.DBSize)...)
		}
	}
	next := uint32(1)
	cached := func(until uint32) bool {
		for ; next < until; next += wire.ChunkPages {
			if !emit(&chunk{first: next, done: make(chan struct{})}) {
				return false
			}
		}
		return true
	}
	if len(missing) == 0 { // without numbers, Pages would yield all
		cached(head.DBSize + 1)
		return
	}
	var c *chunk
	for p, err := range d.m.pages(ctx, d.id(), head, missing...) {
		if err != nil {
			c = &chunk{err: fmt.Errorf("tenant: snapshot: %w", err), done: make(chan struct{})}
			close(c.done)
			emit(c)
			return
		}
		if c == nil {
			if !cached(p.No) {
				return
			}
			c = &chunk{first: next, done: make(chan struct{})}
			c.takePages()
		}
		if c.pages.b = append(c.pages.b, p.Data...); p.No == c.first+chunkPages(c.first, head.DBSize)-1 {
			if !emit(c) {
				return
			}
			c, next = nil, next+wire.ChunkPages
		}
	}
	cached(head.DBSize + 1)
}
