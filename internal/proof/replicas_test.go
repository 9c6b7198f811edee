package proof

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

// sequence is how many rounds are played on one schema.
const sequence = 100

// TestReplicas plays random rounds: transactions and changes of the schema at
// replicas that are offline, syncs in any order, faults of the network, a
// server that is stopped. One goroutine does it all, so that a seed repeats it.
func TestReplicas(t *testing.T) {
	seed := baseSeed()
	t.Logf("seed %d", seed)
	for i := range uint64(max(1, *flagRounds/sequence)) {
		t.Run(fmt.Sprint(seed+i), func(t *testing.T) { play(t, seed+i, sequence) })
		if t.Failed() {
			return
		}
	}
}

// TestSoak does the same with new seeds until its time is over.
func TestSoak(t *testing.T) {
	if *flagSoak == 0 {
		t.Skip("needs -proof.soak")
	}
	end := time.Now().Add(*flagSoak)
	for seed := baseSeed(); time.Now().Before(end) && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { play(t, seed, 4*sequence) })
		t.Run(fmt.Sprintf("racing/%d", seed), func(t *testing.T) { race(t, seed, 10*time.Second) })
	}
}

// play is one sequence.
func play(t *testing.T, seed uint64, rounds int) {
	w := newWorld(t, seed)
	w.begin()
	skip := strings.Split(*flagSkip, ",")
	for i := range rounds {
		if !slices.Contains(skip, fmt.Sprint(i)) {
			w.note("round %d", i)
			w.round(i)
		}
		if t.Failed() {
			return
		}
		if (i+1)%50 == 0 || i == rounds-1 {
			w.settle()
			w.check()
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d rows inserted, %d transactions pushed, %d conflicts, refused: %v", len(w.model.born), w.model.pushed, w.model.conflict, w.refused)
}

// round is one step of one replica.
func (w *world) round(i int) {
	w.rng = rand.New(rand.NewPCG(w.seed, uint64(1000+i))) // no round depends on those that were left out
	r := pick(w.rng, w.reps)
	r.actor.rng = rand.New(rand.NewPCG(w.seed, uint64(1_000_000+i)))
	r.proxy.chaos(w.faults(i))
	n := w.rng.IntN(100)
	if strings.Contains(*flagWithout, "ddl") && n >= 80 && n < 91 || strings.Contains(*flagWithout, "second") && n >= 94 && n < 97 {
		return
	}
	switch {
	case n < 45:
		w.write(r)
	case n < 80:
		w.sync(r, true)
	case n < 88:
		w.migrate(r)
	case n < 91:
		w.extra(r)
	case n < 93:
		w.strict(r)
	case n < 94:
		w.reopen(r)
	case n < 97:
		w.second(r)
	case n < 98:
		w.vacuum(r)
	default:
		w.restart(n == 99)
	}
}

func (w *world) write(r *replica) {
	if r.mode != agentdb.SyncPull {
		w.transact(r, r.db)
		return
	}
	_, err := r.db.Exec(context.Background(), "CREATE TABLE IF NOT EXISTS mine (x)")
	if !errors.Is(err, agentdb.ErrReadOnly) {
		w.t.Errorf("seed %d: a write in pull mode: %v", w.seed, err)
	}
}

// faults picks what happens to a round's requests. It has a generator of its
// own, used under the proxy's lock: a late request may ask for a fault while
// the next round goes on.
func (w *world) faults(i int) func() fault {
	rng := rand.New(rand.NewPCG(w.seed, uint64(2_000_000+i)))
	return func() fault { return randomFault(rng) }
}

func randomFault(rng *rand.Rand) fault {
	if rng.IntN(2) == 0 {
		return fault{}
	}
	return fault{kind: faultKind(rng.IntN(int(faultKinds))), part: rng.Float64(), delay: time.Duration(rng.IntN(2)) * time.Millisecond}
}

func (w *world) migrate(r *replica) {
	if r.mode == agentdb.SyncPull {
		return
	}
	ctx := context.Background()
	c, err := r.actor.migrate(ctx, r.db)
	if err != nil {
		w.t.Errorf("seed %d: %v", w.seed, err)
	}
	if c.sql == "" {
		return
	}
	_, err = r.db.Exec(ctx, c.sql)
	w.note("%s %s: %v", r.name, c.sql, err)
	switch {
	case err == nil:
		w.model.mu.Lock()
		w.model.dropped[c.drops] = true
		w.model.mu.Unlock()
		r.mu.Lock()
		r.pending = append(r.pending, &record{})
		r.mu.Unlock()
	case harmless(err):
	case c.always:
		w.t.Errorf("seed %d: %s at %s: %v", w.seed, c.sql, r.name, err)
	default:
		w.refused[strings.Join(strings.Fields(c.sql)[:2], " ")]++
	}
}

// extra writes to one of the tables that come and go.
func (w *world) extra(r *replica) {
	if r.mode == agentdb.SyncPull {
		return
	}
	ctx := context.Background()
	var tok, table string
	err := r.db.Update(ctx, func(tx *agentdb.Tx) (err error) {
		tok, table, err = r.actor.writeExtra(ctx, tx)
		return err
	})
	w.note("%s inserts %s into %s: %v", r.name, tok, table, err)
	if err != nil {
		w.t.Errorf("seed %d: %v", w.seed, err)
		return
	}
	w.model.mu.Lock()
	w.model.made[tok] = table
	w.model.mu.Unlock()
	r.mu.Lock()
	r.pending = append(r.pending, &record{})
	r.mu.Unlock()
}

// strict runs a random transaction that counts only if the server takes it.
func (w *world) strict(r *replica) {
	if r.mode != agentdb.SyncFull {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var rec *record
	err := r.db.UpdateOnServer(ctx, func(tx *agentdb.Tx) error {
		rec = &record{}
		return r.actor.transaction(ctx, tx, rec)
	})
	w.note("%s on the server: %v %v", r.name, rec, err)
	switch {
	case err == nil:
		w.model.commit(rec)
		w.model.push(rec)
	case errors.Is(err, agentdb.ErrOffline): // the answer may be lost, and all of it done
		w.model.doubt(rec)
	case !errors.Is(err, errRollback) && !refused(err):
		w.t.Errorf("seed %d: on the server at %s: %v", w.seed, r.name, err)
	}
}

func (w *world) reopen(r *replica) {
	if err := r.db.Close(); err != nil {
		w.t.Errorf("seed %d: close %s: %v", w.seed, r.name, err)
	}
	w.open(r)
	w.note("%s reopened", r.name)
}

// second writes, and perhaps syncs, through another handle on the same file.
func (w *world) second(r *replica) {
	if r.mode == agentdb.SyncPull {
		return
	}
	db, err := agentdb.Open(context.Background(), r.path, w.options(r))
	if err != nil {
		w.t.Errorf("seed %d: a second handle of %s: %v", w.seed, r.name, err)
		return
	}
	first := r.db
	r.db = db
	w.note("%s by a second handle:", r.name)
	w.transact(r, db)
	if w.rng.IntN(2) == 0 {
		w.sync(r, true)
	}
	r.db = first
	if err := db.Close(); err != nil {
		w.t.Errorf("seed %d: close %s: %v", w.seed, r.name, err)
	}
}

func (w *world) vacuum(r *replica) {
	_, err := r.db.Exec(context.Background(), "VACUUM")
	w.note("%s vacuum: %v", r.name, err)
	if err != nil {
		w.refused["VACUUM"]++
	}
}

func (w *world) restart(cold bool) {
	w.node.down()
	if cold {
		w.node.dropCache()
	}
	w.note("server restarted, cache dropped: %v", cold)
	w.node.up()
}
