package tenant_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// polls runs a long poll of each of n databases until it is answered.
type polls struct {
	wg      sync.WaitGroup
	mu      sync.Mutex
	answers map[int]*wire.Response
	errs    map[int]error
}

func startPolls(t *testing.T, m *tenant.Manager, n int) *polls {
	t.Helper()
	p := &polls{answers: map[int]*wire.Response{}, errs: map[int]error{}}
	for i := range n {
		p.wg.Go(func() {
			ans, err := m.Sync(t.Context(), fmt.Sprint("db", i), tenant.AccessPull, false, &wire.Request{Replica: wire.ReplicaID{9}, First: 1, Mode: wire.ModePull, WaitMS: 60_000})
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.errs[i] = err; err == nil {
				p.answers[i] = ans.Response
			}
		})
	}
	until(t, func() bool { return m.Stats().Waiting == n })
	return p
}

func (p *polls) answer(i int) *wire.Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answers[i]
}

func until(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it took too long")
		}
	}
}

// TestPollsHoldNothing: databases that are polled need not be open, and news
// reach those who wait all the same.
func TestPollsHoldNothing(t *testing.T) {
	const n = 10_000
	m, store := newStored(t, tenant.Config{MaxOpen: 3, IdleClose: 10 * time.Millisecond, MaxWait: time.Minute})
	var wg sync.WaitGroup
	for a := range 20 {
		wg.Go(func() {
			for i := a; i < n; i += 20 {
				if err := m.Create(t.Context(), fmt.Sprint("db", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	p := startPolls(t, m, n)
	if open := m.Stats().Open; open > 3 {
		t.Errorf("%d databases are open", open)
	}
	cs := captured(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	for _, i := range []int{17, 4711, 0, 1, 2, 3, 4} {
		if _, err := m.Sync(t.Context(), fmt.Sprint("db", i), tenant.AccessFull, false, &wire.Request{Replica: wire.ReplicaID{1}, First: 1, Changes: cs}); err != nil {
			t.Fatal(err)
		}
		until(t, func() bool { return p.answer(i) != nil })
		if r := p.answer(i); r.Status != wire.StatusOK || r.Head.Seq != 1 || len(r.Commits) != 1 {
			t.Errorf("database %d: %+v", i, r)
		}
	}
	if w := m.Stats().Waiting; w != n-7 {
		t.Errorf("%d wait", w)
	}
	until(t, func() bool { return m.Stats().Open == 0 })
	if err := m.Delete(t.Context(), "db5"); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.errs[5] != nil })
	if err := errors.Join(m.Close(t.Context()), store.Close()); err != nil {
		t.Error(err)
	}
	p.wg.Wait()
	if err := p.errs[5]; !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("the poll of a deleted database: %v", err)
	}
	if err := p.errs[6]; !errors.Is(err, tenant.ErrClosed) {
		t.Errorf("a poll at the end: %v", err)
	}
}

// TestQuietSyncOpensNothing: whoever has all there is gets an answer without
// the database being opened.
func TestQuietSyncOpensNothing(t *testing.T) {
	m, _ := newStored(t, tenant.Config{IdleClose: 4 * time.Millisecond})
	cs := captured(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t(v) VALUES('x')")
	res := send(t, m, &wire.Request{Replica: wire.ReplicaID{1}, First: 1, Changes: cs[:1]})
	old := res.Head
	res = send(t, m, &wire.Request{Replica: wire.ReplicaID{1}, First: 2, Chain: res.LastChain, Changes: cs[1:]})
	until(t, func() bool { return m.Stats().Open == 0 })
	req := wire.Request{Replica: wire.ReplicaID{1}, First: 3, Chain: res.LastChain, Mode: wire.ModePull, Base: res.Head}
	if got := send(t, m, &req); got.Status != wire.StatusOK || got.Last != 2 || got.Head != res.Head || m.Stats().Open != 0 {
		t.Errorf("%+v, %d open", got, m.Stats().Open)
	}
	req.Base = old
	if got := send(t, m, &req); len(got.Commits) != 1 || got.Head != res.Head {
		t.Errorf("one that has less: %+v", got)
	}
}

// TestPollEnds: a poll without news says where the replica stands, and one of
// a file that the server knows otherwise doesn't wait.
func TestPollEnds(t *testing.T) {
	m, _ := newStored(t, tenant.Config{})
	cs := captured(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	id := wire.ReplicaID{1}
	res := send(t, m, &wire.Request{Replica: id, First: 1, Changes: cs})
	if res.Last != 1 || res.Head.Seq != 1 {
		t.Fatalf("%+v", res)
	}
	req := wire.Request{Replica: id, First: 2, Chain: res.LastChain, Mode: wire.ModePull, Base: res.Head, WaitMS: 30}
	got := send(t, m, &req)
	if got.Status != wire.StatusOK || got.Last != 1 || got.LastChain != res.LastChain || got.Head != res.Head || len(got.Commits) != 0 {
		t.Errorf("without news: %+v", got)
	}
	req.WaitMS = 60_000
	for want, change := range map[wire.Status]func(*wire.Request){
		wire.StatusFork:   func(r *wire.Request) { r.Chain++ },
		wire.StatusBehind: func(r *wire.Request) { r.Base.Hash[0]++ },
		wire.StatusOK:     func(r *wire.Request) { r.Base = wire.Revision{} },
	} {
		r := req
		if change(&r); send(t, m, &r).Status != want {
			t.Errorf("not %v", want)
		}
	}
}
