package tenant_test

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// captured returns what an agent captures for some statements.
func captured(tb testing.TB, stmts ...string) []wire.Change {
	tb.Helper()
	c, err := sqlite.Open(filepath.Join(tb.TempDir(), "agent.db"), sqlite.Options{Synchronous: "OFF"})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	k, err := change.Attach(c, change.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	var out []wire.Change
	for i, sql := range stmts {
		if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
			tb.Fatal(err)
		}
		if err := k.Begin(); err != nil {
			tb.Fatal(err)
		}
		st, _, err := c.Prepare(sql)
		if err == nil {
			err = k.Before(st)
		}
		if err == nil {
			_, err = st.Step()
		}
		if err == nil {
			err = k.After(st, nil)
		}
		if err != nil {
			tb.Fatal(err)
		}
		st.Finalize()
		ch, err := k.Finish()
		if err != nil {
			tb.Fatal(err)
		}
		if err := c.Exec("COMMIT"); err != nil {
			tb.Fatal(err)
		}
		h, _ := ch.EffectsHash(nil)
		out = append(out, wire.Change{Nonce: uint64(i + 1), Effects: h, Body: ch.Append(nil, change.ViewIntents)})
	}
	return out
}

// BenchmarkPush is what 64 agents cost the server, without the network: over
// many databases, and all on one.
func BenchmarkPush(b *testing.B) {
	for _, dbs := range []int{1, 1000} {
		b.Run(fmt.Sprint(dbs), func(b *testing.B) { benchmarkPush(b, dbs) })
	}
}

func benchmarkPush(b *testing.B, dbs int) {
	store, err := history.Open(history.Options{Dir: filepath.Join(b.TempDir(), "history")})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	m, err := tenant.New(tenant.Config{Store: store, CacheDir: filepath.Join(b.TempDir(), "cache")})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = m.Close(b.Context()) }()
	cs := captured(b, "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT)", "INSERT INTO t(body) VALUES('"+fmt.Sprintf("%0100d", 7)+"')")
	const agents = 64
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for a := range agents {
		wg.Go(func() {
			type place struct {
				id    wire.ReplicaID
				first uint64
				chain uint64
				base  wire.Revision
			}
			places := map[int]*place{}
			for i := 0; next.Add(1) <= int64(b.N); i++ {
				n := (a + i*agents) % dbs
				p := places[n]
				req := &wire.Request{Mode: wire.ModePull}
				if p == nil {
					p = &place{first: 1}
					binary.LittleEndian.PutUint64(p.id[:], uint64(a+1))
					places[n] = p
					req.Changes = append(req.Changes, cs[0])
				}
				ins := cs[1]
				ins.Nonce = uint64(i)
				req.Changes = append(req.Changes, ins)
				req.Replica, req.First, req.Chain, req.Base = p.id, p.first, p.chain, p.base
				ans, err := m.Sync(b.Context(), fmt.Sprint("db", n), tenant.AccessFull, true, req)
				if err != nil || ans.Response.Status != wire.StatusOK {
					b.Errorf("%v %+v", err, ans)
					return
				}
				p.first, p.chain, p.base = ans.Response.Last+1, ans.Response.LastChain, ans.Response.Head
			}
		})
	}
	wg.Wait()
}
