package history

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Page implements Store.
func (p *Pebble) Page(ctx context.Context, id DBID, no uint32, at uint64) ([]byte, error) {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return nil, opErr("read page of", id, err)
	}
	defer p.table.release(h)
	data, err := p.page(ctx, h, no, at)
	return data, opErr("read page of", id, err)
}

func (p *Pebble) page(ctx context.Context, h *handle, no uint32, at uint64) ([]byte, error) {
	at, err := p.settle(ctx, h, at)
	if err != nil {
		return nil, err
	}
	head, err := p.headAt(h, at)
	if err != nil {
		return nil, err
	}
	if no == 0 || no > head.DBSize {
		return nil, ErrNoPage
	}
	dst := make([]byte, PageSize)
	for _, l := range h.levels[h.levelOfPages(at):] {
		found, err := p.imageAt(dst, l.id, no, min(at, l.upto))
		if err != nil {
			return nil, err
		}
		if found {
			break
		}
	}
	if err := p.readable(h, at); err != nil {
		return nil, err
	}
	return dst, nil
}

// levelOfPages returns the first level that can hold images for the revision.
// Unlike a commit, the images of the revision that was forked may have been
// rewritten into the fork.
func (h *handle) levelOfPages(at uint64) int {
	i := 0
	for i+1 < len(h.levels) && at < h.levels[i+1].upto {
		i++
	}
	return i
}

// imageAt reads the newest image of a page that one level has.
func (p *Pebble) imageAt(dst []byte, id uint64, no uint32, at uint64) (found bool, err error) {
	it, err := p.scan(pageKey(id, no, at), append(pageKey(id, no, 0), 0))
	if err != nil {
		return false, err
	}
	if found = it.First(); found {
		if err := readImage(dst, it); err != nil {
			return false, closeIter(it, fmt.Errorf("page %d: %w", no, err))
		}
	}
	return found, closeIter(it, nil)
}

// Pages implements Store.
func (p *Pebble) Pages(ctx context.Context, id DBID, at uint64, only ...uint32) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		if err := p.pagesOf(ctx, id, at, only, yield); err != nil {
			yield(Page{}, opErr("read pages of", id, err))
		}
	}
}

func (p *Pebble) pagesOf(ctx context.Context, id DBID, at uint64, only []uint32, yield func(Page, error) bool) error {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer p.table.release(h) // also if yield panics
	return p.pages(ctx, h, at, only, yield)
}

func (p *Pebble) pages(ctx context.Context, h *handle, at uint64, only []uint32, yield func(Page, error) bool) (err error) {
	if at, err = p.settle(ctx, h, at); err != nil {
		return err
	}
	head, err := p.headAt(h, at)
	if err != nil {
		return err
	}
	nos, err := selected(head.DBSize, only)
	if err != nil {
		return err
	}
	m, err := p.openMerge(h, at)
	if err != nil {
		return err
	}
	defer func() { err = firstErr(err, m.close()) }()
	if err := p.readable(h, at); err != nil {
		return err
	}
	buf := make([]byte, PageSize)
	for no := range nos {
		found, err := m.read(buf, no)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("page %d: %w", no, err)
		}
		if !found {
			clear(buf)
		}
		if !yield(Page{No: no, Data: buf}, nil) {
			return nil
		}
	}
	return nil
}

// selected yields the pages asked for; without any, all.
func selected(size uint32, only []uint32) (iter.Seq[uint32], error) {
	if len(only) == 0 {
		return func(yield func(uint32) bool) {
			for i := range size {
				if !yield(i + 1) {
					return
				}
			}
		}, nil
	}
	for i, no := range only {
		if no == 0 || no > size {
			return nil, ErrNoPage
		}
		if i > 0 && no <= only[i-1] {
			return nil, fmt.Errorf("page %d after %d: %w", no, only[i-1], ErrInvalid)
		}
	}
	return slices.Values(only), nil
}

// pageMerge reads the pages of a revision in order from all levels; the first
// level that has a page wins.
type pageMerge struct{ cursors []*pageCursor }

func (p *Pebble) openMerge(h *handle, at uint64) (*pageMerge, error) {
	m := &pageMerge{}
	for _, l := range h.levels[h.levelOfPages(at):] {
		it, err := p.scan(idKey(prefixPage, l.id), idKey(prefixPage, l.id+1))
		if err != nil {
			return nil, firstErr(err, m.close())
		}
		c := &pageCursor{it: it, id: l.id, upto: min(at, l.upto)}
		m.cursors = append(m.cursors, c)
		if err := c.seek(1); err != nil {
			return nil, firstErr(err, m.close())
		}
	}
	return m, nil
}

func (m *pageMerge) read(dst []byte, no uint32) (found bool, err error) {
	for _, c := range m.cursors {
		if err := c.advance(no); err != nil {
			return false, err
		}
		if c.valid && c.no == no {
			return true, readImage(dst, c.it)
		}
	}
	return false, nil
}

func (m *pageMerge) close() error {
	var err error
	for _, c := range m.cursors {
		err = closeIter(c.it, err)
	}
	return err
}

// pageCursor stands on the newest image ≤ upto of a page of one level.
type pageCursor struct {
	it    *pebble.Iterator
	id    uint64
	upto  uint64
	valid bool
	no    uint32
	key   []byte // for seeking
}

// nextBeforeSeek is how many versions of a page are stepped over before a seek
// is cheaper.
const nextBeforeSeek = 4

func (c *pageCursor) seek(no uint32) error {
	c.key = appendPageKey(c.key[:0], c.id, no, c.upto)
	return c.settle(c.it.SeekGE(c.key))
}

// settle moves from the newest version of a page to the one that counts.
func (c *pageCursor) settle(ok bool) error {
	for steps := 0; ; steps++ {
		if c.valid = ok; !ok {
			return engineErr(c.it.Error())
		}
		no, seq, err := parsePageKey(c.it.Key())
		if err != nil {
			return err
		}
		if no != c.no {
			c.no, steps = no, 0
		}
		if seq <= c.upto {
			return nil
		}
		if steps < nextBeforeSeek {
			ok = c.it.Next()
			continue
		}
		c.key = appendPageKey(c.key[:0], c.id, no, c.upto)
		ok = c.it.SeekGE(c.key)
	}
}

// advance moves to the first page ≥ no.
func (c *pageCursor) advance(no uint32) error {
	for c.valid && c.no < no {
		if no > c.no+1 {
			return c.seek(no)
		}
		if err := c.nextPage(); err != nil {
			return err
		}
	}
	return nil
}

// nextPage leaves the older versions of the page behind.
func (c *pageCursor) nextPage() error {
	was := c.no
	for range nextBeforeSeek {
		if !c.it.Next() {
			c.valid = false
			return engineErr(c.it.Error())
		}
		no, _, err := parsePageKey(c.it.Key())
		if err != nil {
			return err
		}
		if no != was {
			return c.settle(true)
		}
	}
	return c.seek(was + 1)
}
