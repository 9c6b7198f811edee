package server

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/agentdb/agentdb/internal/catalog"
)

// live is the requests that last: WebSockets, and requests that wait for news. A
// token that is voided, a database that is blocked or deleted, ends them.
type live struct {
	mu  sync.Mutex
	all map[*lasting]struct{} // guarded by mu
}

// lasting is one of them.
type lasting struct {
	name   string
	token  string
	access catalog.Access
	end    context.CancelFunc
}

// stop is end, which there may be nothing to do for.
func (e *lasting) stop() {
	if e != nil {
		e.end()
	}
}

func (l *live) add(e *lasting) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*lasting]struct{}{}
	}
	l.all[e] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.all, e)
	}
}

// of returns those of databases, all if everything is one of the names.
func (l *live) of(names []string) (some []*lasting) {
	every := slices.Contains(names, catalog.AnyDatabase)
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := range l.all {
		if every || slices.Contains(names, e.name) {
			some = append(some, e)
		}
	}
	return some
}

// recheck ends the requests that would not be allowed to begin any more. It is
// called when what the catalog says of databases has changed.
func (s *Server) recheck(names []string) {
	for _, e := range s.live.of(names) {
		if s.still(e) != nil {
			e.end()
		}
	}
}

// still checks that a request could begin as it did.
func (s *Server) still(e *lasting) error {
	_, c, err := s.claims(e.name, e.token)
	if err == nil && c.Access != e.access {
		err = &problem{code: CodeForbidden, message: "the database's configuration has changed: ask again"}
	}
	return err
}

// lasts notes a request that may wait. check fails when it must not be answered
// any more, and its context ends then; done must be called.
func (s *Server) lasts(r *http.Request, name string) (ctx context.Context, check func() error, done func()) {
	ctx, cancel := context.WithCancel(r.Context())
	token, _ := bearer(r.Header) // the request was authorized
	e := &lasting{name: name, token: string(token), end: cancel}
	_, c, err := s.claims(name, e.token)
	e.access = c.Access
	remove := s.live.add(e)
	if err != nil {
		cancel()
	}
	return ctx, func() error { return s.still(e) }, func() { remove(); cancel() }
}
