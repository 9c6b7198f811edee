package tenant

import (
	"context"
	"fmt"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/wire"
)

// maxUnseen bounds the rows that are remembered to tell whether a replica had
// seen what its deletes take along. Beyond it, it is taken not to have.
const maxUnseen = 1 << 20

// unseen are the rows that others wrote since a request's base.
type unseen struct {
	read bool
	rows map[string]bool
	many bool // there are more
	// cols, if not nil, are the columns that were updated, by row and name.
	cols map[string]bool
}

// keepCascaded records the rows that the running change deleted through
// foreign keys and triggers though its author can't have known them. The lock
// is held.
func (p *execution) keepCascaded(record func(*change.Conflict) error) error {
	if p.req.Base.Seq == 0 {
		return nil
	}
	rows := p.d.cap.Cascaded()
	if len(rows) == 0 {
		return nil
	}
	if err := p.unseen.load(p); err != nil {
		return err
	}
	for _, e := range rows {
		if p.unseen.many || p.unseen.rows[e.RowKey()] {
			if err := record(e.CascadeConflict()); err != nil {
				return err
			}
		}
	}
	return nil
}

// unknown returns what tells the rows that others wrote since the request's base,
// nil if they wrote none.
func (p *execution) unknown() (func(*change.Event) bool, error) {
	if err := p.unseen.load(p); err != nil {
		return nil, err
	}
	if u := &p.unseen; u.many || len(u.rows) > 0 {
		return func(e *change.Event) bool { return u.many || u.rows[e.RowKey()] }, nil
	}
	return nil, nil
}

// load reads the commits since the base once. The request's own deadline does
// not matter: the changes have begun to run.
func (u *unseen) load(p *execution) error {
	if u.read {
		return nil
	}
	u.read, u.rows = true, map[string]bool{}
	d, me := p.d, p.since.me
	dec := change.Decoder{Budget: d.m.cfg.MaxDecoded}
	after := p.req.Base.Seq
	recent := d.recent.list
	if len(recent) > 0 && recent[0].seq > after+1 {
		for c, err := range d.m.cfg.Store.Commits(context.Background(), d.id(), after, recent[0].seq-1) {
			if err != nil {
				u.many = true // too long ago
				return nil
			}
			if err := u.add(&dec, c.Author == me, c.Change); err != nil || u.many {
				return err
			}
		}
	}
	for i := range recent {
		if recent[i].seq > after && !u.many {
			if err := u.add(&dec, recent[i].author == me, recent[i].body); err != nil {
				return err
			}
		}
	}
	return nil
}

func (u *unseen) add(dec *change.Decoder, own bool, body []byte) error {
	if own && u.cols == nil || len(body) == 0 {
		return nil
	}
	c, err := dec.Decode(body)
	if err != nil {
		return fmt.Errorf("tenant: %w: %w", wire.ErrMalformed, err)
	}
	for i := range c.Events {
		e := &c.Events[i]
		if !e.Effect || e.Op != change.OpInsert && e.Op != change.OpUpdate || e.Shadow() {
			continue
		}
		row := e.RowKey()
		if !own {
			u.rows[row] = true
		}
		for col := range e.Updated() {
			if u.cols == nil {
				break
			}
			u.cols[row+"\x00"+col] = !own
		}
	}
	u.many = len(u.rows) > maxUnseen
	return nil
}
