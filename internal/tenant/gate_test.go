package tenant

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestGateIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		if err := g.lock(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []int
		for i := range 5 {
			go func() {
				if err := g.lock(t.Context(), time.Minute); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				g.unlock()
			}()
			synctest.Wait()
		}
		g.unlock()
		synctest.Wait()
		for i, n := range order {
			if i != n {
				t.Fatalf("served in the order %v", order)
			}
		}
		if g.held || len(order) != 5 {
			t.Fatalf("held %v after %v", g.held, order)
		}
	})
}

func TestGateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		if err := g.lock(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		if err := g.lock(t.Context(), time.Second); !errors.Is(err, ErrBusy) {
			t.Errorf("waited too long: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.lock(ctx, time.Second); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		g.unlock()
		if err := g.lock(t.Context(), time.Second); err != nil || g.queue.Len() != 0 {
			t.Errorf("after both gave up: %v, %d wait", err, g.queue.Len())
		}
	})
}
