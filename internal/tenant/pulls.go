package tenant

import (
	"hash/maphash"
	"slices"
	"sync"

	"github.com/agentdb/agentdb/internal/turso"
)

// pulls remembers what the files of Turso's clients were sent. Their pushes
// don't say which state of the database they were made on, only how many
// answers with pages the file has got, if there is no stamp: together that tells,
// as a rule.
type pulls struct {
	mu   sync.Mutex // guards what follows
	dbs  map[string]*pullLog
	tick uint64
	seed maphash.Seed
	boot uint64 // of this run of the server
}

// pullLog is what is remembered of one database.
type pullLog struct {
	lines   map[uint32]*line
	clients map[string]map[uint32]bool // the lines that each may be
	checked uint64                     // page 1 of the schema that was looked at
	looked  bool
	why     string // why it can't be carried
	marks   uint32 // the root of Turso's marks, 0 if there are none
	loaded  bool   // lines has the files of the servers before
	forgot  uint64 // the lowest state of files that are not in lines, and 1; 0 if all are
}

// line is one file of a client.
type line struct {
	bases   []base // the newest, by gen
	asked   uint64 // the gen of its last request
	used    uint64
	old     bool // it is known from a server before, and may have pulled since
	stamped bool // its pushes have a stamp
}

// base is a state that a file was sent.
type base struct {
	gen, seq uint64
	stamped  bool
}

// forget notes that a file is no more known.
func (l *pullLog) forget(seq uint64) {
	if seq++; seq > 0 && (l.forgot == 0 || seq < l.forgot) {
		l.forgot = seq
	}
}

// Bounds of pulls.
const (
	maxLogs  = 10_000
	maxLines = 1024
	maxBases = 16
)

// log returns the log of a database. The mutex is held.
func (p *pulls) log(db string) *pullLog {
	l := p.dbs[db]
	if l == nil {
		if len(p.dbs) >= maxLogs || p.dbs == nil {
			p.dbs = map[string]*pullLog{} // forgetting is allowed, if rare
		}
		l = &pullLog{lines: map[uint32]*line{}}
		p.dbs[db] = l
	}
	return l
}

// line returns a file, and forgets the one that has been silent for longest if
// there are too many. The mutex is held.
func (p *pulls) line(db string, id uint32) *line {
	l := p.log(db)
	f := l.lines[id]
	if f == nil {
		if len(l.lines) >= maxLines {
			var oldest uint32
			for k, v := range l.lines {
				if o := l.lines[oldest]; o == nil || v.used < o.used {
					oldest = k
				}
			}
			if o := l.lines[oldest]; !o.stamped && len(o.bases) > 0 {
				l.forget(o.bases[0].seq)
			}
			delete(l.lines, oldest)
		}
		f = &line{}
		l.lines[id] = f
	}
	p.tick++
	f.used = p.tick
	return f
}

// asked notes that a file stands at rev.
func (p *pulls) asked(db string, rev turso.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.line(db, rev.Line)
	f.asked, f.old = rev.Gen, false
	f.stamped = slices.ContainsFunc(f.bases, func(b base) bool { return b.gen == rev.Gen && b.stamped })
	f.add(base{rev.Gen, rev.Seq, f.stamped})
}

// sent notes that a file was sent rev, and a stamp. It may not have arrived.
func (p *pulls) sent(db string, rev turso.Revision, stamped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(db, rev.Line).add(base{rev.Gen, rev.Seq, stamped})
}

func (f *line) add(b base) {
	i := slices.IndexFunc(f.bases, func(o base) bool { return o.gen == b.gen })
	if i >= 0 {
		// The answer that arrived: of several with the same count the last
		// that the file asked for, or any of them.
		f.bases[i] = b
		return
	}
	f.bases = append(f.bases, b)
	if len(f.bases) > maxBases {
		f.bases = slices.Delete(f.bases, 0, 1)
	}
}

// bases returns the states that the file of a client's push with this count may
// be in, or has gone beyond, ascending, and the lowest of those that it may have
// been in. There are none if nothing is known.
func (p *pulls) bases(db, client string, gen uint64) (list []uint64, first uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.dbs[db]
	if l == nil {
		return nil, 0
	}
	first = turso.NoGen
	for id := range l.match(client, gen) {
		f := l.lines[id]
		for _, b := range f.bases {
			if f.has(b, gen) {
				list = append(list, b.seq)
				for _, o := range f.bases {
					first = min(first, o.seq)
				}
			}
		}
	}
	if l.forgot > 0 {
		list, first = append(list, l.forgot-1), min(first, l.forgot-1)
	}
	slices.Sort(list)
	return slices.Compact(list), first
}

// has reports whether b may be the last state that the file was sent before a
// push with this count.
func (f *line) has(b base, gen uint64) bool {
	return b.gen == gen || b.gen == turso.NoGen || f.old && b.gen < gen
}

// match returns the files that a client may have: those that can have the count
// of this push, and could have that of the ones before, and are not known to be
// another client's.
func (l *pullLog) match(client string, gen uint64) map[uint32]bool {
	fit := map[uint32]bool{}
	for id, f := range l.lines {
		if f.asked != turso.NoGen && f.asked > gen {
			continue // it has got more since
		}
		if slices.ContainsFunc(f.bases, func(b base) bool { return f.has(b, gen) }) {
			fit[id] = true
		}
	}
	keep := func(ok func(id uint32) bool) {
		left := map[uint32]bool{}
		for id := range fit {
			if ok(id) {
				left[id] = true
			}
		}
		if len(left) > 0 {
			fit = left
		}
	}
	if before := l.clients[client]; before != nil {
		keep(func(id uint32) bool { return before[id] })
	}
	taken := map[uint32]bool{}
	for name, ids := range l.clients {
		if name != client && len(ids) == 1 {
			for id := range ids {
				taken[id] = true
			}
		}
	}
	keep(func(id uint32) bool { return !taken[id] })
	if l.clients == nil || len(l.clients) >= maxLines {
		l.clients = map[string]map[uint32]bool{}
	}
	l.clients[client] = fit
	return fit
}

// checked returns what check was told of a schema; ok is false if that was of
// another.
func (p *pulls) checked(db string, page1 []byte) (why string, marks uint32, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.dbs[db]
	if l == nil || !l.looked || l.checked != maphash.Bytes(p.seed, page1) {
		return "", 0, false
	}
	return l.why, l.marks, true
}

func (p *pulls) check(db string, page1 []byte, why string, marks uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.log(db)
	l.checked, l.looked, l.why, l.marks = maphash.Bytes(p.seed, page1), true, why, marks
}
