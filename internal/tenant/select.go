package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// selects has a gate for each database of which pages are being selected by a
// query: one at a time.
type selects struct {
	mu  sync.Mutex
	dbs map[history.DBID]*selecting
}

type selecting struct {
	gate
	users int // guarded by the mutex of selects
}

// enter waits for a database's turn. leave is to be called if there is no error.
func (s *selects) enter(ctx context.Context, id history.DBID, patience time.Duration) (leave func(), err error) {
	s.mu.Lock()
	g := s.dbs[id]
	if g == nil {
		if s.dbs == nil {
			s.dbs = map[history.DBID]*selecting{}
		}
		g = &selecting{}
		s.dbs[id] = g
	}
	g.users++
	s.mu.Unlock()
	done := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if g.users--; g.users == 0 {
			delete(s.dbs, id)
		}
	}
	if err := g.lock(ctx, patience); err != nil {
		done()
		return nil, err
	}
	return func() { g.unlock(); done() }, nil
}

// selected returns the numbers of the pages that the request's query reads at a
// revision: page 1, the schema, the paths down the trees, and the rows. nil
// stands for all, if there is no query.
func (p *pagePull) selected(ctx context.Context, head history.Head) ([]uint32, error) {
	if p.req.Query == "" || head.DBSize == 0 {
		return nil, nil
	}
	leave, err := p.m.selects.enter(ctx, p.id, p.m.cfg.BusyTimeout)
	if err != nil {
		return nil, err
	}
	defer leave()
	seen := make([]bool, head.DBSize+1)
	img := &sqlite.Image{Pages: head.DBSize, Read: func(no uint32) ([]byte, error) {
		seen[no] = true
		return p.m.cfg.Store.Page(ctx, p.id, no, head.Seq)
	}}
	if err = p.touch(ctx, img); img.Err != nil {
		return nil, translate(img.Err)
	}
	if err != nil {
		return nil, err
	}
	nos := []uint32{}
	for no, touched := range seen {
		if touched {
			nos = append(nos, uint32(no))
		}
	}
	return nos, nil
}

// touch runs the query on an image: nothing but one SELECT, and not for longer
// than any other statement.
func (p *pagePull) touch(ctx context.Context, img *sqlite.Image) error {
	conn, err := sqlite.OpenImage(img, sqlite.Options{Temp: p.m.tempSpace()})
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.Limit(sqlite.LimitSQLLength, maxSQL)
	if err := conn.DBConfig(sqlite.ConfigDefensive, true); err != nil {
		return err
	}
	limit := p.m.cfg.StatementTimeout
	t := time.AfterFunc(limit, conn.Interrupt)
	defer t.Stop()
	defer context.AfterFunc(ctx, conn.Interrupt)()
	conn.Authorize(onlyReads)
	st, tail, err := conn.Prepare(p.req.Query)
	switch {
	case err != nil:
		return queryError(err, limit)
	case st == nil || strings.Trim(tail, "; \t\r\n") != "":
		return fmt.Errorf("%w: it must be one statement", ErrQuery)
	case !st.ReadOnly():
		return fmt.Errorf("%w: it writes", ErrQuery)
	}
	if err := tooManyValues(st); err != nil {
		return queryError(err, limit)
	}
	limitValues(conn, st)
	for row := true; row && err == nil; {
		row, err = st.Step()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return queryError(explainFull(conn, err), limit)
}

// onlyReads is the authorizer of such a query.
func onlyReads(a sqlite.Action) sqlite.Verdict {
	switch a.Code {
	case sqlite.ActSelect, sqlite.ActRead, sqlite.ActRecursive:
		return sqlite.Allow
	case sqlite.ActFunction:
		if !slices.Contains(deniedFunctions, strings.ToLower(a.Arg2)) {
			return sqlite.Allow
		}
	}
	return sqlite.Deny
}

func queryError(err error, limit time.Duration) error {
	var e *sqlite.Error
	switch {
	case sqlite.IsInterrupt(err):
		return fmt.Errorf("%w: it takes longer than the %v that this server allows", ErrQuery, limit)
	case errors.As(err, &e):
		return fmt.Errorf("%w: %s", ErrQuery, e.Message)
	}
	return err
}
