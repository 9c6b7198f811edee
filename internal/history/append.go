package history

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Append implements Store.
func (p *Pebble) Append(ctx context.Context, id DBID, expect Head, commits ...*NewCommit) (*Pending, error) {
	pending, err := p.append(ctx, id, expect, commits)
	return pending, opErr("append to", id, err)
}

// append encodes without any lock, because expect says already what the parent
// is, and then takes its place in the order, if expect is right.
func (p *Pebble) append(ctx context.Context, id DBID, expect Head, commits []*NewCommit) (*Pending, error) {
	size := 0
	for _, c := range commits {
		if err := c.check(); err != nil {
			return nil, err
		}
		size += c.size()
	}
	if size > maxAppend {
		return nil, fmt.Errorf("append of %d bytes: %w", size, ErrInvalid)
	}
	if err := p.writable(); err != nil {
		return nil, err
	}
	h, err := p.acquire(ctx, id)
	if err != nil {
		return nil, err
	}
	pending, err := p.appendTo(h, expect, commits, size)
	if err != nil {
		p.table.release(h) // else the request owns the reference
	}
	return pending, err
}

func (p *Pebble) appendTo(h *handle, expect Head, commits []*NewCommit, size int) (_ *Pending, err error) {
	head, gen, err := h.accepted()
	switch {
	case err != nil:
		return nil, err
	case !head.Is(expect):
		return nil, ErrConflict
	case len(commits) == 0:
		return nil, ErrInvalid
	}
	large := p.commit.reserve(size)
	defer func() {
		if large && err != nil {
			p.commit.leave()
		}
	}()
	e := encoder{id: h.id, batch: p.db.NewBatch(), head: head, h: h, gen: gen, images: p.images, least: math.MaxUint32}
	heads := make([]Head, len(commits))
	for i, c := range commits {
		heads[i] = e.commit(c)
	}
	pending, resolve := NewPending(heads)
	r := &request{batch: e.batch, h: h, isAppend: true, large: large, head: e.head, done: func(err error) {
		resolve(opErr("append to", h.name, err))
	}}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.deleted {
		return nil, ErrNotFound
	}
	if !h.head.Is(expect) {
		return nil, ErrConflict
	}
	h.head = e.head
	e.accepted(h.gen)
	p.enqueue(h, r)
	return pending, nil
}

// enqueue gives a write of a database its place. Requires h.mu.
func (p *Pebble) enqueue(h *handle, r *request) {
	r.gen = h.gen
	h.enqueued++
	p.commit.enqueue(r)
}

// check enforces the documented limits.
func (c *NewCommit) check() error {
	if len(c.Author) > maxAuthor || len(c.Change) > maxBlob || len(c.Meta) > maxBlob {
		return fmt.Errorf("commit too large: %w", ErrInvalid)
	}
	for _, pg := range c.Pages {
		if pg.No == 0 || pg.No > c.DBSize || len(pg.Data) != PageSize {
			return fmt.Errorf("page %d of %d, %d bytes: %w", pg.No, c.DBSize, len(pg.Data), ErrInvalid)
		}
	}
	for k, v := range c.KV {
		if err := checkMeta(k, v); err != nil {
			return err
		}
	}
	nos := make([]uint32, len(c.Pages), max(16, len(c.Pages))) // of few pages it is on the stack
	for i, pg := range c.Pages {
		nos[i] = pg.No
	}
	slices.Sort(nos)
	for i := 1; i < len(nos); i++ {
		if nos[i] == nos[i-1] {
			return fmt.Errorf("page %d twice: %w", nos[i], ErrInvalid)
		}
	}
	return nil
}

// maxAppend keeps an append within one batch of the engine.
const maxAppend = 2 << 30

// size is an upper bound of what the commit takes in a batch, roughly.
func (c *NewCommit) size() int {
	n := len(c.Change) + len(c.Meta) + len(c.Pages)*(maxImage+64)
	for _, v := range c.KV {
		n += len(v) + 2*maxMetaKey
	}
	return n
}

// encoder turns commits into a batch.
type encoder struct {
	id    uint64
	batch *pebble.Batch
	head  Head // so far

	h       *handle
	gen     uint64 // of h when it began
	images  *lastImages
	written []*lastImage // by the commits so far; the last one of a page counts
	least   uint32       // the smallest size that the database shrank to meanwhile
}

var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 2*maxImage); return &b }}

// commit adds a commit after e.head and returns the new head.
func (e *encoder) commit(c *NewCommit) Head {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	seq := e.head.Seq + 1
	sums := make([]pageSum, 0, len(c.Pages))
	key := make([]byte, 0, pageKeyLen)
	for _, pg := range c.Pages {
		rec, sum := e.image((*buf)[:0], pg)
		key = appendPageKey(key[:0], e.id, pg.No, seq)
		set(e.batch, key, rec)
		sums = append(sums, pageSum{pg.No, sum})
		*buf = rec[:0]
	}
	slices.SortFunc(sums, func(a, b pageSum) int { return cmp.Compare(a.no, b.no) })
	out := Commit{
		Seq: seq, Time: laterOf(c.Time, e.head.Time), Parent: e.head.Hash,
		Author: c.Author, Change: c.Change, Meta: c.Meta, DBSize: c.DBSize,
	}
	e.record((*buf)[:0], &out, sums)
	for k, v := range c.KV {
		setMeta(e.batch, e.id, k, v)
	}
	if c.DBSize < e.head.DBSize {
		e.shrink(c.DBSize)
	}
	e.head = out.Head()
	return e.head
}

// image appends the record of a page and notes the image for the next one.
func (e *encoder) image(dst []byte, pg Page) ([]byte, uint64) {
	k := imageKey{e.h, pg.No}
	var i *lastImage
	if pg.No <= e.least {
		i = e.images.take(k, e.gen)
	}
	fresh := i == nil
	if fresh {
		i = &lastImage{key: k, data: new([PageSize]byte)}
	}
	e.written = append(e.written, i)
	return i.record(dst, pg.Data, fresh)
}

// shrink forgets the images of pages that are dropped: Retain may delete them.
func (e *encoder) shrink(size uint32) {
	e.written = slices.DeleteFunc(e.written, func(i *lastImage) bool { return i.key.no > size })
	e.least = min(e.least, size)
}

// accepted makes the images those of the head. Requires h.mu.
func (e *encoder) accepted(gen uint64) {
	if e.least < math.MaxUint32 {
		e.images.forget(e.h, e.least)
	}
	e.images.put(e.written, gen)
}

// record adds the commit record. It is encoded in buf if it fits.
func (e *encoder) record(buf []byte, c *Commit, sums []pageSum) {
	size := 128 + len(c.Author) + 13*len(sums) + len(c.Change) + len(c.Meta)
	rec := buf
	if size > cap(buf) {
		rec = make([]byte, 0, size)
	}
	rec, c.Hash = appendCommit(rec, c, sums)
	key := binary.BigEndian.AppendUint64(idKey(prefixCommit, e.id), c.Seq)
	set(e.batch, key, rec)
}

// laterOf keeps the times of a history ascending, in stored precision.
func laterOf(t, prev time.Time) time.Time {
	t = time.UnixMilli(t.UnixMilli()).UTC()
	if t.Before(prev) {
		return prev
	}
	return t
}

// Head implements Store.
func (p *Pebble) Head(ctx context.Context, id DBID) (Head, error) {
	head, _, err := p.heads(ctx, id)
	return head, opErr("head of", id, err)
}

// DurableHead implements Store.
func (p *Pebble) DurableHead(ctx context.Context, id DBID) (Head, error) {
	_, durable, err := p.heads(ctx, id)
	return durable, opErr("head of", id, err)
}

func (p *Pebble) heads(ctx context.Context, id DBID) (head, durable Head, err error) {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return Head{}, Head{}, err
	}
	defer p.table.release(h)
	return h.state()
}

// WaitDurable implements Store.
func (p *Pebble) WaitDurable(ctx context.Context, id DBID, seq uint64) error {
	h, err := p.acquire(ctx, id)
	if err == nil {
		if err = h.waitDurable(ctx, seq); err != nil {
			err = firstErr(p.Err(), err) // it tells why the head fell back
		}
		p.table.release(h)
	}
	return opErr("wait for", id, err)
}
