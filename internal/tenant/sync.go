package tenant

import (
	"context"
	"errors"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/wire"
)

// sync serves one request on an open database.
func (d *database) sync(ctx context.Context, req *wire.Request, scope *Scope) (*Answer, error) {
	resp, stop, err := d.recognised(ctx, req)
	if err != nil || stop {
		return &Answer{Response: resp}, err
	}
	head, fresh, err := d.push(ctx, req, scope, resp)
	if err != nil {
		return nil, err
	}
	if err := d.m.cfg.Store.WaitDurable(ctx, d.id(), head.Seq); err != nil {
		if errors.Is(err, history.ErrAborted) {
			d.fail()
		}
		return nil, translate(err)
	}
	resp.Head = revision(head)
	if req.Mode&(wire.ModePull|wire.ModeSnapshot) == 0 {
		return &Answer{Response: resp}, nil
	}
	return d.pull(ctx, req, resp, head, fresh)
}

// recognised answers what needs no execution: a replica that the server has
// lost something of, or a copied file. stop says that the answer is complete.
func (d *database) recognised(ctx context.Context, req *wire.Request) (resp *wire.Response, stop bool, err error) {
	resp = &wire.Response{}
	s, err := d.loadReplica(ctx, req.Replica)
	if err != nil {
		return nil, false, err
	}
	d.mu.Lock()
	s = d.replica(req.Replica, s)
	last, chain, head := s.last, s.chain, d.head
	d.mu.Unlock()
	resp.Last, resp.LastChain, resp.Head = last, chain, revision(head)
	if req.First > last+1 {
		resp.Status = wire.StatusBehind
		return resp, true, nil
	}
	if req.Base.Seq > 0 {
		ok, err := d.contains(ctx, req.Base, head)
		if err != nil {
			return nil, false, err
		}
		if !ok && (req.Mode&wire.ModePull == 0 || req.Mode&wire.ModeSnapshot != 0) {
			req.Base = wire.Revision{}
		} else if !ok {
			resp.Status = wire.StatusBehind
			return resp, true, nil
		}
	}
	k, err := d.recognise(ctx, req, &replicaState{last: last, chain: chain})
	if err != nil {
		return nil, false, err
	}
	if k.fork != 0 {
		resp.Status, resp.ForkAt = wire.StatusFork, k.fork
		return resp, true, nil
	}
	return resp, false, nil
}

// contains reports whether a revision is part of the history.
func (d *database) contains(ctx context.Context, base wire.Revision, head history.Head) (bool, error) {
	if base.Seq == 0 {
		return true, nil
	}
	if base.Seq > head.Seq {
		return false, nil
	}
	d.mu.Lock()
	hash, ok := d.recent.hash(base.Seq)
	if !ok && base.Seq == d.head.Seq {
		hash, ok = [8]byte(d.head.Hash[:]), true
	}
	d.mu.Unlock()
	if !ok {
		h, err := d.m.cfg.Store.At(ctx, d.id(), base.Seq)
		if errors.Is(err, history.ErrHorizon) {
			return true, nil // as far as anybody can tell; a snapshot follows
		}
		if errors.Is(err, history.ErrNoRevision) {
			return false, nil
		}
		if err != nil {
			return false, translate(err)
		}
		hash = [8]byte(h.Hash[:])
	}
	return hash == base.Hash, nil
}

// pull adds the commits since the request's base to the answer, or a snapshot.
// fresh is the first change that this request executed.
func (d *database) pull(ctx context.Context, req *wire.Request, resp *wire.Response, head history.Head, fresh uint64) (*Answer, error) {
	whole := req.Mode&wire.ModeSnapshot != 0
	if !whole || req.Base.Seq > 0 {
		commits, err := d.commitsSince(ctx, req.Base.Seq, head)
		switch {
		case errors.Is(err, errSnapshot):
			whole = true
		case err != nil:
			return nil, err
		default:
			resp.Commits = d.ship(req, commits, fresh)
		}
	}
	if !whole {
		return &Answer{Response: resp}, nil
	}
	// The commits go with a snapshot too, if they are not many: they say which
	// rows the replica's later changes mean.
	resp.Status, resp.Pages = wire.StatusSnapshot, head.DBSize
	d.m.stats.snapshots.Add(1)
	return &Answer{Response: resp, Pages: d.snapshot(ctx, head)}, nil
}

// errSnapshot says that a snapshot is the better answer.
var errSnapshot = errors.New("tenant: send a snapshot")

// snapshotFrom is the size of commits, in bytes, below which no snapshot is
// considered.
const snapshotFrom = 1 << 20

// commitsSince returns the commits after a revision, or errSnapshot if they are
// gone or larger than the database.
func (d *database) commitsSince(ctx context.Context, after uint64, head history.Head) ([]stored, error) {
	d.mu.Lock()
	list, ok := d.recent.since(after, d.head.Seq)
	list = list[:len(list):len(list)]
	d.mu.Unlock()
	if ok {
		for len(list) > 0 && list[len(list)-1].seq > head.Seq {
			list = list[:len(list)-1]
		}
		return list, nil
	}
	limit := max(snapshotFrom, int(head.DBSize)*history.PageSize/2)
	if err := d.weigh(ctx, after, head, limit); err != nil {
		return nil, err
	}
	known := commitsSize{after: after}
	list = nil
	for c, err := range d.m.cfg.Store.Commits(ctx, d.id(), after, head.Seq) {
		if err != nil {
			return nil, commitsErr(err)
		}
		s, err := fromHistory(c)
		if err != nil {
			return nil, err
		}
		if s.meta.whole {
			return nil, errSnapshot
		}
		known.upto = c.Seq
		if known.size += len(s.body); known.size > limit {
			d.noteSize(known)
			return nil, errSnapshot
		}
		list = append(list, s)
	}
	return list, nil
}

// commitsErr is the error of reading commits that may have been dropped.
func commitsErr(err error) error {
	if errors.Is(err, history.ErrHorizon) {
		return errSnapshot
	}
	return translate(err)
}

// commitsSize remembers that commits were too large to be sent, so that they
// are not read again to find that out.
type commitsSize struct {
	after, upto uint64
	size        int // bytes of the changes of those after and up to
}

func (d *database) noteSize(s commitsSize) {
	d.mu.Lock()
	d.large = s
	d.mu.Unlock()
}

// weigh returns errSnapshot if the commits after a revision are known to be
// larger than limit. If they were once, only later ones are read.
func (d *database) weigh(ctx context.Context, after uint64, head history.Head, limit int) error {
	d.mu.Lock()
	known := d.large
	d.mu.Unlock()
	if known.upto == 0 || after > known.after {
		return nil
	}
	if known.size > limit {
		return errSnapshot
	}
	for c, err := range d.m.cfg.Store.Commits(ctx, d.id(), known.upto, head.Seq) {
		if err != nil {
			return commitsErr(err)
		}
		s, err := fromHistory(c)
		if err != nil {
			return err
		}
		known.upto = c.Seq
		if known.size += len(s.body); known.size > limit {
			d.noteSize(known)
			return errSnapshot
		}
	}
	return nil
}

// ship turns stored commits into those of an answer. The replica has what this
// request executed with the same effects as there. What an earlier one did, it
// may have redone since.
func (d *database) ship(req *wire.Request, commits []stored, fresh uint64) []wire.Commit {
	me := author(req.Replica)
	end := req.First + uint64(len(req.Changes))
	out := make([]wire.Commit, 0, len(commits))
	bytes, rows := 0, 0
	for _, c := range commits {
		w := wire.Commit{Body: c.body}
		if c.author == me && c.meta.first != 0 {
			w.OwnFirst, w.OwnLast = c.meta.first, c.meta.last
			if c.meta.same && c.meta.first >= fresh && c.meta.last < end {
				w.Same, w.Body = true, nil
			}
			w.Strict = int(c.meta.strict)
		}
		if len(w.Body) == 0 && w.OwnLast == 0 {
			continue
		}
		bytes += len(w.Body)
		rows += change.Count(w.Body)
		out = append(out, w)
	}
	d.m.stats.pulledBytes.Add(uint64(bytes))
	d.m.meters.add(d.name, Usage{RowsRead: uint64(rows), BytesSynced: uint64(bytes)})
	return out
}
