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
	// others are later states that it may be as well.
	others []uint64
	// replays counts the statements at the beginning that the client has run
	// again after it pulled base. They were made on origin, or on a later state:
	// their ids mean what they meant there.
	replays int
	origin  *past
	origins []uint64 // later states that origin may be as well
	again   bool     // the client has run some of them again before
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
		t.origin, t.origins = t.d.past(last.Base), last.Others
	default:
		if err := t.d.m.loadFiles(ctx, t.d.name); err != nil {
			return false, err
		}
		if list, _ := t.d.m.pulls.bases(t.d.name, t.p.Client, 0); len(list) > 0 {
			t.origin, t.origins = t.d.past(min(list[0], s.Seq)), few(list[1:])
		}
	}
	t.known, t.again = last.copy(0), s.Again
	t.unseenBy = unseenSince{d: t.d, me: t.author, many: t.origin == nil}
	if t.origin != nil {
		t.unseenBy.after = t.origin.seq
	}
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
// since it was made, or nobody had pushed when it pulled.
func (t *tursoRun) guess(ctx context.Context) error {
	d, p := t.d, t.p
	if err := d.m.loadFiles(ctx, d.name); err != nil {
		return err
	}
	list, first := d.m.pulls.bases(d.name, p.Client, p.Gen)
	last := uint64(0)
	if s := t.before; s != nil {
		last = s.Gen
		if s.Based {
			// What was pulled before the server's start is known in part.
			if s.Gen == p.Gen || s.Boot != d.m.pulls.boot || len(list) == 0 {
				list = append([]uint64{s.Base}, s.Others...)
			}
			first = s.Base
		}
	}
	t.unseen = unseenSince{d: d, me: t.author, many: len(list) == 0}
	if len(list) == 0 {
		return nil
	}
	t.unseen.after = list[0]
	t.base, t.others = d.past(list[0]), few(list[1:])
	t.origin, t.origins = d.past(min(first, list[0])), t.others
	if p.Gen == last+1 && p.ChangeID == uint64(len(p.Writes)) {
		t.replays, t.known = len(p.Writes), t.before.next(p.Gen-1)
	}
	return nil
}

// maxOthers bounds what is kept of the states that a client may be in.
const maxOthers = 8

// few returns some of the states, the highest among them.
func few(list []uint64) []uint64 {
	if len(list) > maxOthers {
		list = append(list[:maxOthers-1:maxOthers-1], list[len(list)-1])
	}
	return list
}
