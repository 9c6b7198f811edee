package tenant

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/wire"
)

// push executes a request's changes that are new, and appends what they did to
// the history as one commit. It fills in the answer's results, also of changes
// that were executed before, and returns the head that the answer speaks of,
// which need not be durable yet, and the first change that is new.
func (d *database) push(ctx context.Context, req *wire.Request, scope *Scope, resp *wire.Response) (head history.Head, fresh uint64, err error) {
	applied, err := d.strictApplied(ctx, req)
	if err != nil {
		return head, 0, err
	}
	s, err := d.loadReplica(ctx, req.Replica)
	if err != nil {
		return head, 0, err
	}
	p := executions.Get().(*execution)
	defer func() {
		*p = execution{}
		executions.Put(p)
	}()
	p.d, p.req, p.scope, p.since.me = d, req, scope, s.author
	if p.old, err = d.outdated(ctx, req, s); err != nil {
		return head, 0, err
	}
	p.since.want(req, s.last)
	for range maxCatchUps {
		if err = p.since.read(ctx, d); err != nil {
			return head, 0, err
		}
		head, fresh, err = p.push(ctx, s, applied, resp)
		if !errors.Is(err, errBehind) {
			return head, fresh, err
		}
	}
	return head, 0, ErrBusy
}

// maxCatchUps bounds how often a request reads the commits that came while it
// waited for the database.
const maxCatchUps = 100

// push is the part of the database's push under its lock. s is the replica's
// state as it was before, and applied whether its strict transaction was.
func (p *execution) push(ctx context.Context, s *replicaState, applied bool, resp *wire.Response) (head history.Head, fresh uint64, err error) {
	d, req := p.d, p.req
	if err := d.gate.lock(ctx, d.m.cfg.BusyTimeout); err != nil {
		return head, 0, err
	}
	defer d.gate.unlock()
	if err := guard(ctx); err != nil {
		return head, 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed.Load() || d.conn == nil {
		return head, 0, ErrBusy
	}
	s = d.replica(req.Replica, s)
	k, err := d.recognise(ctx, req, s)
	if err != nil {
		return head, 0, err
	}
	if k.fork != 0 || req.First > s.last+1 {
		return head, 0, ErrBusy // another request of the replica came in between
	}
	p.since.want(req, s.last)
	if err := p.since.finish(d); err != nil {
		return head, 0, err
	}
	fresh = req.First + uint64(k.dup)
	if k.dup < len(req.Changes) && fresh != s.last+1 {
		return head, 0, fmt.Errorf("%w: change %d of %s was executed, and is not known any more", ErrDiverged, fresh, req.Replica)
	}
	for id, ops := range k.results {
		if len(ops) > 0 {
			resp.Results = append(resp.Results, wire.Result{ID: id, Ops: ops})
		}
	}
	if applied = applied || req.Strict != nil && d.applied[req.Strict.Nonce]; applied {
		resp.Strict.Code = wire.StrictApplied
	}
	p.known, p.after, p.strict = k, s.last, req.Strict != nil && !applied
	if err := d.limitSize(); err != nil {
		return head, 0, err
	}
	executes := k.dup < len(req.Changes) || p.strict
	if executes {
		if _, err := p.commit(ctx, s); err != nil {
			return head, 0, err
		}
		resp.Results = append(resp.Results, p.results...)
		if p.strict {
			resp.Strict = p.strictResult
		}
	}
	resp.Last, resp.LastChain = s.last, s.chain
	if req.Mode&wire.ModeMoves != 0 {
		if executes && !p.same {
			p.since.did(&p.effects, fresh, s.last)
		}
		resp.Commits = p.since.moves(p.scope)
	}
	return d.head, fresh, nil
}

// execution is one request's changes on their way into a commit. The
// database's lock is held.
type execution struct {
	d      *database
	req    *wire.Request
	scope  *Scope
	known  *known
	since  since
	unseen unseen
	after  uint64 // the replica's last executed change
	old    outdated

	strict       bool // the strict transaction is to be executed
	strictResult wire.StrictResult
	strictEvents uint64 // of effects, the last
	results      []wire.Result
	final        []wire.Result // the same, with the ids of all inserted rows
	effects      change.Change
	merged       int    // changes in effects
	encoded      []byte // the effects of the last of them
	same         bool
	conflicts    int
	skip         map[opAt]string
	greedy       bool // the last operation in skip used up what all may
}

// executions are lent to requests.
var executions = sync.Pool{New: func() any { return new(execution) }}

// opAt is one operation of a request: strict ones have the id 0.
type opAt struct {
	id uint64
	op int
}

// transaction runs everything once. On error the caller rolls back.
func (p *execution) transaction() error {
	d := p.d
	p.results, p.final, p.effects, p.same, p.conflicts, p.strictEvents = nil, nil, change.Change{}, true, 0, 0
	p.merged = 0
	if err := d.conn.ExecArgs("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("tenant: %w", err)
	}
	if d.head.Seq == 0 {
		if err := d.conn.Exec(change.ConflictsSchema); err != nil {
			return fmt.Errorf("tenant: %w", err)
		}
	}
	if err := d.cap.Begin(); err != nil {
		return err
	}
	x := d.exec
	defer x.Reset()
	p.since.tell(x)
	if err := p.changes(x); err != nil {
		return err
	}
	if p.strict {
		if err := p.runStrict(x); err != nil {
			return err
		}
	}
	if err := d.conn.ExecArgs("COMMIT"); err != nil {
		return fmt.Errorf("tenant: commit: %w", err)
	}
	return nil
}

// changes runs the changes that are new, and tells the executor about those
// that were executed before.
func (p *execution) changes(x *change.Executor) error {
	dec := &p.d.dec
	dec.Reset()
	fresh := p.req.Changes[p.known.dup:]
	for i := range p.req.Changes[:p.known.dup] {
		c, err := dec.Decode(p.req.Changes[i].Body)
		if err != nil {
			return err
		}
		x.Seed(p.req.First+uint64(i), c, p.known.results[p.req.First+uint64(i)])
	}
	var only *change.Change // the first of one
	for i := range fresh {
		c, err := dec.Decode(fresh[i].Body)
		if err != nil {
			return err
		}
		x.Expect(c)
		if len(fresh) == 1 {
			only = c
		}
	}
	for i := range fresh {
		id := p.req.First + uint64(p.known.dup+i)
		if err := p.change(x, dec, id, &fresh[i], only); err != nil {
			return err
		}
	}
	return nil
}

// change runs one change, decoded or not, within a savepoint. If it leaves a foreign key
// violated at its end, it is refused as a whole.
func (p *execution) change(x *change.Executor, dec *change.Decoder, id uint64, w *wire.Change, c *change.Change) (err error) {
	for _, deferred := range []bool{false, true} {
		if c == nil || deferred { // running one rewrites its ids
			if c, err = dec.Decode(w.Body); err != nil {
				return err
			}
		}
		res, eff, violated, err := p.run(x, c, id, deferred)
		if err != nil {
			return err
		}
		if violated {
			before, err := dec.Decode(w.Body)
			if err != nil {
				return err
			}
			x.Back()
			x.TakeBack(before)
			continue
		}
		if len(res) > 0 {
			p.results = append(p.results, wire.Result{ID: id, Ops: res})
		}
		if final := c.FinalIDs(res); len(final) > 0 {
			p.final = append(p.final, wire.Result{ID: id, Ops: final})
		}
		var h uint64
		if eff != nil {
			h, p.encoded = eff.EffectsHash(p.encoded)
			p.merged++
			p.effects.Merge(eff)
		}
		if h != w.Effects || len(res) > 0 {
			p.same = false
		}
		return nil
	}
	return fmt.Errorf("tenant: change %d of %s violates a foreign key even when refused", id, p.req.Replica)
}

// run runs a change, or refuses all of it. violated means that it was undone.
func (p *execution) run(x *change.Executor, c *change.Change, id uint64, refuse bool) (res []wire.OpResult, eff *change.Change, violated bool, err error) {
	d := p.d
	// Where nothing can be violated there is nothing to go back to.
	nested := refuse || len(p.req.Changes)-p.known.dup != 1 || d.cap.MayViolate(c)
	if nested {
		if err := d.conn.ExecArgs("SAVEPOINT agentdb_change"); err != nil {
			return nil, nil, false, err
		}
	}
	before := p.conflicts
	x.Conflict = func(k *change.Conflict) error {
		if p.conflicts++; p.conflicts > d.m.cfg.MaxConflict {
			return fmt.Errorf("%w: more than %d conflicts in one request", ErrTooLarge, d.m.cfg.MaxConflict)
		}
		return k.Insert(d.conn, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), p.since.me, id)
	}
	x.Unknown = p.unknown
	for at, why := range p.skip {
		if at.id == id {
			x.Skip(at.op, why)
		}
	}
	if refuse {
		for i := range c.Intents() {
			x.Skip(i, "FOREIGN KEY constraint failed at the end of the transaction")
		}
	}
	if err = p.scope.pushes(c); err != nil {
		return nil, nil, false, err
	}
	if res, err = x.Run(c); err != nil {
		if errors.Is(err, change.ErrRolledBack) || errors.Is(err, change.ErrTooMuch) {
			p.skipOp(opAt{id, x.Op()}, x, err)
		}
		return nil, nil, false, err
	}
	if nested && !refuse {
		if violated, err = d.conn.DeferredFKs(); err != nil {
			return nil, nil, false, err
		}
		if violated {
			p.conflicts = before
			return nil, nil, true, d.abandon("agentdb_change")
		}
	}
	if err := p.keepCascaded(x.Conflict); err != nil {
		return nil, nil, false, err
	}
	if eff, err = d.cap.Finish(); err == nil {
		err = p.scope.wrote(eff, nil)
	}
	if err != nil {
		return nil, nil, false, err
	}
	if !nested {
		return res, eff, false, nil
	}
	return res, eff, false, d.conn.ExecArgs("RELEASE agentdb_change")
}

// abandon rolls back to a savepoint that was set after the capture's last
// Finish.
func (d *database) abandon(savepoint string) error {
	if err := d.conn.Exec("ROLLBACK TO " + savepoint + "; RELEASE " + savepoint); err != nil {
		return fmt.Errorf("tenant: roll back: %w", err)
	}
	return d.cap.Abandon()
}

// runStrict runs the strict transaction: all of it, unchanged, or nothing.
func (p *execution) runStrict(x *change.Executor) error {
	d := p.d
	c, err := (&change.Decoder{Budget: d.m.cfg.MaxDecoded}).Decode(p.req.Strict.Body)
	if err != nil {
		return err
	}
	if why, ok := p.skip[opAt{0, 0}]; ok {
		p.strictResult = wire.StrictResult{Code: wire.StrictRejected, Reason: why}
		return nil
	}
	if err := d.conn.Exec("SAVEPOINT agentdb_strict"); err != nil {
		return err
	}
	x.SetStrict(true)
	x.Unknown = p.unknown
	if err = p.scope.pushes(c); err == nil {
		_, err = x.Run(c)
	}
	if err == nil {
		var violated bool
		if violated, err = d.conn.DeferredFKs(); violated {
			err = fmt.Errorf("%w: FOREIGN KEY constraint failed", change.ErrStrict)
		}
	}
	switch {
	case err == nil:
		eff, err := d.cap.Finish()
		if err == nil {
			err = p.scope.wrote(eff, nil)
		}
		if err != nil {
			return err
		}
		if eff != nil {
			p.merged += 2 // not encoded
			p.effects.Merge(eff)
			p.strictEvents = uint64(eff.Effects())
		}
		p.same = false
		p.strictResult = wire.StrictResult{Code: wire.StrictApplied}
		return d.conn.Exec("RELEASE agentdb_strict")
	case errors.Is(err, change.ErrStrict):
		p.strictResult = wire.StrictResult{Code: wire.StrictRejected, Reason: err.Error()}
		return d.abandon("agentdb_strict")
	case errors.Is(err, change.ErrRolledBack), errors.Is(err, change.ErrTooMuch):
		p.skipOp(opAt{0, 0}, x, err)
	}
	return err
}

// append puts the committed transaction into the history. If that fails the
// file is ahead of the truth, and is thrown away.
func (p *execution) append(ctx context.Context, s *replicaState) (history.Head, error) {
	d := p.d
	fresh := p.req.Changes[p.known.dup:]
	nc, err := p.newCommit(fresh)
	if err == nil {
		next := &replicaState{last: p.after + uint64(len(fresh)), chain: p.known.chain, batches: s.batches, author: s.author}
		for i := range fresh {
			next.chain = wire.ChainNext(next.chain, fresh[i].Nonce)
		}
		if len(fresh) > 0 {
			b := p.batch(fresh)
			next.batches = p.old.left(s) + 1
			nc.KV = map[string][]byte{replicaKey(s.author): next.encode(), batchKey(s.author, next.last): b.encode()}
		}
		if p.strictResult.Code == wire.StrictApplied {
			if nc.KV == nil {
				nc.KV = map[string][]byte{}
			}
			d.keepStrict(nc, p.req.Strict.Nonce)
		}
		if len(nc.KV) == 0 && len(nc.Pages) == 0 {
			return d.head, nil // a refused strict transaction alone
		}
		p.old.drop(nc, len(fresh) > 0)
		var pending *history.Pending
		pending, err = d.m.cfg.Store.Append(ctx, d.id(), d.head, nc)
		d.wal.release()
		if err == nil {
			*s = *next
			d.replicas[p.req.Replica] = s
			if p.strictResult.Code == wire.StrictApplied {
				d.noteApplied(p.req.Strict.Nonce)
			}
			d.accepted(pending, nc, p.effects.Still())
			return d.head, nil
		}
	}
	d.fail()
	return history.Head{}, translate(err)
}

// newCommit describes the transaction for the history.
func (p *execution) newCommit(fresh []wire.Change) (*history.NewCommit, error) {
	d := p.d
	pages, size, err := d.wal.take()
	if err != nil {
		return nil, err
	}
	if size == 0 {
		size = d.head.DBSize
	}
	if size > d.m.cfg.MaxPages {
		return nil, fmt.Errorf("%w: the database would have %d pages, the limit is %d", ErrQuota, size, d.m.cfg.MaxPages)
	}
	meta := commitMeta{same: p.same, strict: p.strictEvents}
	if len(fresh) > 0 {
		meta.first = p.req.First + uint64(p.known.dup)
		meta.last = meta.first + uint64(len(fresh)) - 1
	}
	nc := &history.NewCommit{
		Time: time.Now(), Author: p.since.me, Meta: meta.append(nil), Pages: pages, DBSize: size,
	}
	switch {
	case len(p.effects.Events) == 0:
	case p.merged == 1:
		nc.Change = p.encoded
	default:
		nc.Change = p.effects.Append(nil, change.ViewEffects)
	}
	return nc, nil
}

// batch describes the new changes, to recognise them when they come again.
func (p *execution) batch(fresh []wire.Change) *batch {
	b := &batch{first: p.req.First + uint64(p.known.dup), before: p.known.chain, results: p.final}
	for i := range fresh {
		b.nonces = append(b.nonces, fresh[i].Nonce)
	}
	return b
}
