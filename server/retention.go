package server

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/agentdb/agentdb/internal/platform"
	"github.com/agentdb/agentdb/internal/tenant"
)

// retentionShare is how much of the time dropping old revisions may take, as
// one part in so many.
const retentionShare = 10

// retain drops what is older than the retention of all databases, again and
// again, until ctx ends.
func retain(ctx context.Context, m *tenant.Manager, keep time.Duration, log *slog.Logger) {
	var clock platform.Clock
	every := min(max(keep/20, time.Second), time.Hour)
	for {
		now := time.Now()
		trust, jumped := clock.Trust(now, now)
		if jumped {
			log.Warn("the clock has jumped ahead: old revisions are kept for a while")
		}
		if trust {
			if err := retainOnce(ctx, m, keep); err != nil && ctx.Err() == nil {
				log.Error("drop old revisions", "err", err)
			}
		}
		if !pause(ctx, every) {
			return
		}
	}
}

// retainOnce looks at all databases. One that fails doesn't keep the others; the
// first error is returned.
func retainOnce(ctx context.Context, m *tenant.Manager, keep time.Duration) error {
	var failed error
	after := ""
	for {
		names, err := m.List(ctx, after, 256)
		if err != nil || len(names) == 0 {
			return cmp.Or(failed, err)
		}
		for _, name := range names {
			began := time.Now()
			if err := m.Retain(ctx, name, began.Add(-keep)); err != nil && failed == nil {
				failed = fmt.Errorf("%s: %w", name, err)
			}
			if ctx.Err() != nil {
				return failed
			}
			if took := time.Since(began); took > time.Millisecond && !pause(ctx, (retentionShare-1)*took) {
				return nil
			}
		}
		after = names[len(names)-1]
	}
}

// pause waits, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
