package tenant

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/turso"
)

// Facts are what a database's owner may want to know of it.
type Facts struct {
	Revision uint64    // of the newest commit; 0 for an empty database
	Time     time.Time // of that commit
	Size     int64     // bytes of its file
	Oldest   uint64    // the oldest revision that can be exported, forked or restored
	Created  time.Time
}

// Facts returns facts about a database.
func (m *Manager) Facts(ctx context.Context, name string) (Facts, error) {
	i, err := m.cfg.Store.Stat(ctx, history.DBID(name))
	if err != nil {
		return Facts{}, translate(err)
	}
	return Facts{Revision: i.Durable.Seq, Time: i.Durable.Time, Size: int64(i.Durable.DBSize) * history.PageSize, Oldest: i.Horizon, Created: i.Created}, nil
}

// RevisionAt returns the newest revision that is not after t.
func (m *Manager) RevisionAt(ctx context.Context, name string, t time.Time) (uint64, error) {
	h, err := m.cfg.Store.AtTime(ctx, history.DBID(name), t)
	return h.Seq, revisionErr(err)
}

// Retain drops what only revisions need that were past at a time. The newest
// one of them stays.
func (m *Manager) Retain(ctx context.Context, name string, before time.Time) error {
	h, err := m.cfg.Store.AtTime(ctx, history.DBID(name), before)
	var info history.Info
	if err == nil {
		info, err = m.cfg.Store.Stat(ctx, history.DBID(name))
	}
	if err == nil && h.Seq > info.Horizon { // the present one again would read all pages
		err = m.cfg.Store.Retain(ctx, history.DBID(name), h.Seq)
	}
	if errors.Is(err, history.ErrHorizon) || errors.Is(err, history.ErrNoRevision) || errors.Is(err, history.ErrNotFound) {
		return nil // nothing is as old, or it is gone
	}
	return translate(err)
}

// Fork makes a database that begins as another was at a revision. No pages are
// copied.
func (m *Manager) Fork(ctx context.Context, name string, revision uint64, fork string) error {
	if _, err := ParseName(fork); err != nil {
		return err
	}
	return revisionErr(m.cfg.Store.Fork(ctx, history.DBID(name), revision, history.DBID(fork)))
}

// ExportAt returns a database's file as it was at a revision, in parts, and its
// size in bytes. A part is valid until the next one.
func (m *Manager) ExportAt(ctx context.Context, name string, revision uint64) (int64, iter.Seq2[[]byte, error], error) {
	head, err := m.cfg.Store.At(ctx, history.DBID(name), revision)
	if err != nil {
		return 0, nil, revisionErr(err)
	}
	return m.export(ctx, name, head, true)
}

// export returns a database's file, without what is nobody's but the server's, and
// without what was deleted: unless it is for ever, pages that hold nothing stay.
func (m *Manager) export(ctx context.Context, name string, head history.Head, forever bool) (int64, iter.Seq2[[]byte, error], error) {
	id := history.DBID(name)
	u, err := m.unmark(ctx, id, head)
	if err != nil {
		return 0, nil, err
	}
	img := &turso.Image{Page: func(no uint32) ([]byte, error) {
		if p := u.pages[no]; p != nil {
			return p, nil
		}
		return m.cfg.Store.Page(ctx, id, no, head.Seq)
	}}
	clearer, err := img.Clearer(u.size, forever)
	if err != nil {
		return 0, nil, translate(err)
	}
	return int64(u.size) * history.PageSize, m.file(ctx, name, head, u, clearer), nil
}

// file yields a database's pages, those in u in the place of its own.
func (m *Manager) file(ctx context.Context, name string, head history.Head, u *unmarked, clearer *turso.Clearer) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if head.DBSize == 0 {
			return
		}
		var buf []byte
		for p, err := range m.pages(ctx, history.DBID(name), head) {
			if err == nil && p.No > u.size {
				return
			}
			if other := u.pages[p.No]; other != nil {
				p.Data = other
			}
			if err == nil {
				buf = append(buf[:0], p.Data...)
				clearer.Clear(buf, p.No)
			}
			if !yield(buf, err) || err != nil {
				return
			}
		}
	}
}

// Restore makes a database what it was at an earlier revision, by a commit of
// its own: so it can be undone. It returns the revision of that commit. Rows go
// back as pages: replicas get a snapshot at their next sync.
func (m *Manager) Restore(ctx context.Context, name string, revision uint64, author string) (uint64, error) {
	return m.replace(ctx, name, author, func(head history.Head) ([]history.Page, uint32, error) {
		at, err := m.cfg.Store.At(ctx, history.DBID(name), revision)
		if err != nil {
			return nil, 0, revisionErr(err)
		}
		changed, err := m.changed(ctx, name, at, head)
		if err != nil || len(changed) == 0 {
			return nil, at.DBSize, err
		}
		var pages []history.Page
		for p, err := range m.cfg.Store.Pages(ctx, history.DBID(name), revision, changed...) {
			if err != nil {
				return nil, 0, translate(err)
			}
			pages = append(pages, history.Page{No: p.No, Data: slices.Clone(p.Data)})
		}
		return pages, at.DBSize, nil
	})
}

// changed lists the pages of a revision that are not the same at the head.
func (m *Manager) changed(ctx context.Context, name string, at, head history.Head) ([]uint32, error) {
	id := history.DBID(name)
	list := map[uint32]bool{}
	for c, err := range m.cfg.Store.Commits(ctx, id, at.Seq, head.Seq) {
		if err != nil {
			return nil, revisionErr(err)
		}
		for _, no := range c.Pages {
			list[no] = no <= at.DBSize
		}
		// What a smaller database doesn't have may come back as anything.
		for no := c.DBSize + 1; no <= at.DBSize; no++ {
			list[no] = true
		}
	}
	var changed []uint32
	for no, in := range list {
		if in {
			changed = append(changed, no)
		}
	}
	slices.Sort(changed)
	return changed, nil
}

// Load makes a file the contents of a database that has none yet. Its pages must
// have the history's size, and nobody may write to it meanwhile; whether it is a
// sound database is for the caller to know.
func (m *Manager) Load(ctx context.Context, name string, file io.ReaderAt, size int64, author string) (uint64, error) {
	if size == 0 {
		return 0, fmt.Errorf("%w: the file is empty", ErrNotADatabase)
	}
	if size%history.PageSize != 0 || size > m.cfg.MaxLoad || size/history.PageSize > int64(m.cfg.MaxPages) {
		return 0, fmt.Errorf("%w: a file of %d bytes", ErrTooLarge, size)
	}
	if m.cfg.Limit != nil {
		if limit := m.cfg.Limit(name); limit > 0 && size > limit {
			return 0, fmt.Errorf("%w: a file of %d bytes, the database's limit is %d", ErrQuota, size, limit)
		}
	}
	return m.replace(ctx, name, author, func(head history.Head) ([]history.Page, uint32, error) {
		if head.Seq != 0 {
			return nil, 0, fmt.Errorf("%w: it has contents already", ErrExists)
		}
		all := make([]byte, size)
		if _, err := file.ReadAt(all, 0); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, fmt.Errorf("tenant: load %s: %w", name, err)
		}
		pages := make([]history.Page, size/history.PageSize)
		for i := range pages {
			pages[i] = history.Page{No: uint32(i + 1), Data: all[i*history.PageSize : (i+1)*history.PageSize]}
		}
		return pages, uint32(len(pages)), nil
	})
}

// replace appends a commit that is pages alone, and returns its revision when it
// is durable. The cached file is made anew after it.
func (m *Manager) replace(ctx context.Context, name, author string, contents func(head history.Head) ([]history.Page, uint32, error)) (uint64, error) {
	d, err := m.acquire(ctx, name, false)
	if err != nil {
		return 0, err
	}
	defer m.release(d)
	if err := d.gate.lock(ctx, m.cfg.BusyTimeout); err != nil {
		return 0, busy(err)
	}
	var pending *history.Pending
	var head history.Head
	if err = guard(ctx); err == nil {
		pending, head, err = d.replace(ctx, author, contents)
	}
	d.gate.unlock()
	if err != nil || pending == nil {
		return head.Seq, err
	}
	if err := pending.Wait(ctx); err != nil {
		return 0, translate(err)
	}
	m.feeds.wake(name)
	return pending.Head().Seq, nil
}

// replace makes the commit of Manager.replace; the gate is held. If the contents are
// those already nothing is pending, and the head is returned.
func (d *database) replace(ctx context.Context, author string, contents func(head history.Head) ([]history.Page, uint32, error)) (_ *history.Pending, head history.Head, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil || d.failed.Load() {
		return nil, head, fmt.Errorf("%w: it is being opened anew", ErrBusy)
	}
	if err := d.m.cfg.Store.WaitDurable(ctx, d.id(), d.head.Seq); err != nil {
		return nil, head, translate(err)
	}
	pages, size, err := contents(d.head)
	if err != nil || len(pages) == 0 && size == d.head.DBSize {
		return nil, d.head, err
	}
	if pages, err = d.renewHeader(ctx, pages, size); err != nil {
		return nil, d.head, err
	}
	nc := &history.NewCommit{
		Time: time.Now(), Author: author, Meta: commitMeta{whole: true}.append(nil), Pages: pages, DBSize: size,
	}
	pending, err := d.m.cfg.Store.Append(ctx, d.id(), d.head, nc)
	if err != nil {
		return nil, head, translate(err)
	}
	d.m.stats.commits.Add(1)
	d.fail()
	return pending, d.head, nil
}

// Offsets in the header of a database file, see https://sqlite.org/fileformat2.html#the_database_header.
const (
	headerVersions = 18 // two bytes: 2 for WAL
	headerCounter  = 24 // changes of the file
	headerPages    = 28
	headerSchema   = 40 // changes of the schema
	headerValidFor = 92 // the counter for which the number of pages is valid
)

// renewHeader gives the first page counters that no copy of the database has
// had: whoever has cached pages, or a schema, must see that they are no more.
func (d *database) renewHeader(ctx context.Context, pages []history.Page, size uint32) ([]history.Page, error) {
	if size == 0 {
		return pages, nil
	}
	var counter, schema uint32
	if d.head.DBSize > 0 {
		now, err := d.m.cfg.Store.Page(ctx, d.id(), 1, d.head.Seq)
		if err != nil {
			return nil, translate(err)
		}
		counter, schema = binary.BigEndian.Uint32(now[headerCounter:]), binary.BigEndian.Uint32(now[headerSchema:])
		if len(pages) == 0 || pages[0].No != 1 {
			pages = slices.Insert(pages, 0, history.Page{No: 1, Data: slices.Clone(now)})
		}
	}
	h := pages[0].Data
	counter = max(counter, binary.BigEndian.Uint32(h[headerCounter:])) + 1
	schema = max(schema, binary.BigEndian.Uint32(h[headerSchema:])) + 1
	h[headerVersions], h[headerVersions+1] = 2, 2
	binary.BigEndian.PutUint32(h[headerCounter:], counter)
	binary.BigEndian.PutUint32(h[headerPages:], size)
	binary.BigEndian.PutUint32(h[headerSchema:], schema)
	binary.BigEndian.PutUint32(h[headerValidFor:], counter)
	return pages, nil
}
