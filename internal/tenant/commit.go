package tenant

import (
	"context"
	"errors"
	"fmt"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// maxRestarts bounds how often a request begins again because one of its
// operations rolled the transaction back.
const maxRestarts = 1000

// maxGreedy bounds how many operations of a request may be refused because
// they took too long or wrote too much: each costs as much as all the others
// together may.
const maxGreedy = 2

// commit runs the changes in one transaction and appends it to the history.
func (p *execution) commit(ctx context.Context, s *replicaState) (history.Head, error) {
	d := p.d
	greedy := 0
	for restarts := 0; ; restarts++ {
		d.limitTime()
		err := p.transaction()
		d.clock.Stop()
		if err == nil {
			break
		}
		if !d.conn.AutoCommit() {
			if rerr := d.conn.Exec("ROLLBACK"); rerr != nil {
				d.fail()
			}
		}
		d.cap.Discard()
		if sqlite.IsInterrupt(err) || errors.Is(err, change.ErrTooMuch) {
			if greedy++; !p.greedy || greedy > maxGreedy {
				return history.Head{}, refusal(err)
			}
		}
		if !errors.Is(err, change.ErrRolledBack) && !errors.Is(err, change.ErrTooMuch) || restarts > maxRestarts {
			return history.Head{}, refusal(err)
		}
	}
	return p.append(ctx, s)
}

// refusal maps errors of execution to this package's.
func refusal(err error) error {
	switch {
	case errors.Is(err, wire.ErrTooLarge), errors.Is(err, change.ErrTooMuch):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, wire.ErrMalformed):
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	case sqlite.IsInterrupt(err):
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	case sqlite.IsFull(err):
		return fmt.Errorf("%w: %w", ErrQuota, err)
	}
	return err
}

// limitTime interrupts what runs for longer than the limit, until d.clock is
// stopped.
func (d *database) limitTime() { d.clock.Reset(d.m.cfg.StatementTimeout) }

// skipOp refuses an operation when the request is run again. One that used up
// what all of them may is told from one that merely came last.
func (p *execution) skipOp(at opAt, x *change.Executor, err error) {
	if p.skip == nil {
		p.skip = map[opAt]string{}
	}
	cfg := &p.d.m.cfg
	took, wrote := x.Cost()
	p.greedy = took > cfg.StatementTimeout/2 || wrote > cfg.MaxEffects/2
	why := err.Error()
	switch {
	case errors.Is(err, change.ErrTooMuch):
		why = "it writes more than the server allows"
	case sqlite.IsInterrupt(err):
		why = "it takes longer than the server allows"
	}
	p.skip[at] = why
}

// accepted notes a commit that has its place in the history, and tells those
// who wait when it is durable.
func (d *database) accepted(pending *history.Pending, nc *history.NewCommit, still bool) {
	d.head = pending.Head()
	meta, _ := decodeMeta(nc.Meta) // just encoded
	st := &d.m.stats
	st.commits.Add(1)
	if meta.last != 0 {
		st.changes.Add(meta.last - meta.first + 1)
	}
	st.pushedBytes.Add(uint64(len(nc.Change)))
	if meta.last != 0 || meta.strict != 0 {
		d.m.meters.add(d.name, Usage{RowsWritten: uint64(change.Count(nc.Change)), BytesSynced: uint64(len(nc.Change))})
	}
	d.m.mu.Lock()
	d.users++ // until the commit is durable
	open := len(d.m.dbs)
	d.m.mu.Unlock()
	d.m.recentBytes.Add(int64(d.recent.add(
		stored{seq: d.head.Seq, hash: [8]byte(d.head.Hash[:]), author: nc.Author, meta: meta, body: nc.Change, still: still},
		recentLimit(d.m.recentBytes.Load(), open))))
	d.resize(open)
	pending.Then(func(err error) {
		if err != nil {
			if !errors.Is(err, ErrFailed) { // that has been said
				d.m.cfg.Logger.Error("commit lost", "db", d.name, "err", err)
			}
			d.fail()
		}
		d.m.feeds.wake(d.name)
		if d.m.leave(d) {
			go d.m.evict(d) // not here: others wait
		}
	})
	if d.wal.full() {
		if _, _, err := d.conn.Checkpoint(sqlite.CheckpointTruncate); err == nil {
			d.wal.restarted()
		}
	}
}
