package tenant

import (
	"context"
	"errors"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/turso"
)

// basis is what is known about the state that a push was made on.
type basis struct {
	// base is that state, or one before: the client has seen at least that.
	base  *past
	exact bool // it is that state
	// replays counts the statements at the beginning that the client has run
	// again after it pulled base. They were made on origin, or on a later state:
	// their ids mean what they meant there.
	replays int
	origin  *past
	// known are the ids that the pushes before have given out, as the replayed
	// statements know them; nil if there is nothing of that kind.
	known *tursoState
}

// stamped reads the basis from the push's stamp, if it has one of this history.
func (t *tursoRun) stamped(ctx context.Context) (bool, error) {
	s, ok := turso.ParseStamp(t.p.Gen)
	if !ok || s.Seq > t.d.head.Seq {
		return false, nil
	}
	at, err := t.d.m.cfg.Store.At(ctx, t.d.id(), s.Seq)
	if errors.Is(err, history.ErrHorizon) || errors.Is(err, history.ErrNoRevision) {
		return false, nil
	}
	if err != nil || revision(at).Hash[0] != s.Check {
		return false, translate(err)
	}
	t.base, t.exact = t.d.past(s.Seq), true
	t.unseen = unseenSince{d: t.d, me: t.author, after: s.Seq}
	if t.replays = t.countReplays(s); t.replays == 0 {
		return true, nil
	}
	last := t.before
	switch {
	case s.Back < turso.MaxBack && s.Back <= s.Seq:
		t.origin = t.d.past(s.Seq - s.Back)
		if last != nil && (!last.Based || last.Base != t.origin.seq) {
			last = nil // the client has pulled what it pushed, since
		}
	case last != nil && last.Based:
		t.origin = t.d.past(last.Base)
	default:
		if low, _, ok := t.d.m.pulls.bases(t.d.name, t.p.Client, 0); ok {
			t.origin = t.d.past(min(low, s.Seq))
		}
	}
	t.known = last.copy(0)
	return true, nil
}

// afterReplay is how many numbers a client skips between the changes that it
// has run again and the next one.
const afterReplay = 4

// countReplays returns how many of a push's statements the client has run again.
// It numbers all its changes from 1 after a pull, these first, then the others
// with a number for each COMMIT.
func (t *tursoRun) countReplays(s turso.Stamp) int {
	n := len(t.p.Writes)
	if t.before != nil && t.before.Gen == t.p.Gen || t.p.ChangeID < uint64(n) {
		return 0
	}
	skipped := int(min(t.p.ChangeID-uint64(n), 1<<30))
	if skipped < afterReplay {
		return n
	}
	most := n - (skipped - afterReplay + 1) // each of the others' transactions has one at least
	if most <= 0 {
		return 0
	}
	// The count of the stamp is too low if there are deletions among them.
	count := int(min(s.Replayed, uint64(most)))
	for i := range min(count+1, most) {
		if w := turso.ParseWrite(t.p.Writes[i].SQL); w.Op == turso.OpDelete {
			return most
		}
	}
	return count
}

// guess finds what the basis may be without a stamp: the file has not pulled
// since it was made, or nobody had ever pushed.
func (t *tursoRun) guess() {
	d, p := t.d, t.p
	low, first, ok := d.m.pulls.bases(d.name, p.Client, p.Gen)
	last := uint64(0)
	if s := t.before; s != nil {
		last = s.Gen
		if s.Based {
			// The pulls before the server's start are not known.
			if s.Gen == p.Gen || s.Boot != d.m.pulls.boot || !ok {
				low, ok = s.Base, true
			}
			first = s.Base
		}
	}
	t.unseen = unseenSince{d: d, me: t.author, after: low, many: !ok}
	if !ok {
		return
	}
	t.base, t.origin = d.past(low), d.past(min(first, low))
	if p.Gen == last+1 && p.ChangeID == uint64(len(p.Writes)) {
		t.replays, t.known = len(p.Writes), t.before.next(p.Gen-1)
	}
}
