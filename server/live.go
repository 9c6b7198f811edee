package server

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/tenant"
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
		err = errChanged
	}
	return err
}

var errChanged = &problem{code: CodeForbidden, message: "the database's configuration has changed: ask again"}

// lasts notes a request that may wait. check fails when it must not be answered
// any more, and its context ends then; done must be called.
func (s *Server) lasts(ctx context.Context, r *http.Request, name string) (_ context.Context, check func() error, done func()) {
	ctx, cancel := context.WithCancel(ctx)
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

// allowed is what a request was found to be when it began.
type allowed struct {
	claims catalog.Claims // of its token
	access catalog.Access // what was left of them
}

// guard returns the context of a request's work, and a check that it could begin as
// it did: its body may have taken long to arrive, and its turn to come. Nothing is
// answered without it.
func (s *Server) guard(w *recorder, r *http.Request) (context.Context, func() error) {
	check := func() error {
		if s.verifier != nil {
			if err := s.verifier.Expired(w.allowed.claims); err != nil {
				return err
			}
		}
		c, err := s.applyPolicy(w.db, w.allowed.claims)
		if err == nil && c.Access != w.allowed.access {
			err = errChanged
		}
		return err
	}
	return tenant.WithGuard(r.Context(), check), check
}
