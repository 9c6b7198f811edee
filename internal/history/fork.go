package history

import (
	"context"
	"encoding/binary"
	"errors"
	"time"
)

// Fork implements Store.
func (p *Pebble) Fork(ctx context.Context, src DBID, at uint64, dst DBID) error {
	return opErr("fork", src, p.fork(ctx, src, at, dst))
}

func (p *Pebble) fork(ctx context.Context, src DBID, at uint64, dst DBID) error {
	h, err := p.acquire(ctx, src)
	if err != nil {
		return err
	}
	defer p.table.release(h)
	if at, err = p.settle(ctx, h, at); err != nil {
		return err
	}
	if err := p.readable(h, at); err != nil {
		return err
	}
	unlock, err := p.claim(dst)
	if err != nil {
		return err
	}
	defer p.table.leave()
	defer unlock()
	owner, free, err := p.lockOwner(h, at)
	if err != nil {
		return err
	}
	defer free()
	base, err := p.headAt(h, at)
	if err != nil {
		return err
	}
	floor, err := p.floor(h)
	if err != nil {
		return err
	}
	return p.insert(descriptor{
		Name: dst, Created: time.Now(), Base: base, Parent: owner, ParentName: src, Horizon: min(floor, at),
	})
}

// lockOwner finds the parent for a fork and locks it. It is whoever wrote the
// revision, so that chains grow with histories and not with the number of forks;
// but if that one has given up a revision that a fork of it began with, then
// that fork has all of it, see copyBase.
func (p *Pebble) lockOwner(h *handle, at uint64) (owner uint64, unlock func(), err error) {
	for i := h.levelOf(at); ; i-- {
		owner = h.levels[i].id
		unlock = p.ids.lock(owner)
		if err = p.forkable(h, owner, at); err == nil {
			return owner, unlock, nil
		}
		unlock()
		if !errors.Is(err, ErrHorizon) || i == 0 || at != h.levels[i].upto {
			return 0, nil, err
		}
	}
}

// forkable fails unless the owner has all of the revision and will keep it: the
// caller holds the owner's lock.
func (p *Pebble) forkable(h *handle, owner, at uint64) error {
	if err := p.readable(h, at); err != nil {
		return err
	}
	raw, err := p.get(idKey(prefixDesc, owner))
	if err != nil || raw == nil {
		return firstErr(err, ErrHorizon)
	}
	d, err := decodeDescriptor(raw)
	if err != nil || at >= d.Horizon {
		return err
	}
	pins, err := p.pins(owner)
	if err != nil {
		return err
	}
	for _, c := range pins {
		if c.seq == at {
			return nil // kept for another fork
		}
	}
	return ErrHorizon
}

// pin is a revision that a fork relies on.
type pin struct{ child, seq uint64 }

// pins returns what the forks of a database rely on.
func (p *Pebble) pins(id uint64) ([]pin, error) {
	it, err := p.scan(idKey(prefixChild, id), idKey(prefixChild, id+1))
	if err != nil {
		return nil, err
	}
	var pins []pin
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var v []byte
		if v, err = it.ValueAndErr(); err != nil {
			break
		}
		c := pin{child: binary.BigEndian.Uint64(it.Key()[9:])}
		c.seq, err = parseU64(v)
		pins = append(pins, c)
	}
	return pins, closeIter(it, err)
}
