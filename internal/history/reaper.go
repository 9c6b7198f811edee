package history

import (
	"sync"
)

// reapRun bounds how many neighbouring databases are reclaimed in one batch.
const reapRun = 1024

// reaper reclaims the data of deleted databases. What is to be done is recorded
// under the prefix x, in the batch that deleted the name, so a crash loses
// nothing.
type reaper struct {
	store *Pebble
	wake  chan struct{} // capacity 1
	stop  chan struct{}
	wg    sync.WaitGroup
}

func startReaper(p *Pebble) *reaper {
	r := &reaper{store: p, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	r.kick() // for what was left when the store was closed
	r.wg.Go(r.run)
	return r
}

// kick makes the reaper look for work.
func (r *reaper) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reaper) close() {
	close(r.stop)
	r.wg.Wait()
}

func (r *reaper) run() {
	for {
		select {
		case <-r.stop:
			return
		case <-r.wake:
		}
		for again := true; again; {
			var err error
			if again, err = r.pass(); err != nil {
				// It is recorded: the next kick or the next Open tries again.
				r.store.opt.Logger.Warn("history: reclaim deleted databases", "err", err)
				break
			}
		}
	}
}

// pass reclaims what can be and reports whether another pass may find more:
// with the last fork of a deleted database that one can go as well.
func (r *reaper) pass() (again bool, err error) {
	ids, err := r.deleted()
	if err != nil {
		return false, err
	}
	for len(ids) > 0 {
		select {
		case <-r.stop:
			return false, nil
		default:
		}
		n := 1
		for n < len(ids) && n < reapRun && ids[n] == ids[n-1]+1 {
			n++
		}
		freed, err := r.reap(ids[:n])
		if err != nil {
			return false, err
		}
		again = again || freed
		ids = ids[n:]
	}
	return again, nil
}

// deleted returns the deleted databases that have no forks, ascending.
func (r *reaper) deleted() ([]uint64, error) {
	p := r.store
	it, err := p.scan([]byte{prefixDeleted}, []byte{prefixDeleted + 1})
	if err != nil {
		return nil, err
	}
	var ids []uint64
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var id uint64
		var pins []pin
		if id, err = parseU64(it.Key()[1:]); err == nil {
			pins, err = p.pins(id)
		}
		if err == nil && len(pins) == 0 {
			ids = append(ids, id)
		}
	}
	return ids, closeIter(it, err)
}

// reap reclaims databases whose ids follow one another, in one batch with one
// range for each kind of key. It reports whether another pass is worth while.
func (r *reaper) reap(ids []uint64) (again bool, err error) {
	p := r.store
	for _, id := range ids {
		defer p.ids.lock(id)()
	}
	b := p.db.NewBatch()
	for _, id := range ids {
		pins, err := p.pins(id)
		if err != nil {
			return false, err
		}
		if len(pins) > 0 { // a fork was made since; the next pass leaves it out
			return true, b.Close()
		}
		d, err := p.descriptor(id)
		if err != nil {
			return false, err
		}
		if d.Parent != 0 {
			again = true
			_ = b.Delete(childKey(d.Parent, id), nil)
		}
		for _, prefix := range []byte{prefixDesc, prefixHead, prefixDeleted} {
			_ = b.Delete(idKey(prefix, id), nil)
		}
	}
	for _, prefix := range []byte{prefixCommit, prefixPage, prefixMeta} {
		_ = b.DeleteRange(idKey(prefix, ids[0]), idKey(prefix, ids[len(ids)-1]+1), nil)
	}
	return again, p.applyLazily(b)
}
