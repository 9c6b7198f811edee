package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// measure is one experiment of the sync suite. Both products are set up, then sampled in turns.
type measure struct {
	name     string
	oursOnly bool
	// setup prepares a stage and returns the function that takes one sample: a number per key.
	setup func(ctx context.Context, s *settings, st *stage) (func(ctx context.Context) (sample, error), error)
	lines []line
}

// sample is what one run measured, by the keys of the measure's lines.
type sample map[string]float64

// line makes a row of the table from the samples of both products.
type line struct {
	key    string
	what   string
	unit   unit
	target target
}

func syncMeasures() []measure {
	return []measure{
		{name: "one row", setup: oneRow, lines: []line{
			{"push", "push of one 100-byte row, bytes", size, atMost(0.25)},
			{"push requests", "push of one row, HTTP requests", count, target{}},
			{"pull", "pull of one such row, bytes", size, atMost(0.125)},
			{"sync requests", "full sync, changes on both sides: round trips", count, oursAtMost(1)},
			{"sync", "full sync, changes on both sides: bytes", size, target{}},
			{"idle", "sync with nothing new, bytes", size, target{}},
		}},
		{name: "latency", setup: latency, lines: []line{
			{"push", "push latency p50, durable", seconds, atMost(0.25)},
			{"pull", "pull latency p50", seconds, target{}},
		}},
		{name: "pull of commits", setup: pullCommits, lines: []line{
			{"bytes", "pull of 10,000 single-row commits, bytes", size, atMost(0.7)},
			{"time", "pull of 10,000 single-row commits, time", seconds, atMost(1.5)},
		}},
		{name: "bootstrap", setup: bootstrap, lines: []line{
			{"bytes", "bootstrap of 50 MB, bytes", size, atMost(1.0 / 3)},
			{"time", "bootstrap of 50 MB, time", seconds, atMost(1.0 / 3)},
		}},
		{name: "bulk push", setup: bulkPush, lines: []line{
			{"bytes", "3,000 inserts, one push: bytes", size, oursAtMost(0.15e6)},
			{"time", "3,000 inserts, one push: time", seconds, target{}},
		}},
		{name: "wake-up", oursOnly: true, setup: wakeUp, lines: []line{
			{"p50", "long poll: wake-up after another's push", seconds, oursAtMost(0.010)},
		}},
		{name: "rebase", setup: rebase, lines: []line{
			{"time", "rebase with 10,000 pending single-row commits", seconds, oursAtMost(0.5)},
		}},
	}
}

func syncSuite(ctx context.Context, s *settings, r *report) error {
	return syncMeasuresOn(ctx, s, r, syncMeasures(), func() []product {
		return []product{&ourProduct{s: s, database: "bench"}, &tursoProduct{s: s}}
	})
}

// syncMeasuresOn measures two products, the first of which is ours.
func syncMeasuresOn(ctx context.Context, s *settings, r *report, measures []measure, products func() []product) error {
	r.Versions["@tursodatabase/sync"] = npmVersion(s, "@tursodatabase/sync")
	r.Versions["reference server"] = "turso " + npmVersion(s, "turso") + " --sync-server"
	r.note("bytes: TCP payload both ways with all HTTP headers, counted by a proxy on loopback; ours with an Authorization header, the reference without (it has none); times: without the proxy")
	for _, m := range measures {
		if !s.wants(m.name) {
			continue
		}
		if err := m.run(ctx, s, r, products()); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

func (m *measure) run(ctx context.Context, s *settings, r *report, products []product) (err error) {
	ours, theirs := products[0].name(), products[1].name()
	switch {
	case s.peerOnly && m.oursOnly:
		return nil
	case s.peerOnly:
		products = products[1:]
	case m.oursOnly:
		products = products[:1]
	}
	samplers := make([]func(context.Context) (sample, error), len(products))
	for i, p := range products {
		progress("sync: %s, setting up %s", m.name, p.name())
		st, err := newStage(ctx, p, s)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, st.end()) }()
		if samplers[i], err = m.setup(ctx, s, st); err != nil {
			return fmt.Errorf("%s: %w", p.name(), err)
		}
	}
	samples := map[string]map[string][]float64{}
	for n := range s.runs {
		progress("sync: %s, run %d of %d", m.name, n+1, s.runs)
		for i, p := range products {
			x, err := samplers[i](ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name(), err)
			}
			for k, v := range x {
				if samples[k] == nil {
					samples[k] = map[string][]float64{}
				}
				samples[k][p.name()] = append(samples[k][p.name()], v)
			}
		}
	}
	for _, l := range m.lines {
		xs := samples[l.key]
		r.add(newRow(l.what, l.unit, xs[ours], theirs, xs[theirs], l.target))
	}
	return nil
}

func p50(xs []float64) float64 {
	slices.Sort(xs)
	return xs[len(xs)/2]
}
