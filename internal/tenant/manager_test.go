package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// TestManagerUnderPressure pushes to more databases than may be open, while
// others poll, leave early, and delete databases: every acknowledged row is
// there, and everything ends.
func TestManagerUnderPressure(t *testing.T) {
	m := newManager(t, tenant.Config{MaxOpen: 2, MaxCached: 2, IdleClose: 4 * time.Millisecond})
	cs := captured(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t(v) VALUES('x')")
	const dbs, pushers, rounds = 5, 8, 15
	acknowledged := make([]int, dbs)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for a := range pushers {
		wg.Go(func() {
			n := a % dbs
			id := wire.ReplicaID{byte(a + 1)}
			first, chain := uint64(1), uint64(0)
			for i := range rounds {
				req := &wire.Request{Replica: id, First: first, Chain: chain}
				if first == 1 {
					req.Changes = append(req.Changes, cs[0])
				}
				ins := cs[1]
				ins.Nonce = uint64(i + 10)
				req.Changes = append(req.Changes, ins)
				ans, err := m.Sync(t.Context(), fmt.Sprint("db", n), tenant.AccessFull, true, req)
				if errors.Is(err, tenant.ErrBusy) {
					continue
				}
				if err != nil || ans.Response.Status != wire.StatusOK {
					t.Errorf("push: %+v, %v", ans, err)
					return
				}
				first, chain = ans.Response.Last+1, ans.Response.LastChain
				mu.Lock()
				acknowledged[n]++
				mu.Unlock()
			}
		})
	}
	for a := range 4 {
		wg.Go(func() {
			for i := range rounds {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%4)*time.Millisecond)
				_, _ = m.Sync(ctx, fmt.Sprint("db", (a+i)%dbs), tenant.AccessFull, false, &wire.Request{Mode: wire.ModePull, WaitMS: 5})
				cancel()
				name := fmt.Sprint("gone", a)
				_, _ = m.Sync(t.Context(), name, tenant.AccessFull, true, &wire.Request{Replica: wire.ReplicaID{99}, First: 1, Changes: cs[:1]})
				if err := m.Delete(t.Context(), name); err != nil && !errors.Is(err, tenant.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for n, rows := range acknowledged {
		if got := countInserts(t, m, fmt.Sprint("db", n)); got != rows {
			t.Errorf("database %d has %d rows, %d were acknowledged", n, got, rows)
		}
	}
}

// countInserts counts the rows that a database's commits inserted into t.
func countInserts(t *testing.T, m *tenant.Manager, name string) int {
	t.Helper()
	ans, err := m.Sync(t.Context(), name, tenant.AccessFull, false, &wire.Request{Mode: wire.ModePull})
	if err != nil || ans.Response.Status != wire.StatusOK {
		t.Fatal(err)
	}
	n := 0
	for _, c := range ans.Response.Commits {
		if len(c.Body) == 0 {
			continue
		}
		ch, err := change.Decode(c.Body)
		if err != nil {
			t.Fatal(err)
		}
		for i := range ch.Events {
			if e := &ch.Events[i]; e.Op == change.OpInsert && e.Table.Name == "t" {
				n++
			}
		}
	}
	return n
}
