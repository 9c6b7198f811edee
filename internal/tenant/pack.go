package tenant

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/agentdb/agentdb/internal/turso"
	"github.com/agentdb/agentdb/internal/wire"
)

// maxPacked is how many pages an answer has at most that is compressed: a
// quarter of a minute's work.
const maxPacked = 1 << 30 / turso.PageSize

// Gzip compresses the answer: its messages, as a gzip stream whose length is
// known. What was compressed before for another client is taken from the cache.
// The error is ErrSpool if there is no room for it, or too much to do: then send
// the answer as it is.
func (a *PageAnswer) Gzip(ctx context.Context) (_ *Spool, err error) {
	s := a.set
	if s == nil || len(s.nos) > maxPacked {
		return nil, ErrSpool
	}
	out, err := s.m.newSpool()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			out.Close()
		}
	}()
	var z turso.Gzip
	if err := out.write(z.Begin(nil, turso.AppendHeader(nil, a.Revision, a.Size))); err != nil {
		return nil, err
	}
	p := packing{pageSet: s}
	for rest := s.nos; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := nextBlock(rest, a.Size)
		err := p.block(ctx, rest[:n], func(b turso.Block) error { return out.write(z.Add(b)) })
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	if err := out.write(z.End(nil)); err != nil {
		return nil, err
	}
	s.count(len(s.nos))
	return out, nil
}

// nextBlock returns how many of the pages are to be compressed together: those
// of a whole chunk, or what there is before the next.
func nextBlock(nos []uint32, size uint32) int {
	if n := wholeChunk(nos, size); n > 0 {
		return n
	}
	for i := range min(len(nos), wire.ChunkPages) {
		if i > 0 && wholeChunk(nos[i:], size) > 0 {
			return i
		}
	}
	return min(len(nos), wire.ChunkPages)
}

// wholeChunk returns how many pages the chunk has that the pages begin with, 0
// if they don't.
func wholeChunk(nos []uint32, size uint32) int {
	n := int(chunkPages(nos[0], size))
	if (nos[0]-1)%wire.ChunkPages != 0 || n > len(nos) || nos[n-1] != nos[0]+uint32(n)-1 {
		return 0
	}
	return n
}

// packing is an answer that is being compressed.
type packing struct {
	*pageSet
	view *chunkView // of the cache; nil until it is needed
}

// block calls emit with the block of some pages, which is valid during the call.
func (p *packing) block(ctx context.Context, nos []uint32, emit func(turso.Block) error) error {
	buf, _ := messages.Get().(*buffer)
	defer messages.Put(buf)
	if p.head.DBSize == 0 || wholeChunk(nos, p.head.DBSize) != len(nos) || nos[0] <= p.stamp.page && p.stamp.page <= nos[len(nos)-1] {
		if err := p.make(ctx, nos, buf); err != nil {
			return err
		}
		return emit(buf.b)
	}
	db := string(p.id)
	if p.view == nil {
		p.view = p.m.blocks.at(ctx, p.m.cfg.Store, db, p.head)
	}
	if err := p.cached(ctx, db, nos, buf); err != nil {
		return err
	}
	return emit(buf.b)
}

// cached finds a chunk's block, or makes and keeps it, once for all who ask.
func (p *packing) cached(ctx context.Context, db string, nos []uint32, buf *buffer) error {
	if err := p.m.packing.take(ctx, db); err != nil {
		return err
	}
	defer p.m.packing.give(db)
	var ok bool
	if buf.b, ok = p.view.find(nos[0], buf.b); ok {
		return nil
	}
	if err := p.make(ctx, nos, buf); err != nil {
		return err
	}
	p.view.put(nos[0], buf.b)
	return nil
}

// make makes the block of pages, in buf.
func (p *packing) make(ctx context.Context, nos []uint32, buf *buffer) error {
	raw, _ := messages.Get().(*buffer)
	defer messages.Put(raw)
	raw.b = slices.Grow(raw.b[:0], len(nos)*(turso.PageSize+16))
	i := 0
	for pg, err := range p.pages(ctx, nos) {
		if err != nil {
			return translate(err)
		}
		if i == len(nos) || pg.No != nos[i] {
			return fmt.Errorf("tenant: page %d is not the one that was announced", pg.No)
		}
		raw.b = append(turso.AppendPageHead(raw.b, pg.No), pg.Data...)
		i++
	}
	if i < len(nos) {
		return fmt.Errorf("tenant: %d pages of %d", i, len(nos))
	}
	buf.b = turso.MakeBlock(buf.b, raw.b)
	return nil
}

// turns lets one at a time do something for a database. It costs nothing while
// nobody does.
type turns struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when given back; guarded by mu
}

// take waits for a database's turn, which give ends, or for the end of ctx.
func (t *turns) take(ctx context.Context, db string) error {
	for {
		t.mu.Lock()
		held, ok := t.held[db]
		if !ok {
			if t.held == nil {
				t.held = map[string]chan struct{}{}
			}
			t.held[db] = make(chan struct{})
		}
		t.mu.Unlock()
		if !ok {
			return nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *turns) give(db string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.held[db])
	delete(t.held, db)
}
