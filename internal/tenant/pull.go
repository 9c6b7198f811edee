package tenant

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/turso"
)

// Errors of PullPages beside those of the package.
var (
	// ErrRevision: pages of a revision that the history does not contain, or
	// has given up.
	ErrRevision = errors.New("tenant: no such revision")
	// ErrPages: the database can't be carried as pages; the error says why.
	ErrPages = errors.New("tenant: not to be had as pages")
	// ErrQuery: the query that selects pages fails; the error says why.
	ErrQuery = errors.New("tenant: the query for pages fails")
)

// PageAnswer is what PullPages returns.
type PageAnswer struct {
	Revision string   // of the pages
	Size     uint32   // pages of the database
	Pages    []uint32 // numbers of those that are sent, ascending
	// Data yields them in that order. What it yields is valid until the next
	// one is asked for. It reads the history, and may fail.
	Data iter.Seq2[history.Page, error]

	set *pageSet
}

// PullPages answers a request of a Turso client for pages. It waits for news if
// it is asked to. create allows the database to be made. It never opens the
// database: everything comes from the history, at one durable revision.
func (m *Manager) PullPages(ctx context.Context, name string, create bool, req *turso.PullRequest) (*PageAnswer, error) {
	id := history.DBID(name)
	head, err := m.cfg.Store.DurableHead(ctx, id)
	if errors.Is(err, history.ErrNotFound) && create {
		if err := m.cfg.Store.Create(ctx, id); err != nil && !errors.Is(err, history.ErrExists) {
			return nil, translate(err)
		}
		if m.cfg.Created != nil {
			m.cfg.Created(name)
		}
		head, err = m.cfg.Store.DurableHead(ctx, id)
	}
	if err != nil {
		return nil, translate(err)
	}
	p := &pagePull{m: m, id: id, req: req}
	if req.ServerRevision != "" {
		return p.pinned(ctx)
	}
	if req.ClientRevision == "" {
		return p.first(ctx, head)
	}
	rev, ok := turso.ParseRevision(req.ClientRevision)
	if !ok {
		rev = turso.Revision{Line: newLine(), Gen: turso.NoGen}
		return p.whole(ctx, head, rev)
	}
	m.pulls.asked(name, rev)
	if req.WaitMS > 0 && rev.Seq == head.Seq && rev.Hash == revision(head).Hash {
		if head, err = m.waitForCommit(ctx, name, head, time.Duration(req.WaitMS)*time.Millisecond); err != nil {
			return nil, err
		}
	}
	ctx = context.WithoutCancel(ctx) // its end may have been that of the wait
	return p.since(ctx, head, rev)
}

// waitForCommit returns the durable head when it is another than that one, or
// the time is up. The end of ctx is the end of the time.
func (m *Manager) waitForCommit(ctx context.Context, name string, head history.Head, wait time.Duration) (history.Head, error) {
	m.feeds.join(name)
	defer m.feeds.leave(name)
	m.stats.waiting.Add(1)
	defer m.stats.waiting.Add(-1)
	timer := time.NewTimer(min(wait, m.cfg.MaxWait))
	defer timer.Stop()
	for {
		news := m.feeds.news(name)
		now, err := m.cfg.Store.DurableHead(context.WithoutCancel(ctx), history.DBID(name))
		if err != nil || !now.Is(head) {
			return now, translate(err)
		}
		select {
		case <-news:
		case <-timer.C:
			return head, nil
		case <-ctx.Done():
			return head, nil
		case <-m.done:
			return head, ErrClosed
		}
	}
}

// pagePull is one request on its way.
type pagePull struct {
	m     *Manager
	id    history.DBID
	req   *turso.PullRequest
	marks uint32 // the root of Turso's marks, as carries found it
	stamp stamping
}

// stamping is where an answer has a stamp.
type stamping struct {
	page uint32 // 0: nowhere
	off  int
	n    int64
}

// newLine names a file.
func newLine() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint32(b[:])
}

// pageRevision names a head for the file that rev is of.
func pageRevision(head history.Head, rev turso.Revision) turso.Revision {
	rev.Seq, rev.Hash = head.Seq, revision(head).Hash
	return rev
}

// first answers a file that has nothing yet.
func (p *pagePull) first(ctx context.Context, head history.Head) (*PageAnswer, error) {
	rev := pageRevision(head, turso.Revision{Line: newLine()})
	if err := p.carries(ctx, head); err != nil {
		return nil, err
	}
	only, err := p.selected(ctx, head)
	if err != nil {
		return nil, err
	}
	a, err := p.answer(head, rev, only)
	if err == nil {
		p.m.stats.snapshots.Add(1)
		err = p.m.keepFile(ctx, string(p.id), rev)
	}
	return a, err
}

// whole answers a file whose state the history does not know with all pages.
// What it has not sent yet, it keeps.
func (p *pagePull) whole(ctx context.Context, head history.Head, rev turso.Revision) (*PageAnswer, error) {
	if err := p.carries(ctx, head); err != nil {
		return nil, err
	}
	p.m.stats.snapshots.Add(1)
	return p.next(head, rev, nil)
}

// next makes the answer that brings a file from rev to the head; only are the
// pages that do, nil stands for all.
func (p *pagePull) next(head history.Head, rev turso.Revision, only []uint32) (*PageAnswer, error) {
	to := pageRevision(head, rev)
	if to.Gen != turso.NoGen && (only == nil || len(only) > 0) {
		to.Gen++
	}
	only, err := p.stamped(head, only)
	if err != nil {
		return nil, err
	}
	a, err := p.answer(head, to, only)
	if err == nil {
		p.m.pulls.sent(string(p.id), to, p.stamp.page > 0)
		if to.Gen == turso.NoGen && p.stamp.page == 0 {
			err = p.m.keepFile(context.Background(), string(p.id), to)
		}
	}
	return a, err
}

// stamped finds where the answer's stamp goes, and returns the pages with that
// one. An answer without pages needs none: the file is where it was.
func (p *pagePull) stamped(head history.Head, only []uint32) ([]uint32, error) {
	if p.marks == 0 || head.DBSize == 0 || only != nil && len(only) == 0 {
		return only, nil
	}
	n, ok := turso.Stamp{Seq: head.Seq, Check: revision(head).Hash[0]}.Int()
	if !ok {
		return only, nil
	}
	page, off, ok, err := p.m.image(context.Background(), p.id, head.Seq).StampAt(p.marks)
	if err != nil || !ok {
		return only, err
	}
	p.stamp = stamping{page, off, n}
	if i, there := slices.BinarySearch(only, page); only != nil && !there {
		only = slices.Insert(only, i, page)
	}
	return only, nil
}

// since answers a file that stands at rev.
func (p *pagePull) since(ctx context.Context, head history.Head, rev turso.Revision) (*PageAnswer, error) {
	if err := p.known(ctx, rev, head); errors.Is(err, ErrRevision) {
		return p.whole(ctx, head, rev)
	} else if err != nil {
		return nil, err
	}
	if rev.Seq == head.Seq {
		return p.next(head, rev, []uint32{})
	}
	only, err := p.m.cfg.Store.ChangedPages(ctx, p.id, rev.Seq, head.Seq)
	if errors.Is(err, history.ErrHorizon) {
		return p.whole(ctx, head, rev)
	}
	if err != nil {
		return nil, translate(err)
	}
	if err := p.carries(ctx, head); err != nil {
		return nil, err
	}
	if only == nil {
		only = []uint32{}
	}
	return p.next(head, rev, only)
}

// pinned answers with pages as they were at a revision.
func (p *pagePull) pinned(ctx context.Context) (*PageAnswer, error) {
	rev, ok := turso.ParseRevision(p.req.ServerRevision)
	if !ok {
		return nil, ErrRevision
	}
	at, err := p.m.cfg.Store.At(ctx, p.id, rev.Seq)
	switch {
	case errors.Is(err, history.ErrHorizon), errors.Is(err, history.ErrNoRevision):
		return nil, fmt.Errorf("%w: %w", ErrRevision, err)
	case err != nil:
		return nil, translate(err)
	case revision(at).Hash != rev.Hash:
		return nil, ErrRevision
	}
	only, err := p.selected(ctx, at)
	if err != nil {
		return nil, err
	}
	a, err := p.answer(at, rev, only)
	if err == nil {
		a.Revision = p.req.ServerRevision
	}
	return a, err
}

// known returns ErrRevision unless a revision is part of the history.
func (p *pagePull) known(ctx context.Context, rev turso.Revision, head history.Head) error {
	if rev.Seq > head.Seq {
		return ErrRevision
	}
	at := head
	if rev.Seq < head.Seq {
		var err error
		if at, err = p.m.cfg.Store.At(ctx, p.id, rev.Seq); err != nil {
			if errors.Is(err, history.ErrHorizon) || errors.Is(err, history.ErrNoRevision) {
				return ErrRevision
			}
			return translate(err)
		}
	}
	if revision(at).Hash != rev.Hash {
		return ErrRevision
	}
	return nil
}

// answer makes the answer of those among the pages in only, nil for all, that
// the request selects.
func (p *pagePull) answer(head history.Head, rev turso.Revision, only []uint32) (*PageAnswer, error) {
	size := max(head.DBSize, 1)
	if len(p.req.Selector) > 0 {
		set, err := turso.SelectedPages(p.req.Selector, size)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		only = intersect(set, only)
	} else if only == nil {
		only = make([]uint32, size)
		for i := range only {
			only[i] = uint32(i) + 1
		}
	}
	set := &pageSet{m: p.m, id: p.id, head: head, nos: only, stamp: p.stamp}
	return &PageAnswer{Revision: rev.String(), Size: size, Pages: only, Data: set.sent, set: set}, nil
}

// intersect returns what is in both; nil for b stands for everything.
func intersect(a, b []uint32) []uint32 {
	if b == nil {
		return a
	}
	out := []uint32{}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			out = append(out, a[i])
			i, j = i+1, j+1
		}
	}
	return out
}

// image returns the database as it was at a revision.
func (m *Manager) image(ctx context.Context, id history.DBID, seq uint64) *turso.Image {
	return &turso.Image{Page: func(no uint32) ([]byte, error) {
		p, err := m.cfg.Store.Page(ctx, id, no, seq)
		return p, translate(err)
	}}
}

// carries returns ErrPages if the clients could not use the database's pages.
func (p *pagePull) carries(ctx context.Context, head history.Head) error {
	if head.DBSize == 0 {
		return nil
	}
	one, err := p.m.cfg.Store.Page(ctx, p.id, 1, head.Seq)
	if err != nil {
		return translate(err)
	}
	why, marks, ok := p.m.pulls.checked(string(p.id), one)
	if !ok {
		img := p.m.image(ctx, p.id, head.Seq)
		if why, err = img.Obstacle(); err != nil {
			return err
		}
		if marks, err = img.Root(turso.MarkTable); err != nil {
			return err
		}
		p.m.pulls.check(string(p.id), one, why, marks)
	}
	p.marks = marks
	if why != "" {
		return fmt.Errorf("%w: %s", ErrPages, why)
	}
	return nil
}
