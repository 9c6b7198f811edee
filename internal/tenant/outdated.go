package tenant

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/wire"
)

// outdated is metadata that the next commit drops, because no request can need
// it any more. It is found without the database's lock.
type outdated struct {
	batches []string // keys
	kept    uint64   // batches of the replica besides; known if counted
	counted bool
	strict  []string // keys
}

// Bounds of the work for one request.
const (
	tidyEvery = 256  // strict requests between two looks at old ones
	maxTidy   = 4096 // keys that one commit drops
)

// outdated looks for metadata to drop, now and then.
func (d *database) outdated(ctx context.Context, req *wire.Request, s *replicaState) (o outdated, err error) {
	keep := uint64(d.m.cfg.KeepPushes)
	if len(req.Changes) > 0 && s.batches >= keep+max(1, keep/4) {
		if err := o.findBatches(ctx, d, req, keep); err != nil {
			return o, err
		}
	}
	if req.Strict == nil {
		return o, nil
	}
	d.mu.Lock()
	due := d.untidy%tidyEvery == 0
	d.untidy++
	d.mu.Unlock()
	if due {
		err = o.findStrict(ctx, d)
	}
	return o, err
}

// findBatches finds the replica's oldest batches above the bound. Those that
// the replica has had no answer for stay, however many they are.
func (o *outdated) findBatches(ctx context.Context, d *database, req *wire.Request, keep uint64) error {
	var keys []string
	prefix, unanswered := batchPrefix(author(req.Replica)), batchKey(author(req.Replica), req.First)
	for m, err := range d.m.cfg.Store.Metas(ctx, d.id(), prefix, "") {
		if err != nil {
			return translate(err)
		}
		keys = append(keys, m.Key)
	}
	n := 0
	for n < len(keys) && n < maxTidy && uint64(len(keys)-n) > keep && keys[n] < unanswered {
		n++
	}
	o.batches, o.kept, o.counted = keys[:n], uint64(len(keys)-n), true
	return nil
}

// left returns how many batches of the replica are kept.
func (o *outdated) left(s *replicaState) uint64 {
	if o.counted {
		return o.kept
	}
	return s.batches
}

// drop adds the deletions to a commit. Batches are only dropped along with
// their new number.
func (o *outdated) drop(nc *history.NewCommit, pushed bool) {
	if nc.KV == nil {
		nc.KV = map[string][]byte{}
	}
	for _, k := range o.strict {
		nc.KV[k] = nil
	}
	if pushed {
		for _, k := range o.batches {
			nc.KV[k] = nil
		}
	}
}

// Strict transactions are found by their nonce, and for dropping them by their
// commit: under "s/" and its number, with nonce and time.
const strictOrder = "s/"

// keepStrict notes that a commit applies a strict transaction.
func (d *database) keepStrict(nc *history.NewCommit, nonce [16]byte) {
	if nc.KV == nil {
		nc.KV = map[string][]byte{}
	}
	nc.KV[strictKey(nonce)] = []byte{1}
	nc.KV[fmt.Sprintf("%s%016x", strictOrder, d.head.Seq+1)] = binary.BigEndian.AppendUint64(nonce[:], uint64(nc.Time.UnixMilli()))
}

// findStrict finds the strict transactions that are too old to come again: a
// client sends one again within a minute or so. Neither the number of commits
// nor the clock alone decides, since both may run fast.
func (o *outdated) findStrict(ctx context.Context, d *database) error {
	d.mu.Lock()
	head := d.head.Seq
	d.mu.Unlock()
	for m, err := range d.m.cfg.Store.Metas(ctx, d.id(), strictOrder, "") {
		if err != nil {
			return translate(err)
		}
		seq, err := strconv.ParseUint(m.Key[len(strictOrder):], 16, 64)
		if err != nil || len(m.Value) != 16+8 {
			return fmt.Errorf("tenant: %s: %w", m.Key, wire.ErrMalformed)
		}
		nonce, at := [16]byte(m.Value[:16]), time.UnixMilli(int64(binary.BigEndian.Uint64(m.Value[16:])))
		if seq+d.m.cfg.KeepStrictCommits > head || time.Since(at) < d.m.cfg.KeepStrict || len(o.strict) >= maxTidy {
			break
		}
		o.strict = append(o.strict, m.Key, strictKey(nonce))
	}
	return nil
}
