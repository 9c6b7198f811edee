package proof

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

// TestReplicasRacing lets all replicas write and sync at the same time, writes
// racing the pulls of the same file, over a bad network and a server that
// comes and goes.
func TestReplicasRacing(t *testing.T) {
	n := uint64(*flagRounds / 10_000)
	if n == 0 {
		t.Skip("can't be replayed: -proof.rounds=10000 or more, or -proof.soak")
	}
	seed := baseSeed()
	for i := range n {
		t.Run(fmt.Sprint(seed+i), func(t *testing.T) { race(t, seed+i, 2*time.Second) })
	}
}

func race(t *testing.T, seed uint64, d time.Duration) {
	w := newWorld(t, seed)
	w.begin()
	w.settle()
	w.racing = true
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for i, r := range w.reps {
		rng := rand.New(rand.NewPCG(seed, uint64(200+i)))
		var mu sync.Mutex
		r.proxy.chaos(func() fault {
			mu.Lock()
			defer mu.Unlock()
			if rng.IntN(3) > 0 {
				return fault{}
			}
			return randomFault(rng)
		})
		wg.Go(func() { w.keepSyncing(r, end) })
		if r.mode != agentdb.SyncPull {
			wg.Go(func() { w.keepWriting(r, end) })
		}
	}
	wg.Go(func() {
		for time.Now().Before(end) {
			time.Sleep(300 * time.Millisecond)
			w.restart(w.rng.IntN(2) == 0)
		}
	})
	wg.Wait()
	w.settle()
	w.check()
	t.Logf("%d rows inserted, %d conflicts", len(w.model.born), w.model.conflict)
}

func (w *world) keepWriting(r *replica, end time.Time) {
	for time.Now().Before(end) && !w.t.Failed() {
		w.transact(r, r.db)
		time.Sleep(2 * time.Millisecond)
	}
}

func (w *world) keepSyncing(r *replica, end time.Time) {
	for time.Now().Before(end) && !w.t.Failed() {
		rep, err := r.db.Sync(w.t.Context())
		w.note("%s Sync: %+v %v", r.name, rep, err)
		if err != nil {
			time.Sleep(time.Millisecond)
		}
	}
}
