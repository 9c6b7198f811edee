package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/turso"
)

// unmarked is the pages of a database that are others without the table of
// Turso's marks.
type unmarked struct {
	size  uint32 // of the database, in pages
	pages map[uint32][]byte
	had   uint32          // its size with the table
	seen  map[uint32]bool // the pages that all this follows from
}

// unmark takes the table of Turso's marks out of a database as it was at a
// revision, in memory. It leaves pages that hold nothing, as if the table had been
// dropped.
func (m *Manager) unmark(ctx context.Context, id history.DBID, head history.Head) (*unmarked, error) {
	u := &unmarked{size: head.DBSize, had: head.DBSize, pages: map[uint32][]byte{}, seen: map[uint32]bool{}}
	read := func(no uint32) ([]byte, error) {
		u.seen[no] = true
		return m.cfg.Store.Page(ctx, id, no, head.Seq)
	}
	if head.DBSize == 0 {
		return u, nil
	}
	if has, err := (&turso.Image{Page: read}).MayHave(turso.MarkTable); !has {
		return u, translate(err)
	}
	var format [2]byte // page 1 says whether there is a WAL
	img := &sqlite.Image{Pages: head.DBSize, Read: func(no uint32) ([]byte, error) {
		if p := u.pages[no]; p != nil {
			return p, nil
		}
		p, err := read(no)
		if err == nil && no == 1 {
			p = slices.Clone(p)
			copy(format[:], p[formatAt:])
			p[formatAt], p[formatAt+1] = 1, 1
		}
		return p, err
	}, Write: func(no uint32, page []byte) { u.pages[no] = slices.Clone(page) }}
	err := m.dropMarks(img)
	if img.Err != nil {
		return nil, translate(img.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("tenant: take the marks out: %w", err)
	}
	if one := u.pages[1]; one != nil {
		copy(one[formatAt:], format[:])
	}
	u.size = img.Pages
	return u, nil
}

// dropMarks drops the table of Turso's marks from an image. What it held isn't
// left in it.
func (m *Manager) dropMarks(img *sqlite.Image) error {
	conn, err := sqlite.OpenImage(img, sqlite.Options{Temp: m.tempSpace()})
	if err != nil {
		return err
	}
	err = conn.Exec("PRAGMA journal_mode=MEMORY; PRAGMA secure_delete=ON; DROP TABLE IF EXISTS main." + turso.MarkTable)
	return errors.Join(err, conn.Close())
}

// clearer clears pages of a database at a revision, those that hold something.
func (m *Manager) clearer(ctx context.Context, id history.DBID, head history.Head) (*turso.Clearer, error) {
	img := &turso.Image{Page: func(no uint32) ([]byte, error) { return m.cfg.Store.Page(ctx, id, no, head.Seq) }}
	c, err := img.Clearer(head.DBSize, false)
	return c, translate(err)
}

// unmarkAt is unmark for the state after so many commits.
func (m *Manager) unmarkAt(ctx context.Context, id history.DBID, seq uint64) (*unmarked, error) {
	if seq == 0 {
		return &unmarked{}, nil
	}
	head, err := m.cfg.Store.At(ctx, id, seq)
	if err != nil {
		return nil, err
	}
	return m.unmark(ctx, id, head)
}

// unmarkNext returns what a commit makes of the pages without marks, and those of
// them that it changes, ascending.
func (m *Manager) unmarkNext(ctx context.Context, id history.DBID, u *unmarked, c *history.Commit) (next *unmarked, changed []uint32, err error) {
	if u.had == c.DBSize && !slices.ContainsFunc(c.Pages, func(no uint32) bool { return u.seen[no] || u.pages[no] != nil }) {
		return u, c.Pages, nil
	}
	if next, err = m.unmark(ctx, id, c.Head()); err != nil {
		return nil, nil, err
	}
	if len(u.pages) == 0 && len(next.pages) == 0 {
		return next, c.Pages, nil
	}
	nos := map[uint32]bool{}
	for _, no := range c.Pages {
		nos[no] = no <= next.size
	}
	for no := u.size + 1; no <= next.size; no++ {
		nos[no] = true
	}
	for _, pages := range []map[uint32][]byte{u.pages, next.pages} {
		for no := range pages {
			if no > min(u.size, next.size) {
				continue // it is new, or gone
			}
			was, err := m.pageOf(ctx, id, u, c.Seq-1, no)
			if err != nil {
				return nil, nil, err
			}
			is, err := m.pageOf(ctx, id, next, c.Seq, no)
			if err != nil {
				return nil, nil, err
			}
			nos[no] = !bytes.Equal(was, is)
		}
	}
	maps.DeleteFunc(nos, func(_ uint32, changed bool) bool { return !changed })
	return next, slices.Sorted(maps.Keys(nos)), nil
}

// pageOf returns a page of a database without marks, as of a revision.
func (m *Manager) pageOf(ctx context.Context, id history.DBID, u *unmarked, seq uint64, no uint32) ([]byte, error) {
	if p := u.pages[no]; p != nil {
		return p, nil
	}
	p, err := m.cfg.Store.Page(ctx, id, no, seq)
	return slices.Clone(p), err
}
