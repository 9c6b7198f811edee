package tenant_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// newStored is newManager for a test that looks into the store.
func newStored(t *testing.T, cfg tenant.Config) (*tenant.Manager, history.Store) {
	t.Helper()
	store, err := history.Open(history.Options{Dir: filepath.Join(t.TempDir(), "history")})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store, cfg.CacheDir = store, filepath.Join(t.TempDir(), "cache")
	m, err := tenant.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(m.Close(t.Context()), store.Close()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return m, store
}

// metas counts the keys of the metadata by what comes before the slash.
func metas(t *testing.T, s history.Store) map[string]int {
	t.Helper()
	n := map[string]int{}
	for m, err := range s.Metas(t.Context(), "db", "", "") {
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(m.Key, "/")
		n[kind]++
	}
	return n
}

func send(t *testing.T, m *tenant.Manager, req *wire.Request) *wire.Response {
	t.Helper()
	ans, err := m.Sync(t.Context(), "db", tenant.AccessFull, true, req)
	if err != nil {
		t.Fatal(err)
	}
	return ans.Response
}

// TestPushesForgotten: what the server remembers of a replica's pushes is
// bounded, and a file that comes back from before that is taken for a copy.
func TestPushesForgotten(t *testing.T) {
	m, store := newStored(t, tenant.Config{KeepPushes: 8})
	cs := captured(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t(v) VALUES('x')")
	id := wire.ReplicaID{1}
	send(t, m, &wire.Request{Replica: id, First: 1, Changes: cs[:1]})
	var sent []*wire.Request
	chain := wire.ChainNext(0, cs[0].Nonce)
	for i := range 50 {
		c := cs[1]
		c.Nonce = uint64(i + 10)
		req := &wire.Request{Replica: id, First: uint64(i + 2), Chain: chain, Changes: []wire.Change{c}}
		sent = append(sent, req)
		res := send(t, m, req)
		if chain = wire.ChainNext(chain, c.Nonce); res.Status != wire.StatusOK || res.LastChain != chain {
			t.Fatalf("push %d: %+v", i, res)
		}
		if n := metas(t, store)["b"]; n > 11 {
			t.Fatalf("%d pushes are remembered after %d", n, i+2)
		}
	}
	for i, req := range sent {
		res := send(t, m, req)
		switch remembered := i >= len(sent)-8; {
		case remembered && (res.Status != wire.StatusOK || res.Last != 51):
			t.Errorf("push %d, sent again: %+v", i, res)
		case i < len(sent)-11 && (res.Status != wire.StatusFork || res.ForkAt != req.First):
			t.Errorf("push %d, sent again after it was forgotten: %+v", i, res)
		}
		if res := send(t, m, &wire.Request{Replica: id, First: req.First, Chain: req.Chain, Mode: wire.ModePull}); res.Status != wire.StatusOK {
			t.Errorf("pull as of push %d: %+v", i, res)
		}
	}
	if got := countInserts(t, m, "db"); got != 50 {
		t.Errorf("%d rows", got)
	}
}

// TestUnansweredPushesStay: a replica that never got an answer is recognised
// however often it pushed since.
func TestUnansweredPushesStay(t *testing.T) {
	m, store := newStored(t, tenant.Config{KeepPushes: 2})
	cs := captured(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t(v) VALUES('x')")
	req := &wire.Request{Replica: wire.ReplicaID{1}, First: 1, Changes: cs[:1]}
	for i := range 20 {
		c := cs[1]
		c.Nonce = uint64(i + 10)
		req.Changes = append(req.Changes, c)
		if res := send(t, m, req); res.Status != wire.StatusOK || res.Last != uint64(i+2) {
			t.Fatalf("push %d: %+v", i, res)
		}
	}
	if got := countInserts(t, m, "db"); got != 20 {
		t.Errorf("%d rows", got)
	}
	if n := metas(t, store)["b"]; n != 20 {
		t.Errorf("%d pushes are remembered", n)
	}
}

// TestStrictForgotten: a strict transaction is remembered for a while and a
// number of commits.
func TestStrictForgotten(t *testing.T) {
	for _, keep := range []time.Duration{time.Hour, time.Nanosecond} {
		m, store := newStored(t, tenant.Config{KeepStrict: keep, KeepStrictCommits: 5})
		cs := captured(t, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t(id,v) VALUES(7,'x')", "DELETE FROM t")
		send(t, m, &wire.Request{Replica: wire.ReplicaID{1}, First: 1, Changes: cs[:1]})
		const n = 600
		strict := func(i int) *wire.Response {
			nonce := [16]byte{byte(i), byte(i >> 8)}
			return send(t, m, &wire.Request{Replica: wire.ReplicaID{2}, First: 1, Strict: &wire.Strict{Nonce: nonce, Body: cs[1+i%2].Body}})
		}
		for i := range n {
			if res := strict(i); res.Strict.Code != wire.StrictApplied {
				t.Fatalf("strict transaction %d: %+v", i, res)
			}
		}
		if res := strict(n - 2); res.Strict.Code != wire.StrictApplied {
			t.Errorf("a strict transaction sent again: %+v", res)
		}
		got := metas(t, store)
		if got["x"] != got["s"] || keep == time.Hour && got["x"] != n || keep < time.Hour && got["x"] > 256+5 {
			t.Errorf("%v: %v are remembered", keep, got)
		}
	}
}
