package agentdb

import (
	"context"
	"errors"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// errScript says that a text holds more than one statement.
var errScript = errors.New("agentdb: one statement is wanted here; Exec runs several")

// prepared is a statement of one connection with everything that was found
// out about it. It belongs to whoever holds the connection.
type prepared struct {
	st       *sqlite.Stmt
	text     string
	verb     verb
	name     string // the savepoint's
	readOnly bool
	params   int

	busy    bool // it is being run, so that nobody else may take it
	uncache bool // finalize it when it is no longer busy

	plans []*scanPlan // for the types it was read into, the last one used first

	prev, next *prepared // the ring of the cache; the most recent comes first
}

func newPrepared(st *sqlite.Stmt, text string) *prepared {
	p := &prepared{st: st, text: text, readOnly: st.ReadOnly(), params: st.BindCount()}
	p.verb, p.name = classify(text)
	return p
}

// Bounds of a connection's statement cache.
const (
	maxCached     = 256
	maxCachedText = 32 << 10
)

// stmtCache keeps the statements that were used last, by their text. It
// belongs to whoever holds the connection.
type stmtCache struct {
	byText map[string]*prepared
	ring   prepared // sentinel
}

func (s *stmtCache) init() {
	s.byText = make(map[string]*prepared)
	s.ring.prev, s.ring.next = &s.ring, &s.ring
}

// get returns the cached statement, or nil.
func (s *stmtCache) get(text string) *prepared {
	p := s.byText[text]
	if p != nil && s.ring.next != p {
		p.unlink()
		s.front(p)
	}
	return p
}

func (s *stmtCache) front(p *prepared) {
	p.prev, p.next = &s.ring, s.ring.next
	p.prev.next, p.next.prev = p, p
}

func (p *prepared) unlink() {
	p.prev.next, p.next.prev = p.next, p.prev
	p.prev, p.next = nil, nil
}

// add caches p, and drops the statement that was not used for longest.
func (s *stmtCache) add(p *prepared) {
	s.byText[p.text] = p
	s.front(p)
	if len(s.byText) > maxCached {
		s.drop(s.ring.prev)
	}
}

func (s *stmtCache) drop(p *prepared) {
	delete(s.byText, p.text)
	p.unlink()
	if p.busy {
		p.uncache = true
		return
	}
	p.st.Finalize()
}

// clear drops everything.
func (s *stmtCache) clear() {
	for s.ring.next != nil && s.ring.next != &s.ring {
		s.drop(s.ring.next)
	}
}

// prepare returns the statement for a text, from the cache if it can be. It
// returns nil if there is nothing but white space and comments, and errScript if there is more than one statement.
func (c *conn) prepare(text string) (*prepared, error) {
	p := c.cache.get(text)
	if p != nil && !p.busy {
		return p, nil
	}
	st, tail, err := c.prepareRaw(text)
	if err != nil {
		return nil, err
	}
	for st == nil && skipBlank(tail) != "" {
		if st, tail, err = c.prepareRaw(tail); err != nil {
			return nil, err
		}
	}
	if st == nil {
		return nil, nil
	}
	if skipBlank(tail) != "" {
		st.Finalize()
		return nil, errScript
	}
	fresh := newPrepared(st, text)
	if p != nil || len(text) > maxCachedText {
		fresh.uncache = true
	} else {
		c.cache.add(fresh)
	}
	return fresh, nil
}

// prepareRetry is prepare for statements that may have to wait until another process lets the schema be read.
func (c *conn) prepareRetry(ctx context.Context, text string) (*prepared, error) {
	p, err := c.prepare(text)
	var pat patience
	for err != nil {
		if err = pat.again(ctx, err, c.timeout); err != nil {
			return nil, err
		}
		p, err = c.prepare(text)
	}
	return p, nil
}

// preparer is a tracker that wants to see statements being prepared.
type preparer interface {
	Prepare(sql string) (*sqlite.Stmt, string, error)
}

func (c *conn) prepareRaw(text string) (*sqlite.Stmt, string, error) {
	if p, ok := c.trk.(preparer); ok {
		return p.Prepare(text)
	}
	return c.raw.Prepare(text)
}

// done gives a statement back after a run. bound is how many bytes of arguments it holds.
func (c *conn) done(p *prepared, bound int) {
	p.busy = false
	if p.uncache {
		p.st.Finalize()
		return
	}
	_ = p.st.Reset() // what has failed was reported by Step
	if bound > keptBindings {
		p.st.ClearBindings()
	}
}
