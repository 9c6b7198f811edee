package history

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// checkMeta enforces the rules for metadata.
func checkMeta(key string, val []byte) error {
	if len(key) == 0 || len(key) > maxMetaKey || len(val) > maxBlob {
		return fmt.Errorf("metadata key of %d, value of %d bytes: %w", len(key), len(val), ErrInvalid)
	}
	return nil
}

func setMeta(b *pebble.Batch, id uint64, key string, val []byte) {
	if val == nil {
		_ = b.Delete(metaKey(id, key), nil)
		return
	}
	set(b, metaKey(id, key), val)
}

// PutMeta implements Store.
func (p *Pebble) PutMeta(ctx context.Context, id DBID, key string, val []byte) error {
	return opErr("put metadata of", id, p.putMeta(ctx, id, key, val))
}

func (p *Pebble) putMeta(ctx context.Context, id DBID, key string, val []byte) error {
	if err := checkMeta(key, val); err != nil {
		return err
	}
	if err := p.writable(); err != nil {
		return err
	}
	h, err := p.acquire(ctx, id)
	if err != nil {
		return err
	}
	b := p.db.NewBatch()
	setMeta(b, h.id, key, val)
	done := make(chan error, 1)
	h.mu.Lock()
	if h.deleted {
		h.mu.Unlock()
		p.table.release(h)
		return ErrNotFound
	}
	p.enqueue(h, &request{batch: b, h: h, done: func(err error) { done <- err }})
	h.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// GetMeta implements Store.
func (p *Pebble) GetMeta(ctx context.Context, id DBID, key string) ([]byte, error) {
	v, err := p.getMeta(ctx, id, key)
	return v, opErr("get metadata of", id, err)
}

func (p *Pebble) getMeta(ctx context.Context, id DBID, key string) ([]byte, error) {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return nil, err
	}
	defer p.table.release(h)
	if err := h.waitResolved(ctx); err != nil {
		return nil, err
	}
	v, err := p.get(metaKey(h.id, key))
	if err != nil {
		return nil, err
	}
	if err := p.shown(h); err != nil {
		return nil, err
	}
	if v == nil {
		return nil, ErrNoMeta
	}
	return v, nil
}

// Metas implements Store.
func (p *Pebble) Metas(ctx context.Context, id DBID, prefix, from string) iter.Seq2[Meta, error] {
	return func(yield func(Meta, error) bool) {
		if err := p.metas(ctx, id, prefix, from, yield); err != nil {
			yield(Meta{}, opErr("list metadata of", id, err))
		}
	}
}

func (p *Pebble) metas(ctx context.Context, id DBID, prefix, from string, yield func(Meta, error) bool) (err error) {
	h, err := p.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer p.table.release(h)
	if err := h.waitResolved(ctx); err != nil {
		return err
	}
	it, err := p.scan(metaKey(h.id, max(prefix, from)), prefixEnd(metaKey(h.id, prefix)))
	if err != nil {
		return err
	}
	defer func() { err = closeIter(it, err) }()
	if err := p.shown(h); err != nil {
		return err
	}
	head := len(metaKey(h.id, ""))
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return engineErr(err)
		}
		if !yield(Meta{Key: string(it.Key()[head:]), Value: slices.Clone(v)}, ctx.Err()) || ctx.Err() != nil {
			break
		}
	}
	return nil
}

// shown fails if what was read may have been reclaimed, or is lost.
func (p *Pebble) shown(h *handle) error {
	_, _, err := h.state()
	return firstErr(err, p.Err())
}

// prefixEnd returns the first key after those that begin with prefix.
func prefixEnd(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
