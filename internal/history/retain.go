package history

import (
	"context"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// trimBytes is the size of the batches in which superseded pages are deleted
// and adopted pages are written.
const trimBytes = 1 << 20

// Retain implements Store.
func (p *Pebble) Retain(ctx context.Context, id DBID, horizon uint64) error {
	return opErr("retain", id, p.retain(ctx, id, horizon))
}

// retain first makes the horizon durable, so that nobody reads below it, and
// then deletes. If it is interrupted, the next call finishes the job, because it
// looks at all pages.
func (p *Pebble) retain(ctx context.Context, id DBID, horizon uint64) error {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer p.table.release(h)
	if horizon, err = p.settle(ctx, h, horizon); err != nil {
		return err
	}
	defer p.ids.lock(h.id)()
	if _, _, err := h.state(); err != nil { // deleted, perhaps reclaimed meanwhile
		return err
	}
	d, err := p.descriptor(h.id)
	if err != nil {
		return err
	}
	if horizon < d.Horizon {
		return nil
	}
	if horizon > d.Horizon {
		d.Horizon = horizon
		if err := p.putDescriptor(h, d); err != nil {
			return err
		}
	}
	if horizon < d.Base.Seq {
		return nil // what is below the fork is the parent's
	}
	orphan, err := p.orphan(d)
	if err != nil {
		return err
	}
	if orphan {
		if err := p.copyBase(ctx, h, d.Base); err != nil {
			return err
		}
	}
	if err := p.trimTo(ctx, h, horizon); err != nil || !orphan {
		return err
	}
	return p.cutTie(h, d)
}

// orphan reports whether the parent was deleted and only waits for its forks.
func (p *Pebble) orphan(d descriptor) (bool, error) {
	if d.Parent == 0 {
		return false, nil
	}
	deleted, err := p.get(idKey(prefixDeleted, d.Parent))
	return deleted != nil, err
}

func (p *Pebble) putDescriptor(h *handle, d descriptor) error {
	b := p.db.NewBatch()
	set(b, idKey(prefixDesc, h.id), encodeDescriptor(d))
	if err := p.write(b, true); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.horizon = max(h.horizon, d.Horizon)
	return nil
}

// trimTo drops the commits below the horizon and the images that neither the
// horizon nor a later revision nor a fork needs.
func (p *Pebble) trimTo(ctx context.Context, h *handle, horizon uint64) error {
	head, err := p.headAt(h, horizon)
	if err != nil {
		return err
	}
	pins, err := p.pins(h.id)
	if err != nil {
		return err
	}
	t := trimmer{store: p, id: h.id, keep: []uint64{horizon}, size: head.DBSize}
	for _, c := range pins {
		raw, err := p.get(idKey(prefixDesc, c.child))
		if err != nil {
			return err
		}
		if raw == nil {
			continue // reclaimed since the pins were read
		}
		d, err := decodeDescriptor(raw)
		if err != nil {
			return err
		}
		t.size = max(t.size, d.Base.DBSize)
		if c.seq < horizon {
			t.keep = append(t.keep, c.seq)
		}
	}
	b := p.db.NewBatch()
	_ = b.DeleteRange(commitKey(h.id, 0), commitKey(h.id, horizon), nil)
	if err := p.applyLazily(b); err != nil {
		return err
	}
	return t.run(ctx)
}

// applyLazily applies a batch that may be lost in a crash.
func (p *Pebble) applyLazily(b *pebble.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			p.commit.die(caught(r))
			err = p.Err()
		}
	}()
	if err := p.commit.dead(); err != nil {
		return err
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	return b.Close()
}

// trimmer deletes the images of a database that no revision above the highest
// and none of the revisions in keep needs.
type trimmer struct {
	store *Pebble
	id    uint64
	keep  []uint64 // run sorts it, highest first
	size  uint32   // pages of the largest revision in keep

	batch *pebble.Batch
	no    uint32 // page at hand
	next  int    // index in keep of what its next older image may serve
	patch bool   // the last image that was kept patches the next older one
}

func (t *trimmer) run(ctx context.Context) error {
	slices.Sort(t.keep)
	slices.Reverse(t.keep)
	it, err := t.store.scan(idKey(prefixPage, t.id), idKey(prefixPage, t.id+1))
	if err != nil {
		return err
	}
	t.batch = t.store.db.NewBatch()
	for ok := it.First(); ok; ok = it.Next() {
		if err := t.image(it); err != nil {
			return closeIter(it, err)
		}
		if t.batch.Len() < trimBytes {
			continue
		}
		if err := firstErr(ctx.Err(), t.flush()); err != nil {
			return closeIter(it, err)
		}
	}
	if err := closeIter(it, nil); err != nil {
		return err
	}
	return t.flush()
}

// image decides about one image. They come newest first for each page.
func (t *trimmer) image(it *pebble.Iterator) error {
	no, seq, err := parsePageKey(it.Key())
	if err != nil {
		return err
	}
	if no != t.no {
		t.no, t.next, t.patch = no, 0, false
	}
	if !t.serves(no, seq) && !t.patch {
		return t.batch.Delete(it.Key(), nil)
	}
	rec, err := it.ValueAndErr()
	if err != nil {
		return engineErr(err)
	}
	t.patch = isPatch(rec)
	return nil
}

// serves reports whether a revision that stays has this image of the page.
func (t *trimmer) serves(no uint32, seq uint64) bool {
	if seq > t.keep[0] {
		return true
	}
	if t.next == len(t.keep) || seq > t.keep[t.next] || no > t.size {
		return false
	}
	// It serves keep[next], and all others that are not older than it.
	for t.next < len(t.keep) && t.keep[t.next] >= seq {
		t.next++
	}
	return true
}

func (t *trimmer) flush() error {
	b := t.batch
	t.batch = t.store.db.NewBatch()
	return t.store.applyLazily(b)
}

// cutTie makes a fork independent of its deleted parent, so that the parent's
// data can go. The fork's horizon is not below its base: the parent's commits are
// out of reach.
func (p *Pebble) cutTie(h *handle, d descriptor) error {
	b := p.db.NewBatch()
	_ = b.Delete(childKey(d.Parent, h.id), nil)
	d.Parent = 0
	set(b, idKey(prefixDesc, h.id), encodeDescriptor(d))
	if err := p.write(b, true); err != nil {
		return err
	}
	p.reaper.kick()
	return nil
}

// copyBase writes the images of a fork's ancestors as images of its own base
// revision. Pages that no ancestor wrote are zeros with or without an image.
func (p *Pebble) copyBase(ctx context.Context, h *handle, base Head) error {
	m, err := p.openMerge(h, base.Seq)
	if err != nil {
		return err
	}
	b := p.db.NewBatch()
	buf := make([]byte, PageSize)
	var rec []byte
	for no := uint32(1); no <= base.DBSize && no < math.MaxUint32; no++ {
		found, err := m.read(buf, no)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return firstErr(err, m.close())
		}
		if !found {
			continue
		}
		rec, _ = appendImage(rec[:0], buf)
		set(b, pageKey(h.id, no, base.Seq), rec)
		if b.Len() >= trimBytes {
			if err := p.applyLazily(b); err != nil {
				return firstErr(err, m.close())
			}
			b = p.db.NewBatch()
		}
	}
	return firstErr(m.close(), p.applyLazily(b))
}
