package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// soaking is agents that use a server for a while.
type soaking struct {
	*office
	hot    int
	done   [4]atomic.Int64 // by kind of work
	failed atomic.Int64

	mu    sync.Mutex
	first error // guarded by mu
}

// soakSuite has agents create, fork, write to and delete databases among many others, and looks for what grows.
func soakSuite(ctx context.Context, s *settings, r *report) (err error) {
	o, err := newOffice(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.stop()) }()
	if err := o.creating(ctx, s, &report{}); err != nil {
		return err
	}
	k := &soaking{office: o, hot: s.scaled(200, 20)}
	for i := range k.hot {
		if _, err := o.sql(ctx, fmt.Sprintf("idle-%05d", i), "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"); err != nil {
			return err
		}
	}
	during, stop := context.WithTimeout(ctx, s.soak)
	defer stop()
	var wg sync.WaitGroup
	for a := range s.scaled(50, 10) {
		wg.Go(func() { k.agent(during, a) })
	}
	seen, err := k.watch(during, s.soak/10)
	wg.Wait()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.first != nil {
		r.note("the first error: %v", k.first)
	}
	early, late := seen[len(seen)/3], seen[len(seen)-1]
	ops := float64(k.done[0].Load() + k.done[1].Load() + k.done[2].Load() + k.done[3].Load())
	r.note("%s; %d writes, %d created, %d forked, %d deleted", s.soak, k.done[0].Load(), k.done[1].Load(), k.done[2].Load(), k.done[3].Load())
	r.add(newRow("operations", perSec, []float64{ops / s.soak.Seconds()}, "", nil, target{}),
		newRow("errors", count, []float64{float64(k.failed.Load())}, "", nil, oursAtMost(0)),
		newRow("RSS at the end", size, []float64{late.rss}, "", nil, target{}),
		newRow("the same to that after a third of the time", count, []float64{late.rss / early.rss}, "", nil, oursAtMost(1.25)),
		newRow("goroutines, the same ratio", count, []float64{late.goroutines / early.goroutines}, "", nil, oursAtMost(1.25)),
		newRow("descriptors, the same ratio", count, []float64{float64(late.fds) / float64(early.fds)}, "", nil, oursAtMost(1.25)))
	return nil
}

// vitals are what a server holds at a moment.
type vitals struct {
	usage
	goroutines float64
}

// watch prints what the server holds, until the time is over.
func (k *soaking) watch(ctx context.Context, every time.Duration) (all []vitals, err error) {
	start := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		var v vitals
		if v.usage, err = usageOf(k.server.pid()); err != nil {
			return nil, err
		}
		if v.goroutines, err = k.goroutines(); err != nil {
			return nil, err
		}
		all = append(all, v)
		progress("soak: %s: RSS %s, %d descriptors, %.0f goroutines, %d writes, %d errors", time.Since(start).Round(time.Second),
			size.format(v.rss), v.fds, v.goroutines, k.done[0].Load(), k.failed.Load())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return all, nil
		}
	}
}

// goroutines reads how many the server has from its metrics.
func (k *soaking) goroutines() (float64, error) {
	resp, err := http.Get("http://" + k.addr() + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, errors.New("the metrics have no go_goroutines")
}

// agent works until the time is over: mostly it writes to a hot database; now and then it makes a database of its own, forks it,
// and deletes both.
func (k *soaking) agent(ctx context.Context, a int) {
	rng := rand.New(rand.NewPCG(uint64(a), 1))
	for n := 0; ctx.Err() == nil; n++ {
		err := k.write(ctx, fmt.Sprintf("idle-%05d", rng.IntN(k.hot)))
		if err == nil && rng.IntN(20) == 0 {
			err = k.life(ctx, fmt.Sprintf("agent-%d-%d", a, n))
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		k.failed.Add(1)
		k.mu.Lock()
		if k.first == nil {
			k.first = err
		}
		k.mu.Unlock()
	}
}

func (k *soaking) write(ctx context.Context, name string) error {
	_, err := k.sql(ctx, name, "INSERT INTO t(v) VALUES (hex(randomblob(100)))", "DELETE FROM t WHERE id < (SELECT max(id) FROM t) - 1000")
	k.done[0].Add(1)
	return err
}

// life is that of a database and its fork. Both are deleted whatever happens.
func (k *soaking) life(ctx context.Context, name string) error {
	_, err := k.create(ctx, name, "")
	if err != nil {
		return err
	}
	k.done[1].Add(1)
	if _, err = k.sql(ctx, name, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"); err == nil {
		err = k.write(ctx, name)
	}
	if err == nil {
		_, err = k.create(ctx, name+"-fork", fmt.Sprintf(`,"seed":{"type":"database","name":%q}`, name))
	}
	if err == nil {
		k.done[2].Add(1)
		err = errors.Join(k.write(ctx, name+"-fork"), k.destroy(ctx, name+"-fork"))
		k.done[3].Add(1)
	}
	k.done[3].Add(1)
	return errors.Join(err, k.destroy(ctx, name))
}
