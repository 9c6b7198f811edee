package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/bench/workload"
)

// withTable opens a replica and makes the table on the server through it.
func withTable(ctx context.Context, st *stage, ddl, insert string, rows [][]any) (client, error) {
	c, _, err := st.direct(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.exec(ctx, ddl); err != nil {
		return nil, err
	}
	if err := c.insert(ctx, insert, rows, true); err != nil {
		return nil, err
	}
	_, err = c.push(ctx)
	return c, err
}

// expect fails unless the replica has n rows in a table.
func expect(ctx context.Context, c client, table string, n int) error {
	got, err := c.value(ctx, "SELECT count(*) FROM "+table)
	if err == nil && int(got) != n {
		err = fmt.Errorf("a replica has %v rows in %s, not %d", got, table, n)
	}
	return err
}

// oneRow measures what single small changes cost in bytes, in a table of 200 rows, connections and sessions warm.
func oneRow(ctx context.Context, _ *settings, st *stage) (func(context.Context) (sample, error), error) {
	text := workload.NewText(11)
	if _, err := withTable(ctx, st, notesDDL, notesInsert, notes(text, 200)); err != nil {
		return nil, err
	}
	a, pa, err := st.counted(ctx)
	if err != nil {
		return nil, err
	}
	b, pb, err := st.counted(ctx)
	if err != nil {
		return nil, err
	}
	rows := 200
	one := func(ctx context.Context) (sample, error) {
		x := sample{}
		count := func(key string, p *proxy, fn func(context.Context) (float64, error)) error {
			t, err := p.during(func() error { _, err := fn(ctx); return err })
			x[key], x[key+" down"], x[key+" requests"] = t.bytes(), float64(t.down), float64(t.requests)
			return err
		}
		insert := func(c client) error { rows++; return c.insert(ctx, notesInsert, notes(text, 1), false) }
		steps := []func() error{
			func() error { return insert(a) },
			func() error { return count("push", pa, a.push) },
			func() error { return count("pull", pb, b.pull) },
			func() error { return insert(b) },
			func() error { return insert(a) },
			func() error { _, err := b.push(ctx); return err },
			func() error { return count("sync", pa, a.sync) },
			func() error { _, err := b.sync(ctx); return err },
			func() error { _, err := a.sync(ctx); return err },
			func() error { return count("idle", pa, a.sync) },
		}
		for _, fn := range steps {
			if err := fn(); err != nil {
				return nil, err
			}
		}
		return x, nil
	}
	if _, err := one(ctx); err != nil { // warm-up
		return nil, err
	}
	return func(ctx context.Context) (sample, error) {
		x, err := one(ctx)
		if err != nil {
			return nil, err
		}
		if st.collides() {
			return x, nil // two offline agents took the same id, and one row is gone
		}
		return x, expect(ctx, a, "notes", rows)
	}, nil
}

// latency measures single pushes and pulls, without a proxy.
func latency(ctx context.Context, s *settings, st *stage) (func(context.Context) (sample, error), error) {
	text := workload.NewText(12)
	a, err := withTable(ctx, st, notesDDL, notesInsert, notes(text, 200))
	if err != nil {
		return nil, err
	}
	b, _, err := st.direct(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (sample, error) {
		var push, pull []float64
		for range s.scaled(40, 5) {
			if err := a.insert(ctx, notesInsert, notes(text, 1), false); err != nil {
				return nil, err
			}
			t, err := a.push(ctx)
			if err != nil {
				return nil, err
			}
			push = append(push, t)
			if t, err = b.pull(ctx); err != nil {
				return nil, err
			}
			pull = append(pull, t)
		}
		return sample{"push": p50(push), "pull": p50(pull)}, nil
	}, nil
}

// pullCommits opens all replicas first, then makes the commits on the server; each sample is a replica's first pull.
func pullCommits(ctx context.Context, s *settings, st *stage) (func(context.Context) (sample, error), error) {
	text := workload.NewText(13)
	const before = 10
	if _, err := withTable(ctx, st, notesDDL, notesInsert, notes(text, before)); err != nil {
		return nil, err
	}
	counted := make([]client, s.runs)
	proxies := make([]*proxy, s.runs)
	direct := make([]client, s.runs)
	for i := range s.runs {
		var err error
		if counted[i], proxies[i], err = st.counted(ctx); err != nil {
			return nil, err
		}
		if direct[i], _, err = st.direct(ctx); err != nil {
			return nil, err
		}
	}
	n := s.scaled(10_000, 500)
	if err := st.commits(ctx, notesInsert, notes(text, n)); err != nil {
		return nil, err
	}
	i := -1
	return func(ctx context.Context) (sample, error) {
		i++
		t, err := proxies[i].during(func() error { _, err := counted[i].pull(ctx); return err })
		if err != nil {
			return nil, err
		}
		took, err := direct[i].pull(ctx)
		if err != nil {
			return nil, err
		}
		return sample{"bytes": t.bytes(), "time": took}, expect(ctx, direct[i], "notes", n+before)
	}, nil
}

// bootstrap measures how a new replica gets a database of 50 MB of agents' memories.
func bootstrap(ctx context.Context, s *settings, st *stage) (func(context.Context) (sample, error), error) {
	text := workload.NewText(14)
	c, err := withTable(ctx, st, memoryDDL, memoryInsert, nil)
	if err != nil {
		return nil, err
	}
	const perPush = 4000
	n := 0
	for range s.scaled(50_000_000/(perPush*memorySize), 1) {
		n += perPush
		if err := c.insert(ctx, memoryInsert, memories(text, perPush), true); err != nil {
			return nil, err
		}
		if _, err := c.push(ctx); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) (sample, error) {
		proxied, p, err := st.counted(ctx)
		if err != nil {
			return nil, err
		}
		if err := expect(ctx, proxied, "memory", n); err != nil {
			return nil, err
		}
		fresh, took, err := st.direct(ctx)
		if err != nil {
			return nil, err
		}
		return sample{"bytes": p.total().bytes(), "time": took}, expect(ctx, fresh, "memory", n)
	}, nil
}

// bulkPush is the first workload of Turso's own benchmark of its sync: 3,000 single-row commits, then one push.
func bulkPush(ctx context.Context, s *settings, st *stage) (func(context.Context) (sample, error), error) {
	text := workload.NewText(15)
	if _, err := withTable(ctx, st, peopleDDL, peopleInsert, nil); err != nil {
		return nil, err
	}
	a, p, err := st.counted(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (sample, error) {
		if err := a.insert(ctx, peopleInsert, people(text, s.scaled(3000, 300)), false); err != nil {
			return nil, err
		}
		var took float64
		t, err := p.during(func() (err error) { took, err = a.push(ctx); return err })
		return sample{"bytes": t.bytes(), "time": took}, err
	}, nil
}

// rebase measures a pull that has to put a replica's unsent commits on top of somebody else's.
func rebase(ctx context.Context, s *settings, st *stage) (func(context.Context) (sample, error), error) {
	text := workload.NewText(16)
	a, err := withTable(ctx, st, notesDDL, notesInsert, notes(text, 200))
	if err != nil {
		return nil, err
	}
	b, _, err := st.direct(ctx)
	if err != nil {
		return nil, err
	}
	pending := s.scaled(10_000, 500)
	if err := b.insert(ctx, notesInsert, notes(text, pending), false); err != nil {
		return nil, err
	}
	rows := 200 + pending
	return func(ctx context.Context) (sample, error) {
		if err := a.insert(ctx, notesInsert, notes(text, 1), false); err != nil {
			return nil, err
		}
		if _, err := a.push(ctx); err != nil {
			return nil, err
		}
		took, err := b.pull(ctx)
		if err != nil {
			return nil, err
		}
		rows++
		if st.collides() {
			return sample{"time": took}, nil
		}
		return sample{"time": took}, expect(ctx, b, "notes", rows)
	}, nil
}

// wakeUp measures the time from the acknowledgement of one agent's push to the row's arrival at another that waits for news.
func wakeUp(ctx context.Context, s *settings, st *stage) (func(context.Context) (sample, error), error) {
	text := workload.NewText(17)
	a, err := withTable(ctx, st, notesDDL, notesInsert, notes(text, 10))
	if err != nil {
		return nil, err
	}
	p, ok := st.product.(*ourProduct)
	if !ok {
		return nil, fmt.Errorf("%s has no long poll", st.name())
	}
	b, _, err := p.openAs(ctx, filepath.Join(st.dir, "watcher.db"), &agentdb.Options{URL: "http://" + p.addr() + "/db/" + p.database,
		AuthToken: p.token, Interval: time.Minute})
	if err != nil {
		return nil, err
	}
	st.opened = append(st.opened, b)
	arrivals := make(chan time.Time, 1000)
	watching, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ch, err := range b.db.Watch(watching, "notes") {
			if err != nil {
				return
			}
			if ch.Remote {
				arrivals <- time.Now()
			}
		}
	}()
	st.atEnd(func() { stop(); <-done })
	if err := settle(ctx, b, a, text, arrivals); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (sample, error) {
		var waits []float64
		for range s.scaled(20, 5) {
			if err := a.insert(ctx, notesInsert, notes(text, 1), false); err != nil {
				return nil, err
			}
			if _, err := a.push(ctx); err != nil {
				return nil, err
			}
			acked := time.Now()
			select {
			case at := <-arrivals:
				waits = append(waits, at.Sub(acked).Seconds())
			case <-time.After(20 * time.Second):
				return nil, fmt.Errorf("no wake-up within 20 s")
			}
			time.Sleep(20 * time.Millisecond) // the next poll is on its way
		}
		return sample{"p50": p50(waits)}, nil
	}, nil
}

// settle waits until the watcher has joined the server and hears of pushes, and drains what it has heard.
func settle(ctx context.Context, b *ourClient, a client, text *workload.Text, arrivals chan time.Time) error {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if err := a.insert(ctx, notesInsert, notes(text, 1), false); err != nil {
			return err
		}
		if _, err := a.push(ctx); err != nil {
			return err
		}
		time.Sleep(300 * time.Millisecond)
		mine, err := a.value(ctx, "SELECT count(*) FROM notes")
		if err != nil {
			return err
		}
		theirs, err := b.value(ctx, "SELECT count(*) FROM notes")
		if err == nil && mine == theirs && len(arrivals) > 0 {
			for len(arrivals) > 0 {
				<-arrivals
			}
			return nil
		}
	}
	return fmt.Errorf("the watcher doesn't hear of pushes")
}
