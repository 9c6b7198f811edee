package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// TestLargeAppend lets small appends overtake large ones of other databases, but
// not of their own, and nothing that belongs to no database.
func TestLargeAppend(t *testing.T) {
	ctx := t.Context()
	p := openTest(t, Options{})
	for _, id := range []DBID{"first", "a", "b", "c"} {
		ok(t, p.Create(ctx, id))
	}
	hold := make(chan struct{})
	var calls atomic.Int32
	p.commit.mu.Lock() // the committer reads admit only after it took work
	p.commit.admit = func() error {
		if calls.Add(1) == 1 {
			<-hold
		}
		return nil
	}
	p.commit.mu.Unlock()
	var mu sync.Mutex
	var order []string
	var all []*Pending
	heads := map[DBID]Head{}
	add := func(id DBID, what string, size int) {
		t.Helper()
		body := make([]byte, size)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		if heads[id].Seq == 0 {
			heads[id] = must[Head](t)(p.Head(ctx, id))
		}
		next := must[*Pending](t)(p.Append(ctx, id, heads[id], &NewCommit{Change: body}))
		next.Then(func(error) {
			mu.Lock()
			order = append(order, what)
			mu.Unlock()
		})
		heads[id], all = next.Head(), append(all, next)
	}
	add("first", "first", 1)
	waitFor(t, func() bool { return calls.Load() == 1 })
	add("a", "large a", 5<<20)
	add("a", "after a", 1)
	add("b", "large b", 5<<20)
	add("c", "small c", 1)
	third := make(chan *Pending) // there are two places
	go func(head Head) {
		pending, _ := p.Append(ctx, "c", head, &NewCommit{Change: make([]byte, 5<<20)})
		third <- pending
	}(heads["c"])
	created := make(chan error)
	go func() { created <- p.Create(ctx, "d") }()
	waitFor(t, func() bool {
		p.commit.mu.Lock()
		defer p.commit.mu.Unlock()
		return p.commit.behind[nil] == 1 && p.commit.large == 2
	})
	add("first", "after all", 1)
	close(hold)
	for _, next := range append(all, <-third) {
		ok(t, next.Wait(ctx))
	}
	ok(t, <-created)
	if want := []string{"first", "small c", "large a", "after a", "large b", "after all"}; !slices.Equal(order, want) {
		t.Errorf("done in the order %q, want %q", order, want)
	}
	p.commit.mu.Lock()
	defer p.commit.mu.Unlock()
	if rest := fmt.Sprint(p.commit.late, p.commit.behind, p.commit.large, p.commit.queued); rest != "[] map[] 0 0" {
		t.Errorf("the committer is left with %s", rest)
	}
}
