package tenant

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"

	"github.com/agentdb/agentdb/internal/history"
)

// An embedded replica of libSQL copies a generation of the database and follows
// it by frames of its WAL, which have numbers from 1. Here generation g begins
// with the state after (g-1)*generationCommits commits, and its frames are the
// pages of the commits that follow: nothing has to be kept for replicas. Both are
// without the marks of Turso's clients, as if they had been dropped after each
// commit.
// The client is in libsql/src/sync.rs of github.com/tursodatabase/libsql.
const (
	generationCommits = 256
	framesAtOnce      = 256 // in an answer
	maxFrameLogs      = 1000
	frameVersion      = "2" // another one when frames are numbered in another way
)

// ErrGenerationEnd is returned by Frames if there are no more in the generation,
// or not yet.
var ErrGenerationEnd = errors.New("tenant: the generation has no more frames")

// frameLogs remembers where the frames of generations are.
type frameLogs struct {
	mu  sync.Mutex // guards what follows
	dbs map[string]frameLog
}

// frameLog says how many frames the commits of a generation have. It is not
// changed once it is shared.
type frameLog struct {
	gen  uint32
	ends []int // the number of the last frame of each commit
	last history.Head
}

func (l *frameLog) total() int {
	if len(l.ends) == 0 {
		return 0
	}
	return l.ends[len(l.ends)-1]
}

// Generation returns the generation that a database is in, as a replica counts
// that is in generation of; 0: as new ones do.
func (m *Manager) Generation(ctx context.Context, name string, of uint32) (uint32, error) {
	head, err := m.cfg.Store.DurableHead(ctx, history.DBID(name))
	if errors.Is(err, history.ErrNotFound) {
		return 1, nil
	}
	before := uint32(0)
	if err == nil && (of == 0 || of >= 1<<lineShift) {
		before, err = m.line(ctx, name)
	}
	return before + generationOf(head), translate(err)
}

func generationOf(head history.Head) uint32 { return uint32(head.Seq/generationCommits) + 1 }

// lineShift is where a generation's number has the line of the database: a
// number for the database as it was made, on the server as it was restored. A
// replica that was made before the database was has none.
const lineShift = 22

// line returns what comes before the first generation of a database.
func (m *Manager) line(ctx context.Context, name string) (uint32, error) {
	info, err := m.cfg.Store.Stat(ctx, history.DBID(name))
	if err != nil {
		return 0, err
	}
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, m.cfg.Lineage, info.Created.UnixMilli(), frameVersion)
	return uint32(h.Sum64()%(1<<(32-lineShift)-1)+1) << lineShift, nil
}

// inLine returns a generation's number without the line. That of another line is
// ErrRevision: the database was made anew, or restored from a backup.
func (m *Manager) inLine(ctx context.Context, name string, gen uint32) (uint32, error) {
	if gen < 1<<lineShift {
		return gen, nil
	}
	line, err := m.line(ctx, name)
	if errors.Is(err, history.ErrNotFound) || err == nil && gen>>lineShift != line>>lineShift {
		return 0, ErrRevision
	}
	return gen - line, translate(err)
}

// formatAt is where page 1 has the versions of the file's format: 1, or 2 of a file
// with a WAL.
const formatAt = 18

// markWAL makes page 1 that of a file with a WAL.
func markWAL(page1 []byte) { page1[formatAt], page1[formatAt+1] = 2, 2 }

// Frames returns the frames of a generation from from up to and without to: not
// all of them, if they are many.
func (m *Manager) Frames(ctx context.Context, name string, gen uint32, from, to int) ([]byte, error) {
	id := history.DBID(name)
	head, err := m.cfg.Store.DurableHead(ctx, id)
	if err != nil && !errors.Is(err, history.ErrNotFound) {
		return nil, translate(err)
	}
	if gen < 1 || from < 1 || to <= from {
		return nil, fmt.Errorf("%w: frames %d to %d of generation %d", ErrMalformed, from, to, gen)
	}
	if gen, err = m.inLine(ctx, name, gen); err != nil {
		return nil, err
	}
	log, err := m.frameLog(ctx, name, gen, head)
	switch {
	case err != nil:
		return nil, err
	case gen > generationOf(head) || from > log.total()+1:
		return nil, ErrRevision // the database was restored from a backup
	case from > log.total():
		return nil, ErrGenerationEnd
	}
	f := &frameReader{m: m, id: id, from: from, to: min(to, from+framesAtOnce, log.total()+1)}
	i, _ := slices.BinarySearch(log.ends, from)
	if i > 0 {
		f.next = log.ends[i-1]
	}
	base := uint64(gen-1) * generationCommits
	err = f.read(ctx, base+uint64(i), base+uint64(len(log.ends)))
	return f.out, revisionErr(err)
}

// revisionErr is translate for a revision that a client asked for.
func revisionErr(err error) error {
	if errors.Is(err, history.ErrHorizon) || errors.Is(err, history.ErrNoRevision) {
		return fmt.Errorf("%w: %w", ErrRevision, err)
	}
	return translate(err)
}

// frameLog returns where the frames of a generation are, as of a head.
func (m *Manager) frameLog(ctx context.Context, name string, gen uint32, head history.Head) (frameLog, error) {
	id := history.DBID(name)
	base := uint64(gen-1) * generationCommits
	upto := min(head.Seq, base+generationCommits)
	if upto <= base {
		return frameLog{}, nil
	}
	m.frames.mu.Lock()
	log, ok := m.frames.dbs[name]
	m.frames.mu.Unlock()
	if ok && log.gen == gen && log.last.Seq <= upto {
		at, err := m.cfg.Store.At(ctx, id, log.last.Seq)
		ok = err == nil && at.Is(log.last)
	} else {
		ok = false
	}
	if !ok {
		log = frameLog{gen: gen, last: history.Head{Seq: base}}
	}
	if log.last.Seq == upto {
		return log, nil
	}
	log.ends = slices.Clone(log.ends)
	u, err := m.unmarkAt(ctx, id, log.last.Seq)
	if err != nil {
		return frameLog{}, revisionErr(err)
	}
	for c, err := range m.cfg.Store.Commits(ctx, id, log.last.Seq, upto) {
		var changed []uint32
		if err == nil {
			u, changed, err = m.unmarkNext(ctx, id, u, c)
		}
		if err != nil {
			return frameLog{}, revisionErr(err)
		}
		log.ends = append(log.ends, log.total()+len(changed))
		log.last = c.Head()
	}
	m.frames.mu.Lock()
	defer m.frames.mu.Unlock()
	if m.frames.dbs == nil || len(m.frames.dbs) >= maxFrameLogs {
		m.frames.dbs = map[string]frameLog{}
	}
	m.frames.dbs[name] = log
	return log, nil
}

// frameReader puts frames together.
type frameReader struct {
	m        *Manager
	id       history.DBID
	u        *unmarked // before the next commit
	from, to int       // of the frames that are wanted
	next     int       // frames before those of the next commit
	out      []byte
}

// read reads the frames of the commits after after. Each commit is a transaction,
// though the client syncs its disk for each: a page that comes twice in one is
// one frame in the client's WAL, whose numbers would be others then.
func (f *frameReader) read(ctx context.Context, after, upto uint64) error {
	var err error
	if f.u, err = f.m.unmarkAt(ctx, f.id, after); err != nil {
		return err
	}
	for c, err := range f.m.cfg.Store.Commits(ctx, f.id, after, upto) {
		if err != nil {
			return err
		}
		if err := f.commit(ctx, c); err != nil {
			return err
		}
		if f.next+1 >= f.to {
			break
		}
	}
	return nil
}

// commit writes those frames of a commit that are wanted.
func (f *frameReader) commit(ctx context.Context, c *history.Commit) error {
	var pages []uint32
	var err error
	if f.u, pages, err = f.m.unmarkNext(ctx, f.id, f.u, c); err != nil {
		return err
	}
	first := f.next + 1
	f.next += len(pages)
	lo, hi := max(f.from, first)-first, min(f.to, f.next+1)-first
	if lo >= hi {
		return nil
	}
	clearer, err := f.m.clearer(ctx, f.id, c.Head())
	if err != nil {
		return err
	}
	no := first + lo
	for p, err := range f.m.cfg.Store.Pages(ctx, f.id, c.Seq, pages[lo:hi]...) {
		if err != nil {
			return err
		}
		if other := f.u.pages[p.No]; other != nil {
			p.Data = other
		}
		size := uint32(0)
		if no == f.next {
			size = f.u.size // ends the transaction
		}
		f.out = binary.BigEndian.AppendUint32(f.out, p.No)
		f.out = binary.BigEndian.AppendUint32(f.out, size)
		f.out = append(f.out, make([]byte, frameHeader-8)...) // the client makes salts and checksums
		f.out = append(f.out, p.Data...)
		page := f.out[len(f.out)-history.PageSize:]
		if clearer.Clear(page, p.No); p.No == 1 {
			markWAL(page)
		}
		no++
	}
	return nil
}
