package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/agentdb/agentdb/bench/workload"
)

// pusher is one agent of the load generator: push makes one durable single-row push.
type pusher interface {
	push() error
	close() error
}

// texts are the bodies of the rows that an agent pushes, made before the clock runs.
type texts struct {
	list []string
	next int
}

func newTexts(seed uint64) *texts {
	source := workload.NewText(seed)
	t := &texts{list: make([]string, 256)}
	for i := range t.list {
		t.list[i] = source.Sentence(100)
	}
	return t
}

func (t *texts) get() string {
	t.next++
	return t.list[t.next%len(t.list)]
}

// loadResult is what a run of the load generator achieved.
type loadResult struct {
	pushes   int
	perSec   float64
	p50, p99 float64 // seconds
}

// load has all agents push, each as fast as it can, for a while.
func load(ctx context.Context, agents []pusher, d time.Duration) (loadResult, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	latencies := make([][]float64, len(agents))
	errs := make([]error, len(agents))
	start := time.Now()
	var wg sync.WaitGroup
	for i, a := range agents {
		wg.Go(func() {
			for ctx.Err() == nil {
				t := time.Now()
				if err := a.push(); err != nil {
					errs[i] = err
					cancel()
					return
				}
				latencies[i] = append(latencies[i], time.Since(t).Seconds())
			}
		})
	}
	wg.Wait()
	took := time.Since(start).Seconds()
	all := slices.Concat(latencies...)
	if err := errors.Join(errs...); err != nil {
		return loadResult{}, fmt.Errorf("after %d pushes: %w", len(all), err)
	}
	if len(all) == 0 {
		return loadResult{}, errors.New("no push at all")
	}
	slices.Sort(all)
	return loadResult{len(all), float64(len(all)) / took, all[len(all)/2], all[len(all)*99/100]}, nil
}

func closeAll(agents []pusher) error {
	var errs []error
	for _, a := range agents {
		errs = append(errs, a.close())
	}
	return errors.Join(errs...)
}
