package tenant

import (
	"context"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/turso"
)

// pageSet is the pages of an answer, at one revision.
type pageSet struct {
	m     *Manager
	id    history.DBID
	head  history.Head
	nos   []uint32
	stamp stamping
}

// sent yields all pages, and counts them.
func (s *pageSet) sent(yield func(history.Page, error) bool) {
	for pg, err := range s.pages(context.Background(), s.nos) {
		if err == nil {
			s.count(1)
		}
		if !yield(pg, err) || err != nil {
			return
		}
	}
}

// count counts pages that are sent.
func (s *pageSet) count(n int) {
	bytes := uint64(n) * history.PageSize
	s.m.stats.pulledBytes.Add(bytes)
	s.m.meters.add(string(s.id), Usage{BytesSynced: bytes})
}

// pages yields some of the pages as a client gets them, each valid until the
// next.
func (s *pageSet) pages(ctx context.Context, nos []uint32) func(yield func(history.Page, error) bool) {
	return func(yield func(history.Page, error) bool) {
		if len(nos) == 0 {
			return
		}
		if s.head.DBSize == 0 {
			yield(history.Page{No: 1, Data: turso.EmptyPage()}, nil)
			return
		}
		var buf []byte
		for pg, err := range s.m.pages(ctx, s.id, s.head, nos...) {
			if err == nil {
				buf = append(buf[:0], pg.Data...)
				turso.ClearUnused(buf, pg.No, s.head.DBSize)
				pg.Data = buf
				if pg.No == s.stamp.page {
					turso.PutStamp(buf, s.stamp.off, s.stamp.n)
				}
			}
			if !yield(pg, err) || err != nil {
				return
			}
		}
	}
}
