package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/wire"
)

// since is what happened to rows in the commits after a request's base. It is
// read in two steps: what only the history has without the database's lock,
// and the newest commits, kept in memory, under it.
type since struct {
	me      string
	wanted  bool
	from    change.Base
	upto    uint64 // the last commit that was read
	commits []foreignCommit
	dec     change.Decoder
}

// foreignCommit is what a commit since the request's base did to keys of rows.
type foreignCommit struct {
	own         bool
	first, last uint64 // of an own one: its changes
	c           *change.Change
}

// errBehind says that the newest commits in memory don't reach back far enough.
var errBehind = errors.New("tenant: commits have come in between")

// want decides whether a request needs to know: for the changes that it pushes,
// or because it asks. One on an empty base does only if some of its changes were
// executed already.
func (s *since) want(req *wire.Request, last uint64) {
	pushes := len(req.Changes) > 0 || req.Strict != nil
	asks := req.Mode&wire.ModeMoves != 0
	s.wanted = (pushes || asks) && (req.Base.Seq > 0 || req.First <= last)
	s.upto = max(s.upto, req.Base.Seq)
	switch {
	case req.Base.Seq > 0:
		s.from = change.BaseKnown
	case req.Mode&wire.ModeSnapshot != 0:
		s.from = change.BaseLost
	default:
		s.from = change.BaseEmpty
	}
}

// moves returns what is to be sent to a request with ModeMoves: nothing, if
// no row was moved or deleted but by the replica's own changes as they were sent.
func (s *since) moves(scope *Scope) (list []wire.Commit) {
	any := false
	for _, f := range s.commits {
		any = any || !f.own || slices.ContainsFunc(f.c.Events, func(e change.Event) bool { return e.Op != change.OpInsert })
		w := wire.Commit{Body: scope.visible(f.c).Append(nil, change.ViewEffects)}
		if f.own { // of none of its changes, perhaps: a strict transaction
			w.OwnFirst, w.OwnLast = max(f.first, 1), max(f.last, 1)
		}
		list = append(list, w)
	}
	if !any {
		return nil
	}
	return list
}

// did adds what the request's own changes have deleted and moved, where that may
// not be what they did at their author's.
func (s *since) did(effects *change.Change, first, last uint64) {
	if c := effects.Moves(true); len(c.Events) > 0 {
		s.commits = append(s.commits, foreignCommit{own: true, first: first, last: last, c: c})
	}
}

// tell tells an executor what happened.
func (s *since) tell(x *change.Executor) {
	x.SetBase(s.from)
	for _, f := range s.commits {
		if f.own {
			x.Own(f.c, f.last)
		} else {
			x.Foreign(f.c)
		}
	}
}

// read reads the commits that are not in memory.
func (s *since) read(ctx context.Context, d *database) error {
	if !s.wanted {
		return nil
	}
	d.mu.Lock()
	head := d.head
	_, ok := d.recent.since(s.upto, head.Seq)
	d.mu.Unlock()
	if ok {
		return nil
	}
	if err := d.m.cfg.Store.WaitDurable(ctx, d.id(), head.Seq); err != nil {
		return translate(err)
	}
	for c, err := range d.m.cfg.Store.Commits(ctx, d.id(), s.upto, head.Seq) {
		if errors.Is(err, history.ErrHorizon) {
			s.upto = head.Seq // nothing is known of them any more
			return nil
		}
		if err != nil {
			return translate(err)
		}
		st, err := fromHistory(c)
		if err == nil {
			err = s.add(&st)
		}
		if err != nil {
			return err
		}
	}
	s.upto = head.Seq
	return nil
}

// finish adds the newest commits. The database's lock is held. It returns
// errBehind if read has to be called again first.
func (s *since) finish(d *database) error {
	if !s.wanted {
		return nil
	}
	tail, ok := d.recent.since(s.upto, d.head.Seq)
	if !ok {
		return errBehind
	}
	moves := len(s.commits) > 0 || slices.ContainsFunc(tail, func(c stored) bool { return !c.still })
	for i := range tail {
		if c := &tail[i]; moves && (!c.still || c.author == s.me) {
			if err := s.add(c); err != nil {
				return err
			}
		}
	}
	s.upto = d.head.Seq
	return nil
}

func (s *since) add(st *stored) error {
	if st.meta.whole { // the rows are others from here on, and nobody knows which
		s.from, s.commits = change.BaseLost, nil
		return nil
	}
	own := st.author == s.me
	if len(st.body) == 0 || !own && len(s.commits) == 0 && s.from == change.BaseEmpty {
		return nil // before the first of its own there is no row that it knows
	}
	c, err := s.dec.Decode(st.body)
	if err != nil {
		return fmt.Errorf("tenant: commit %d: %w", st.seq, err)
	}
	if c = c.Moves(own); len(c.Events) == 0 {
		return nil
	}
	f := foreignCommit{own: own, c: c}
	if own {
		f.first, f.last = st.meta.first, st.meta.last
	}
	s.commits = append(s.commits, f)
	return nil
}
