package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// Bounds of a sync.
const (
	maxRequest = 8 << 20 // bytes of changes in one request
	maxRounds  = 10_000  // requests in one sync
	maxStale   = 1000    // answers in a row that another sync had overtaken
)

// Sync exchanges changes with the server, as the mode and the arguments allow.
// It sends everything that is pending, in as many requests as that takes:
// normally one.
func (r *Replica) Sync(ctx context.Context, push, pull bool) (Report, error) {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	rep, _, err := r.run(ctx, options{push: push, pull: pull})
	return rep, err
}

// Poll waits for news from the server, for at most a while, and applies them.
func (r *Replica) Poll(ctx context.Context, wait time.Duration) (moved bool, err error) {
	rep, _, err := r.run(ctx, options{pull: true, wait: wait})
	return rep.Pulled > 0 || rep.Diverged != "", err
}

// SyncStrict sends a captured transaction that counts only if the server takes
// it unchanged, after everything that is pending. It returns ErrRejected,
// with the file up to date, if it does not.
func (r *Replica) SyncStrict(ctx context.Context, ch *change.Change) error {
	s := &wire.Strict{Body: ch.Append(nil, change.ViewStrict)}
	id := newReplicaID()
	s.Nonce = id
	r.syncing.Lock()
	defer r.syncing.Unlock()
	for attempt := 0; ; attempt++ {
		_, res, err := r.run(ctx, options{push: true, pull: true, strict: s})
		switch {
		case errors.Is(err, ErrOffline) && attempt < 3:
			// The request may have arrived: its nonce keeps a second one from
			// being applied twice.
			if pause(ctx, attempt, time.Second) != nil {
				return err
			}
		case err != nil:
			return err
		case res.Code == wire.StrictRejected:
			return fmt.Errorf("%w: %s", ErrRejected, res.Reason)
		default:
			return nil
		}
	}
}

// options are what one sync wants.
type options struct {
	push, pull bool
	wait       time.Duration
	strict     *wire.Strict
	snapshot   bool   // whatever the base is
	upTo       uint64 // 0, or the last change to send
	drop       *dropping
}

// outcome says how a sync goes on after an answer.
type outcome uint8

const (
	done     outcome = iota
	again            // there is more, or the file moved meanwhile
	snapshot         // the changes can't be undone: ask for a snapshot
)

// run exchanges requests until nothing is left to do.
func (r *Replica) run(ctx context.Context, o options) (rep Report, strict wire.StrictResult, err error) {
	o.push = o.push && r.cfg.Mode != PullOnly
	o.pull = o.pull && r.cfg.Mode != PushOnly
	defer func() { r.noteSync(&rep, err) }()
	stale, goal := 0, uint64(0)
	for range maxRounds {
		if err := ctx.Err(); err != nil {
			return rep, strict, fmt.Errorf("sync: %w", context.Cause(ctx))
		}
		x, err := r.gather(&o, &rep)
		if err != nil {
			return rep, strict, fmt.Errorf("sync: %w", err)
		}
		if goal == 0 && len(x.sent) > 0 {
			goal = x.have[len(x.have)-1].id
		}
		if x.unnoted {
			if err := x.foreignSchema(ctx); err != nil {
				return rep, strict, fmt.Errorf("sync: %w", err)
			}
			continue
		}
		next, err := x.exchange(ctx)
		if errors.Is(err, errLess) {
			continue
		}
		if err != nil {
			return rep, strict, err
		}
		if x.strict.Code != wire.StrictNone {
			strict, o.strict = x.strict, nil
		}
		switch next {
		case done:
			if o.strict == nil {
				return rep, strict, nil
			}
		case snapshot:
			o.snapshot = true
			continue
		}
		if x.stale {
			if x.overtaken(goal) {
				rep.Revision = x.head.Seq
				return rep, strict, nil
			}
			if stale++; stale > maxStale {
				return rep, strict, errors.New("sync: the file keeps moving under another sync")
			}
			if err := pause(ctx, stale, maxYield); err != nil {
				return rep, strict, fmt.Errorf("sync: %w", err)
			}
			continue
		}
		stale, o.snapshot, o.wait = 0, false, 0
		if x.upTo == o.upTo {
			o.upTo = 0
		}
	}
	return rep, strict, errors.New("sync: too many requests without an end")
}

// maxYield bounds the pause before a sync that was overtaken tries again.
const maxYield = 20 * time.Millisecond

// overtaken reports whether another sync of the file has done all that this one
// was to do, which includes the change numbered goal: its answer was the newer.
func (x *exchange) overtaken(goal uint64) bool {
	switch {
	case x.now == nil || x.now.replica != x.s.replica || x.o.strict != nil || x.o.drop != nil || x.o.snapshot || x.more:
		return false
	case x.o.push && x.now.acked < goal:
		return false
	}
	return !x.o.pull || x.now.base == x.head || x.now.base.Seq > x.head.Seq
}

// exchange is one request and what follows from its answer.
type exchange struct {
	r    *Replica
	o    *options
	rep  *Report
	s    *state
	sent []pending
	have []pending // ids and chain hashes of all that is pending
	more bool      // pending changes that were not sent
	// unnoted says that the schema is not the one that the file's note has.
	unnoted bool
	upTo    uint64

	strict  wire.StrictResult
	stale   bool          // the file had moved; nothing was done
	now     *state        // where it was then
	head    wire.Revision // the answer's
	inPlace bool          // renumber rows without undoing
	publish []RowChange
}

// gather reads what there is to send.
func (r *Replica) gather(o *options, rep *Report) (*exchange, error) {
	c, err := sqlite.Open(r.cfg.Path, sqlite.Options{NoCreate: true, BusyTimeout: 30 * time.Second, Synchronous: r.cfg.Synchronous})
	if err != nil {
		return nil, err
	}
	x := &exchange{r: r, o: o, rep: rep, upTo: o.upTo}
	err = func() error {
		if err := c.Exec("BEGIN"); err != nil {
			return err
		}
		if x.s, err = readState(c); err != nil {
			return err
		}
		noted, err := schemaNoted(c)
		if x.unnoted = !noted; err != nil || x.unnoted {
			return err
		}
		if x.have, err = readChain(c, x.s.acked); err != nil || !o.push {
			return err
		}
		x.sent, x.more, err = readPending(c, x.s.acked, maxRequest)
		return err
	}()
	if err = errors.Join(err, c.Close()); err != nil {
		return nil, err
	}
	if o.upTo != 0 {
		for i := range x.sent {
			if x.sent[i].id > o.upTo {
				x.sent, x.more = x.sent[:i], true
				break
			}
		}
	}
	return x, nil
}

// request makes the request.
func (x *exchange) request() (*wire.Request, error) {
	req := &wire.Request{Replica: x.s.replica, First: x.s.acked + 1, Chain: x.s.chain}
	if x.o.pull {
		req.Mode = wire.ModePull
		req.Base = x.s.base
		if x.o.snapshot || x.s.base == lostBase || x.s.mode == PushOnly {
			req.Mode |= wire.ModeSnapshot
		}
	} else {
		req.Mode, req.Base = wire.ModeMoves, x.s.base
	}
	if x.s.base == lostBase {
		req.Base = wire.Revision{}
	}
	if !x.more && x.upTo == 0 {
		req.Strict = x.o.strict
	}
	if len(x.sent) == 0 && req.Strict == nil {
		req.WaitMS = uint32(x.o.wait.Milliseconds())
	}
	var dec change.Decoder
	var scratch []byte
	for i := range x.sent {
		p := &x.sent[i]
		ch, err := dec.Decode(p.blob)
		if err != nil {
			return nil, fmt.Errorf("sync: pending change %d: %w", p.id, err)
		}
		w := wire.Change{Nonce: p.nonce, Body: ch.Append(nil, change.ViewIntents)}
		if ch.HasEffects() {
			w.Effects, scratch = ch.EffectsHash(scratch)
		}
		req.Changes = append(req.Changes, w)
	}
	return req, nil
}

func (x *exchange) exchange(ctx context.Context) (outcome, error) {
	req, err := x.request()
	if err != nil {
		return done, err
	}
	a, err := x.r.post(ctx, req, x.rep)
	if errors.Is(err, errTooMuch) {
		return done, x.tooMuch(req, err)
	}
	if err != nil {
		return done, err
	}
	defer a.close()
	var next outcome
	switch a.Status {
	case wire.StatusFork:
		next, err = x.forked(ctx, a.Response)
	case wire.StatusBehind:
		next, err = x.behind(ctx, a.Response)
	case wire.StatusSnapshot:
		next, err = x.install(ctx, a)
	default:
		next, err = x.settle(ctx, a.Response)
	}
	if err != nil {
		return done, fmt.Errorf("sync: %w", err)
	}
	if x.stale {
		return again, nil
	}
	x.strict = a.Strict
	x.r.watch.publish(x.publish)
	if next == done && x.more {
		next = again
	}
	return next, nil
}

// acked returns the last change that an answer acknowledges, with the chain
// hash there. It may be one that an earlier request sent, without getting an
// answer. The chain is compared: a server may know the same ids, under the same
// replica id, from another copy of the file.
func (x *exchange) acked(resp *wire.Response) (id, chain uint64) {
	for i := range x.have {
		if x.have[i].id == resp.Last && x.have[i].chain == resp.LastChain {
			return resp.Last, resp.LastChain
		}
	}
	id, chain = x.s.acked, x.s.chain
	for i := range x.sent { // a copy's later changes: those sent were recognised
		if x.sent[i].id <= resp.Last {
			id, chain = x.sent[i].id, x.sent[i].chain
		}
	}
	return id, chain
}

// trivial reports whether the file is already what the answer describes: all
// commits are the file's own and had the same effects here.
func (x *exchange) trivial(resp *wire.Response, acked uint64) bool {
	if len(resp.Results) > 0 {
		return false
	}
	for i := range resp.Commits {
		c := &resp.Commits[i]
		if !c.Same || c.OwnFirst <= x.s.acked || c.OwnLast > acked {
			return false
		}
	}
	return true
}

// settle applies an answer with commits.
func (x *exchange) settle(ctx context.Context, resp *wire.Response) (next outcome, err error) {
	if len(x.sent) == 0 && x.o.drop == nil && (resp.Head == x.s.base || !x.o.pull && len(resp.Commits) == 0) {
		x.rep.Revision = resp.Head.Seq
		return done, nil // nothing new: the file needs no write
	}
	var acked uint64
	for skip := (skips{}); ; {
		err = x.r.locked(ctx, func(c *sqlite.Conn, k *change.Capture) error {
			acked, next, err = x.follow(c, k, resp, skip)
			return err
		})
		if !errors.Is(err, change.ErrRolledBack) {
			break
		}
		x.publish = nil
	}
	if errors.Is(err, change.ErrDiverged) {
		if !x.o.pull && !x.inPlace {
			// There is no other state to go on from: what can't be undone
			// stays, and gets its ids where it is.
			x.inPlace = true
			return x.settle(ctx, resp)
		}
		return x.diverged(ctx, err)
	}
	if err != nil || x.stale || next != done {
		return next, err
	}
	x.rep.Revision = resp.Head.Seq
	x.count(resp, acked)
	return done, nil
}

// follow takes the file to the answer's state, in the caller's transaction.
func (x *exchange) follow(c *sqlite.Conn, k *change.Capture, resp *wire.Response, skip skips) (acked uint64, next outcome, err error) {
	cur, err := readState(c)
	if err != nil {
		return 0, done, err
	}
	if x.stale = !cur.same(x.s); x.stale {
		x.now, x.head = cur, resp.Head
		return 0, done, nil
	}
	// So may other programs have changed the schema, while the answer was on its way.
	noted, err := schemaNoted(c)
	if x.stale = !noted; err != nil || x.stale {
		return 0, done, err
	}
	// Changes may have been made since, and even sent by another sync.
	if x.have, err = readChain(c, cur.acked); err != nil {
		return 0, done, err
	}
	to := *cur
	to.acked, to.chain = x.acked(resp)
	drops := x.dropsAny(to.acked)
	switch {
	case x.o.pull && (drops || !x.trivial(resp, to.acked)):
		next, err = x.rebase(c, k, resp, to.acked, skip)
	case !x.o.pull && (drops || len(resp.Results) > 0 || len(resp.Commits) > 0):
		next, err = x.renumber(c, k, resp, to.acked, skip)
	}
	if err != nil || next != done {
		return 0, next, err
	}
	to.base = resp.Head
	if !x.o.pull {
		to.mode = PushOnly // the base is only what the ids in the file refer to
	}
	if err := to.write(c); err != nil {
		return 0, done, err
	}
	if err := noteSchema(c); err != nil {
		return 0, done, err
	}
	return to.acked, done, prune(c, to.acked)
}

// count adds to the report what an answer acknowledges.
func (x *exchange) count(resp *wire.Response, acked uint64) {
	x.rep.Pushed += int(acked - x.s.acked)
	for _, res := range resp.Results {
		for _, op := range res.Ops {
			if op.Code == wire.OpMerged || op.Code == wire.OpRejected {
				x.rep.Conflicts++
			}
		}
	}
}
