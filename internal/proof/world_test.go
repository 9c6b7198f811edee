package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/internal/wire"
)

// replica is one agent's file.
type replica struct {
	name  string
	mode  agentdb.SyncMode
	path  string
	proxy *proxy
	actor *actor
	db    *agentdb.DB

	mu      sync.Mutex
	pending []*record // committed here, not yet known to be on the server
	rev     uint64    // the highest revision reported
}

// world is a server and its replicas.
type world struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	node    *node
	schema  *schema
	model   *model
	reps    []*replica
	mu      sync.Mutex
	journal []string // what was done, for the failure's report; guarded by mu
	refused map[string]int
	racing  bool // several goroutines at work: the order is unknown
}

const database = "proof"

// newWorld starts a server, three full replicas, one that pulls and one that
// pushes.
func newWorld(t *testing.T, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 2))
	w := &world{t: t, seed: seed, rng: rng, node: newNode(t), schema: randomSchema(rng), model: newModel(), refused: map[string]int{}}
	modes := []agentdb.SyncMode{agentdb.SyncFull, agentdb.SyncFull, agentdb.SyncFull, agentdb.SyncPull, agentdb.SyncPush}
	if strings.Contains(*flagWithout, "push") {
		modes = modes[:4]
	}
	for i, mode := range modes {
		r := &replica{name: fmt.Sprintf("%c", 'A'+i), mode: mode, path: filepath.Join(t.TempDir(), fmt.Sprintf("%c-%v.db", 'A'+i, mode)), proxy: newProxy(t, w.node)}
		r.actor = &actor{rng: rand.New(rand.NewPCG(seed, uint64(100+i))), schema: w.schema, name: r.name}
		r.proxy.seen = func(ex exchange) { w.seen(r, ex) }
		w.reps = append(w.reps, r)
		w.open(r)
	}
	t.Cleanup(func() {
		for _, r := range w.reps {
			if err := r.db.Close(); err != nil {
				t.Errorf("close %s: %v", r.name, err)
			}
		}
	})
	t.Cleanup(func() { // runs before the above
		if t.Failed() {
			w.explain()
		}
	})
	return w
}

// explain prints how to see the failure again.
func (w *world) explain() {
	from := max(0, len(w.journal)-4000)
	if lost, err := agentdb.All[[]any](context.Background(), w.reps[0].db, "SELECT * FROM agentdb_conflicts"); err == nil {
		for _, l := range lost {
			w.journal = append(w.journal, fmt.Sprintf("conflict %v", l))
		}
	} else {
		w.journal = append(w.journal, fmt.Sprintf("conflicts: %v", err))
	}
	w.t.Logf("schema:\n%s\nsteps:\n%s\nseed %d; again: go test ./internal/proof -run '%s' -proof.seed=%d",
		strings.Join(w.schema.ddl(), ";\n"), strings.Join(w.journal[from:], "\n"), w.seed, w.t.Name(), w.seed)
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.journal = append(w.journal, fmt.Sprintf(format, args...))
}

func (w *world) options(r *replica) *agentdb.Options {
	return &agentdb.Options{URL: r.proxy.url(database), Sync: r.mode, Synchronous: "OFF", Readers: 2}
}

func (w *world) open(r *replica) {
	db, err := agentdb.Open(context.Background(), r.path, w.options(r))
	if err != nil {
		w.t.Fatalf("seed %d: open %s: %v", w.seed, r.name, err)
	}
	r.db = db
}

// seen takes in what the server answered: everything that was pending is there.
func (w *world) seen(r *replica, ex exchange) {
	switch r.mode {
	case agentdb.SyncPull:
		if len(ex.request.Changes) > 0 || ex.request.Strict != nil {
			w.t.Errorf("seed %d: the pull replica sent %d changes", w.seed, len(ex.request.Changes))
		}
	case agentdb.SyncPush:
		w.foreign(r, ex)
	}
	if ex.response.Status != wire.StatusOK || len(ex.request.Changes) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.pending {
		w.model.push(rec)
	}
	r.pending = nil
}

// foreign fails if an answer to a push replica holds a row of somebody else's.
func (w *world) foreign(r *replica, ex exchange) {
	for _, c := range ex.response.Commits {
		for _, o := range w.reps {
			if o != r && bytes.Contains(c.Body, []byte("<"+o.name+"-")) {
				w.t.Errorf("seed %d: the push replica received a row of %s", w.seed, o.name)
				return
			}
		}
	}
}

// begin makes the schema: at one replica that syncs first, or at all of them,
// each for itself. The push replica always makes its own, it receives nothing.
func (w *world) begin() {
	alone := w.rng.IntN(2) == 0
	for i, r := range w.reps {
		if r.mode == agentdb.SyncPull || alone && i > 0 && r.mode != agentdb.SyncPush {
			continue
		}
		for _, d := range w.schema.ddl() {
			if _, err := r.db.Exec(context.Background(), d); err != nil {
				w.t.Fatalf("seed %d: %s: %s: %v", w.seed, r.name, d, err)
			}
		}
		w.note("%s makes the schema", r.name)
		if i == 0 && alone {
			w.settle()
		}
	}
}

// transact runs a random transaction at a replica.
func (w *world) transact(r *replica, db *agentdb.DB) {
	var rec *record
	ctx := context.Background()
	err := db.Update(ctx, func(tx *agentdb.Tx) error {
		rec = &record{}
		return r.actor.transaction(ctx, tx, rec)
	})
	switch {
	case err == nil:
		w.model.commit(rec)
		r.mu.Lock()
		r.pending = append(r.pending, rec)
		r.mu.Unlock()
		w.note("%s commits %s", r.name, rec)
	case errors.Is(err, errRollback), refused(err):
		w.note("%s rolls back: %v", r.name, err)
	default:
		w.t.Errorf("seed %d: transaction at %s: %v", w.seed, r.name, err)
	}
}

// String is what a record did, for the journal.
func (r *record) String() string {
	if r == nil {
		return ""
	}
	var b strings.Builder
	for _, x := range r.sql {
		fmt.Fprintf(&b, "\n    %s", x)
	}
	b.WriteString("\n    ")
	for _, x := range r.born {
		fmt.Fprintf(&b, "+%s ", x.describe())
	}
	for _, x := range r.gone {
		fmt.Fprintf(&b, "-%s ", x.describe())
	}
	for _, x := range r.sets {
		if !x.born {
			fmt.Fprintf(&b, "=%s ", x.id)
		}
	}
	for _, x := range r.blurred {
		fmt.Fprintf(&b, "~%s ", x)
	}
	return b.String()
}

func (s seenRow) describe() string {
	if s.ptok == "" {
		return string(s.id) + s.tok
	}
	return string(s.id) + s.tok + "^" + s.ptok
}

// settle makes all replicas equal: no faults, everybody syncs until nothing is
// left to send, then everybody pulls.
func (w *world) settle() {
	w.t.Helper()
	for _, r := range w.reps {
		r.proxy.chaos(nil)
	}
	for _, r := range w.reps {
		for i := 0; r.mode != agentdb.SyncPull && (i == 0 || r.db.Status().Pending > 0); i++ {
			if i > 20 {
				w.t.Fatalf("seed %d: %s never gets rid of its %d pending transactions", w.seed, r.name, r.db.Status().Pending)
			}
			w.sync(r, false)
		}
	}
	for _, r := range w.reps {
		if r.mode != agentdb.SyncPush {
			w.sync(r, false)
		}
	}
	w.note("settled")
}

// sync is one sync of a replica, in a way that its mode allows. With faults it may fail.
func (w *world) sync(r *replica, faults bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	what, f := "Sync", r.db.Sync
	if r.mode == agentdb.SyncFull && faults {
		switch r.actor.rng.IntN(4) {
		case 0:
			what, f = "Pull", r.db.Pull
		case 1:
			what, f = "Push", r.db.Push
		}
	}
	rep, err := f(ctx)
	w.note("%s %s: %+v %v", r.name, what, rep, err)
	if err != nil {
		if !faults {
			w.t.Fatalf("seed %d: %s at %s: %v", w.seed, what, r.name, err)
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rep.Revision < r.rev {
		w.t.Errorf("seed %d: %s went from revision %d back to %d", w.seed, r.name, r.rev, rep.Revision)
	}
	r.rev = max(r.rev, rep.Revision)
	if rep.Diverged != "" || rep.Resent != 0 {
		w.t.Errorf("seed %d: %s at %s: %+v", w.seed, what, r.name, rep)
	}
}

// check demands everything that has to be true once all is settled.
func (w *world) check() {
	w.t.Helper()
	fresh := &replica{name: "fresh", mode: agentdb.SyncFull, path: filepath.Join(w.t.TempDir(), "fresh.db"), proxy: newProxy(w.t, w.node), actor: w.reps[0].actor}
	w.open(fresh)
	w.sync(fresh, false)
	if err := fresh.db.Close(); err != nil {
		w.t.Errorf("close: %v", err)
	}
	paths := []string{fresh.path}
	for _, r := range w.reps {
		if r.mode != agentdb.SyncPush {
			paths = append(paths, r.path)
		}
	}
	st := same(w.t, paths...)
	for i, p := range paths {
		wrong, err := w.schema.broken(p)
		if err != nil {
			w.t.Errorf("seed %d: %v", w.seed, err)
		}
		for _, x := range wrong {
			if i == 0 || !w.t.Failed() {
				w.t.Errorf("seed %d: %s: %s", w.seed, filepath.Base(p), x)
			}
		}
	}
	for _, x := range w.model.missing(st) {
		w.t.Errorf("seed %d: %s", w.seed, x)
	}
	w.checkPush(fresh.path)
	w.model.conflict = len(st.rows["agentdb_conflicts"])
	if w.racing || w.schema.deferred() { // no telling what came last, or whether it was refused
		return
	}
	snap, err := w.schema.look(context.Background(), w.reps[0].db)
	if err != nil {
		w.t.Fatalf("seed %d: %v", w.seed, err)
	}
	for _, x := range w.model.stale(snap) {
		w.t.Errorf("seed %d: %s", w.seed, x)
	}
}

// checkPush looks for rows of others in the push replica, and for numbers of
// others at its own.
func (w *world) checkPush(server string) {
	for _, r := range w.reps {
		if r.mode != agentdb.SyncPush {
			continue
		}
		for tok := range inspect(w.t, r.path).tokens {
			if !strings.HasPrefix(tok, "<"+r.name+"-") {
				w.t.Errorf("seed %d: the push replica holds %s", w.seed, tok)
			}
		}
		strayed, err := w.schema.strayed(r.path, server)
		if err != nil {
			w.t.Errorf("seed %d: %v", w.seed, err)
		}
		for _, x := range strayed {
			w.t.Errorf("seed %d: %s", w.seed, x)
		}
	}
}
