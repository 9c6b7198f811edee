package history

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Stat implements Store.
func (p *Pebble) Stat(ctx context.Context, id DBID) (Info, error) {
	hot := p.table.peek(id)
	h, err := p.acquire(ctx, id)
	if err != nil {
		return Info{}, opErr("stat", id, err)
	}
	defer p.table.release(h)
	info := Info{Created: h.desc.Created, Parent: h.desc.ParentName, MemoryHot: hot}
	if h.desc.Parent != 0 || h.desc.ParentName != "" {
		info.ForkedAt = h.desc.Base.Seq
	}
	if info.Head, info.Durable, err = h.state(); err == nil {
		info.Horizon, err = p.floor(h)
	}
	h.mu.Lock()
	info.InFlight = int(h.enqueued - h.resolved)
	h.mu.Unlock()
	return info, opErr("stat", id, err)
}

// floor returns the oldest revision that can be read. Below the fork it depends
// on how much the ancestors keep.
func (p *Pebble) floor(h *handle) (uint64, error) {
	h.mu.Lock()
	floor := h.horizon
	h.mu.Unlock()
	for _, l := range h.levels[1:] {
		if floor >= l.upto {
			return floor, nil
		}
		raw, err := p.get(idKey(prefixDesc, l.id))
		if err != nil {
			return 0, err
		}
		if raw == nil {
			return l.upto, nil // rewritten and reclaimed
		}
		d, err := decodeDescriptor(raw)
		if err != nil {
			return 0, err
		}
		floor = max(floor, min(d.Horizon, l.upto))
	}
	return floor, nil
}

// readable fails if the revision seq can't be read. It must be called after
// what was read, or after the iterator was made: retention raises the horizon
// before it deletes.
func (p *Pebble) readable(h *handle, seq uint64) error {
	h.mu.Lock()
	deleted, horizon, base := h.deleted, h.horizon, h.desc.Base.Seq
	h.mu.Unlock()
	switch {
	case deleted:
		return ErrNotFound
	case seq < horizon:
		return ErrHorizon
	case seq >= base:
		return nil
	}
	floor, err := p.floor(h)
	if err == nil && seq < floor {
		err = ErrHorizon
	}
	return err
}

// settle resolves Latest and waits until the revision is durable.
func (p *Pebble) settle(ctx context.Context, h *handle, at uint64) (uint64, error) {
	if at == Latest {
		_, durable, err := h.state()
		return durable.Seq, err
	}
	return at, h.waitDurable(ctx, at)
}

// headAt returns a durable revision.
func (p *Pebble) headAt(h *handle, seq uint64) (Head, error) {
	_, durable, err := h.state()
	switch {
	case err != nil:
		return Head{}, err
	case seq == durable.Seq:
		return durable, nil
	case seq > durable.Seq:
		return Head{}, ErrNoRevision
	}
	base, ok, err := p.baseAt(h, seq)
	if err != nil {
		return Head{}, err
	}
	if ok {
		if err := p.readable(h, seq); err != nil {
			return Head{}, err
		}
		return base, nil
	}
	return p.skim(h, seq)
}

// skim returns the revision of a commit without verifying its hash, for which all
// of the record would have to be read: its rows may be many.
func (p *Pebble) skim(h *handle, seq uint64) (head Head, err error) {
	raw, closer, err := p.db.Get(commitKey(h.levels[h.levelOf(seq)].id, seq))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return Head{}, firstErr(p.readable(h, seq), fmt.Errorf("commit %d is missing: %w", seq, ErrCorrupt))
	case err != nil:
		return Head{}, engineErr(err)
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	if err := p.readable(h, seq); err != nil {
		return Head{}, err
	}
	if head, err = skimCommit(raw); err == nil && head.Seq != seq {
		err = fmt.Errorf("commit %d says %d: %w", seq, head.Seq, ErrCorrupt)
	}
	return head, err
}

// baseAt returns the revision if one of the levels begins with it. Then it is in
// that level's descriptor, and nobody needs the parent's commit for it.
func (p *Pebble) baseAt(h *handle, seq uint64) (Head, bool, error) {
	if seq >= h.desc.Base.Seq {
		return h.desc.Base, seq == h.desc.Base.Seq, nil
	}
	i := h.levelOf(seq)
	switch {
	case seq == h.levels[i].upto:
		i--
	case i < len(h.levels)-1 || i == 0:
		return Head{}, false, nil
	}
	raw, err := p.get(idKey(prefixDesc, h.levels[i].id))
	if err != nil || raw == nil {
		return Head{}, false, firstErr(err, ErrHorizon)
	}
	d, err := decodeDescriptor(raw)
	return d.Base, d.Base.Seq == seq, err
}

// commitAt reads and verifies a commit record.
func (p *Pebble) commitAt(h *handle, seq uint64) (*Commit, error) {
	raw, err := p.get(commitKey(h.levels[h.levelOf(seq)].id, seq))
	if err != nil {
		return nil, err
	}
	if err := p.readable(h, seq); err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, fmt.Errorf("commit %d is missing: %w", seq, ErrCorrupt)
	}
	c, _, err := decodeCommit(raw)
	if err == nil && c.Seq != seq {
		err = fmt.Errorf("commit %d says %d: %w", seq, c.Seq, ErrCorrupt)
	}
	return c, err
}

func firstErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// At implements Store.
func (p *Pebble) At(ctx context.Context, id DBID, seq uint64) (Head, error) {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return Head{}, opErr("read", id, err)
	}
	defer p.table.release(h)
	if seq, err = p.settle(ctx, h, seq); err != nil {
		return Head{}, opErr("read", id, err)
	}
	head, err := p.headAt(h, seq)
	return head, opErr("read", id, err)
}

// AtTime implements Store.
func (p *Pebble) AtTime(ctx context.Context, id DBID, t time.Time) (Head, error) {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return Head{}, opErr("read", id, err)
	}
	defer p.table.release(h)
	head, err := p.atTime(h, t)
	return head, opErr("read", id, err)
}

// atTime searches by halves, since times ascend.
func (p *Pebble) atTime(h *handle, t time.Time) (Head, error) {
	_, durable, err := h.state()
	if err != nil {
		return Head{}, err
	}
	floor, err := p.floor(h)
	if err != nil {
		return Head{}, err
	}
	var best Head
	found := false
	var failed error
	sort.Search(int(durable.Seq-floor)+1, func(i int) bool {
		if failed != nil {
			return true
		}
		head, err := p.headAt(h, floor+uint64(i))
		if failed = err; err != nil || head.Time.After(t) {
			return true
		}
		best, found = head, true
		return false
	})
	switch {
	case failed != nil:
		return Head{}, failed
	case found:
		return best, nil
	case floor > 0:
		return Head{}, ErrHorizon
	}
	return Head{}, ErrNoRevision
}

// Commit implements Store.
func (p *Pebble) Commit(ctx context.Context, id DBID, seq uint64) (*Commit, error) {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return nil, opErr("read", id, err)
	}
	defer p.table.release(h)
	if seq, err = p.settle(ctx, h, seq); err != nil {
		return nil, opErr("read", id, err)
	}
	if seq == 0 {
		return nil, opErr("read", id, ErrNoRevision)
	}
	// Like for Commits, the revision before it must be readable.
	if err := p.readable(h, seq-1); err != nil {
		return nil, opErr("read", id, err)
	}
	c, err := p.commitAt(h, seq)
	return c, opErr("read", id, err)
}

// Commits implements Store.
func (p *Pebble) Commits(ctx context.Context, id DBID, after, upto uint64) iter.Seq2[*Commit, error] {
	return func(yield func(*Commit, error) bool) {
		err := p.commitsOf(ctx, id, after, upto, func(c *Commit) bool { return yield(c, nil) })
		if err != nil {
			yield(nil, opErr("read", id, err))
		}
	}
}

func (p *Pebble) commitsOf(ctx context.Context, id DBID, after, upto uint64, fn func(*Commit) bool) error {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer p.table.release(h) // also if fn panics
	return p.commits(ctx, h, after, upto, fn)
}

// commits calls fn for the commits, oldest first, until it returns false.
func (p *Pebble) commits(ctx context.Context, h *handle, after, upto uint64, fn func(*Commit) bool) error {
	_, durable, err := h.state()
	if err != nil {
		return err
	}
	if after > durable.Seq {
		return ErrNoRevision
	}
	if err := p.readable(h, after); err != nil {
		return err
	}
	upto = min(upto, durable.Seq)
	if after >= upto {
		return nil
	}
	walk := commitWalk{store: p, h: h, next: after + 1, upto: upto, fn: fn}
	if prev, err := p.headAt(h, after); err == nil {
		walk.prev = prev.Hash
	} else {
		return err
	}
	for i := h.levelOf(after + 1); i >= 0 && walk.more(); i-- {
		if err := walk.level(ctx, i); err != nil {
			return err
		}
	}
	if walk.next > upto && upto == durable.Seq && walk.prev != durable.Hash {
		return fmt.Errorf("commit %d does not lead to the head: %w", upto, ErrCorrupt)
	}
	return nil
}

// commitWalk goes through consecutive commits and verifies their chain.
type commitWalk struct {
	store *Pebble
	h     *handle
	next  uint64 // expected
	upto  uint64
	prev  Hash // of next-1
	fn    func(*Commit) bool
	done  bool // fn had enough
}

func (w *commitWalk) more() bool { return !w.done && w.next <= w.upto }

// level walks the part that one level of the history holds.
func (w *commitWalk) level(ctx context.Context, i int) (err error) {
	l := w.h.levels[i]
	end := min(w.upto, l.upto)
	if w.next > end {
		return nil
	}
	it, err := w.store.scan(commitKey(l.id, w.next), append(commitKey(l.id, end), 0))
	if err != nil {
		return err
	}
	defer func() { err = closeIter(it, err) }()
	if err := w.store.readable(w.h, w.next-1); err != nil {
		return err
	}
	for ok := it.First(); ok && !w.done; ok = it.Next() {
		rec, err := it.ValueAndErr()
		if err != nil {
			return engineErr(err)
		}
		if err := w.step(slices.Clone(rec), binary.BigEndian.Uint64(it.Key()[9:])); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return engineErr(err)
	}
	if !w.done && w.next != end+1 {
		return fmt.Errorf("commit %d is missing: %w", w.next, ErrCorrupt)
	}
	return nil
}

func (w *commitWalk) step(rec []byte, key uint64) error {
	c, _, err := decodeCommit(rec)
	if err != nil {
		return err
	}
	if key != w.next || c.Seq != key || c.Parent != w.prev {
		return fmt.Errorf("commit %d does not follow %d: %w", c.Seq, w.next-1, ErrCorrupt)
	}
	w.prev = c.Hash
	w.next++
	w.done = !w.fn(c)
	return nil
}

// ChangedPages implements Store.
func (p *Pebble) ChangedPages(ctx context.Context, id DBID, after, upto uint64) ([]uint32, error) {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return nil, opErr("read", id, err)
	}
	defer p.table.release(h)
	var pages []uint32
	var size uint32
	err = p.commits(ctx, h, after, upto, func(c *Commit) bool {
		pages = append(pages, c.Pages...)
		size = c.DBSize
		return true
	})
	if err != nil {
		return nil, opErr("read", id, err)
	}
	slices.Sort(pages)
	pages = slices.Compact(pages)
	n, _ := slices.BinarySearch(pages, size+1)
	return pages[:n], nil
}
