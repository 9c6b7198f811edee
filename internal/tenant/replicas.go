package tenant

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/wire"
)

// replicaState is what the history's metadata says about a replica, under
// "r/" and its id: the last change that was executed, the chain hash there, and
// how many batches are kept. It stays for as long as the database: without it a
// file would take the server for one that was restored.
type replicaState struct {
	last    uint64
	chain   uint64
	batches uint64
	author  string // the replica's id; not in the metadata
}

// batch is what the metadata keeps of one push, under "b/", the replica's id
// and the number of its last change: enough to recognise the changes when they
// are sent again, and to repeat what became of them.
type batch struct {
	first   uint64
	before  uint64   // chain hash before first
	nonces  []uint64 // of first and the following changes
	results []wire.Result
}

func replicaKey(author string) string { return "r/" + author }

func batchPrefix(author string) string { return "b/" + author + "/" }

func batchKey(author string, last uint64) string {
	var be [8]byte
	binary.BigEndian.PutUint64(be[:], last)
	b := make([]byte, 0, 64)
	b = append(append(append(b, "b/"...), author...), '/')
	return string(hex.AppendEncode(b, be[:]))
}

func strictKey(nonce [16]byte) string { return fmt.Sprintf("x/%x", nonce) }

func (s *replicaState) encode() []byte {
	b := binary.AppendUvarint(make([]byte, 0, 24), s.last)
	b = binary.LittleEndian.AppendUint64(b, s.chain)
	return binary.AppendUvarint(b, s.batches)
}

func (b *batch) encode() []byte {
	out := binary.AppendUvarint(make([]byte, 0, 32+8*len(b.nonces)), b.first)
	out = binary.LittleEndian.AppendUint64(out, b.before)
	out = binary.AppendUvarint(out, uint64(len(b.nonces)))
	for _, n := range b.nonces {
		out = binary.LittleEndian.AppendUint64(out, n)
	}
	return wire.AppendResults(out, b.results)
}

func decodeReplica(v []byte) (*replicaState, error) {
	r := wire.NewReader(v)
	s := &replicaState{last: r.Uvarint(), chain: r.Uint64(), batches: r.Uvarint()}
	return s, r.End()
}

func decodeBatch(v []byte) (*batch, error) {
	r := wire.NewReader(v)
	b := &batch{first: r.Uvarint(), before: r.Uint64()}
	b.nonces = make([]uint64, r.Count(8))
	for i := range b.nonces {
		b.nonces[i] = r.Uint64()
	}
	b.results = r.Results()
	return b, r.End()
}

// loadReplica reads a replica's state. Only requests of that replica change
// it, so it is read before the database's lock is taken: the read waits for
// commits that are not durable yet.
func (d *database) loadReplica(ctx context.Context, id wire.ReplicaID) (*replicaState, error) {
	d.mu.Lock()
	if s := d.replicas[id]; s != nil {
		now := *s
		d.mu.Unlock()
		return &now, nil
	}
	d.mu.Unlock()
	v, err := d.m.cfg.Store.GetMeta(ctx, d.id(), replicaKey(author(id)))
	if errors.Is(err, history.ErrNoMeta) {
		return &replicaState{author: author(id)}, nil
	}
	if err != nil {
		return nil, translate(err)
	}
	s, err := decodeReplica(v)
	if err == nil {
		s.author = author(id)
	}
	return s, err
}

// replica returns a replica's state under the lock. loaded is what loadReplica
// found, and stands unless another request of the replica came in between.
func (d *database) replica(id wire.ReplicaID, loaded *replicaState) *replicaState {
	if s := d.replicas[id]; s != nil {
		return s
	}
	return loaded
}

// known is what the server has of a request's changes already.
type known struct {
	fork    uint64 // not 0: the first change that differs
	dup     int    // so many of the request's first changes are executed
	results map[uint64][]wire.OpResult
	chain   uint64 // hash at the change before the first new one
}

// recognise compares the request's changes with those that were executed under
// the same ids. What can't be compared any more, because the file was restored
// from a very old backup, is taken for a copy's.
func (d *database) recognise(ctx context.Context, req *wire.Request, s *replicaState) (*known, error) {
	k := &known{chain: req.Chain}
	if req.First > s.last {
		if req.First == s.last+1 && req.Chain != s.chain {
			k.fork = req.First
		}
		return k, nil
	}
	k.results = map[uint64][]wire.OpResult{}
	have, err := d.executed(ctx, author(req.Replica), req.First, s.last)
	if err != nil {
		return nil, err
	}
	c, ok := have.chain[req.First-1]
	if ok && c != req.Chain || !ok && len(req.Changes) > 0 {
		k.fork = req.First // another file's, or not known any more
		return k, nil
	}
	chain := req.Chain
	for i := range req.Changes {
		id := req.First + uint64(i)
		chain = wire.ChainNext(chain, req.Changes[i].Nonce)
		c, ok := have.chain[id]
		if !ok {
			break
		}
		if c != chain {
			k.fork = id
			return k, nil
		}
		k.dup, k.chain = i+1, chain
	}
	for id, ops := range have.results {
		if id >= req.First {
			k.results[id] = ops
		}
	}
	return k, nil
}

// executedChanges are chain hashes and results by change id.
type executedChanges struct {
	chain   map[uint64]uint64
	results map[uint64][]wire.OpResult
}

// executed reads what is kept about the changes from first to last.
func (d *database) executed(ctx context.Context, author string, first, last uint64) (*executedChanges, error) {
	e := &executedChanges{chain: map[uint64]uint64{}, results: map[uint64][]wire.OpResult{}}
	for m, err := range d.m.cfg.Store.Metas(ctx, d.id(), batchPrefix(author), batchKey(author, first)) {
		if err != nil {
			return nil, translate(err)
		}
		b, err := decodeBatch(m.Value)
		if err != nil {
			return nil, fmt.Errorf("tenant: %s: %w", m.Key, err)
		}
		if b.first > last {
			break
		}
		chain := b.before
		e.chain[b.first-1] = chain
		for i, n := range b.nonces {
			chain = wire.ChainNext(chain, n)
			e.chain[b.first+uint64(i)] = chain
		}
		for _, r := range b.results {
			e.results[r.ID] = r.Ops
		}
	}
	return e, nil
}

// strictApplied reports whether the request's strict transaction was applied
// before and only its answer was lost.
func (d *database) strictApplied(ctx context.Context, req *wire.Request) (bool, error) {
	if req.Strict == nil {
		return false, nil
	}
	_, err := d.m.cfg.Store.GetMeta(ctx, d.id(), strictKey(req.Strict.Nonce))
	if errors.Is(err, history.ErrNoMeta) {
		return false, nil
	}
	return err == nil, translate(err)
}

// maxApplied bounds the strict transactions that are remembered in memory.
const maxApplied = 10_000

// noteApplied remembers a strict transaction for requests that looked for it in
// the history before it was there. The lock is held.
func (d *database) noteApplied(nonce [16]byte) {
	if len(d.applied) >= maxApplied || d.applied == nil {
		d.applied = map[[16]byte]bool{}
	}
	d.applied[nonce] = true
}
