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
	upto    uint64 // the last commit that was read
	commits []foreignCommit
	dec     change.Decoder
}

// foreignCommit is what a commit since the request's base did to keys of rows.
type foreignCommit struct {
	own bool
	c   *change.Change
}

// errBehind says that the newest commits in memory don't reach back far enough.
var errBehind = errors.New("tenant: commits have come in between")

// want decides whether a request needs to know, for the pushed changes that it
// makes: one on an empty base only if some of them were executed already.
func (s *since) want(req *wire.Request, last uint64) {
	s.wanted = (len(req.Changes) > 0 || req.Strict != nil) && (req.Base.Seq > 0 || req.First <= last)
	s.upto = max(s.upto, req.Base.Seq)
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
		if err := s.add(c.Seq, c.Author, c.Change); err != nil {
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
			if err := s.add(c.seq, c.author, c.body); err != nil {
				return err
			}
		}
	}
	s.upto = d.head.Seq
	return nil
}

func (s *since) add(seq uint64, author string, body []byte) error {
	if len(body) == 0 {
		return nil
	}
	c, err := s.dec.Decode(body)
	if err != nil {
		return fmt.Errorf("tenant: commit %d: %w", seq, err)
	}
	own := author == s.me
	if c = c.Moves(own); len(c.Events) > 0 {
		s.commits = append(s.commits, foreignCommit{own: own, c: c})
	}
	return nil
}
