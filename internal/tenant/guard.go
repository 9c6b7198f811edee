package tenant

import (
	"context"
	"iter"

	"github.com/agentdb/agentdb/internal/history"
)

type guardKey struct{}

// WithGuard returns the context of a request that may have been allowed for long
// when it gets hold of its database, which may be gone by then, and its name
// another one's. check is called when the request has it, before anything is read
// or written there, and its error ends the request. It must be quick.
func WithGuard(ctx context.Context, check func() error) context.Context {
	return context.WithValue(ctx, guardKey{}, check)
}

// guard checks that a request is still allowed.
func guard(ctx context.Context) error {
	if check, _ := ctx.Value(guardKey{}).(func() error); check != nil {
		return check()
	}
	return nil
}

// pages yields pages of a database at a revision, like the Store's Pages, but not
// those of another database that has the name by now.
func (m *Manager) pages(ctx context.Context, id history.DBID, head history.Head, only ...uint32) iter.Seq2[history.Page, error] {
	return func(yield func(history.Page, error) bool) {
		same := false
		for p, err := range m.cfg.Store.Pages(ctx, id, head.Seq, only...) {
			if err == nil && !same {
				// A deleted database never comes back: if it has the name now, what
				// was opened before is it.
				var now history.Head
				if now, err = m.cfg.Store.At(ctx, id, head.Seq); err == nil && !now.Is(head) {
					err = history.ErrNotFound
				}
				same = true
			}
			if !yield(p, translate(err)) || err != nil {
				return
			}
		}
	}
}
