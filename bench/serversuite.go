package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"
)

const agents = 64

func serverSuite(ctx context.Context, s *settings, r *report) error {
	r.Versions["reference server"] = "turso " + npmVersion(s, "turso") + " --sync-server"
	r.note("one machine for server and load generator; the generator speaks each server's protocol over %d connections (the reference closes them after each answer), each agent waiting for its answer before its next push", agents)
	r.note("a push of the reference's client is two requests; 'batches' leaves out the first of them")
	if s.wants("throughput") {
		if err := throughput(ctx, s, r); err != nil {
			return err
		}
	}
	if s.wants("memory") && !s.peerOnly {
		return memory(ctx, s, r)
	}
	return nil
}

// contender is one kind of load in the throughput measure.
type contender struct {
	name   string
	agents []pusher
	pid    int // of the server
	rate   []float64
	cpu    []float64 // of the server, per push
	p50    []float64
	p99    []float64
}

func (c *contender) run(ctx context.Context, d time.Duration) error {
	before, err := usageOf(c.pid)
	if err != nil {
		return err
	}
	res, err := load(ctx, c.agents, d)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	after, err := usageOf(c.pid)
	if err != nil {
		return err
	}
	cpu := (after.cpu - before.cpu).Seconds() / float64(res.pushes)
	progress("server: %s: %.0f/s, p50 %s, p99 %s, %s CPU each", c.name, res.perSec, seconds.format(res.p50), seconds.format(res.p99), seconds.format(cpu))
	c.cpu = append(c.cpu, cpu)
	c.rate, c.p50, c.p99 = append(c.rate, res.perSec), append(c.p50, res.p50), append(c.p99, res.p99)
	return nil
}

func throughput(ctx context.Context, s *settings, r *report) (err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // the generator's own: its heap is small
	ref, err := reference(ctx, s, filepath.Join(s.tmp, "reference"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ref.stop()) }()
	if err := refSetup(ctx, ref.addr); err != nil {
		return err
	}
	pushes := &contender{name: "reference, pushes", agents: newRefPushers(ref.addr, agents, false, 0), pid: ref.pid()}
	batches := &contender{name: "reference, batches", agents: newRefPushers(ref.addr, agents, true, 500_000_000), pid: ref.pid()}
	many, hot := &contender{name: "1,000 databases"}, &contender{name: "one hot database"}
	all := []*contender{pushes, batches}
	if !s.peerOnly {
		ours, stop, err := newOurLoad(ctx, s)
		if err != nil {
			return err
		}
		defer stop()
		if many.agents, err = ours.agents(agents, s.scaled(1000, agents), "many"); err != nil {
			return err
		}
		if hot.agents, err = ours.agents(agents, 1, "hot"); err != nil {
			return err
		}
		many.pid, hot.pid = ours.product.server.pid(), ours.product.server.pid()
		all = []*contender{many, pushes, hot, batches}
	}
	defer func() {
		for _, c := range all {
			err = errors.Join(err, closeAll(c.agents))
		}
	}()
	for range s.runs {
		for _, c := range all {
			if err := c.run(ctx, time.Duration(max(1, 10*s.scale)*float64(time.Second))); err != nil {
				return err
			}
		}
	}
	if s.peerOnly {
		r.add(newRow("durable 1-row pushes", perSec, nil, pushes.name, pushes.rate, target{}), newRow("", perSec, nil, batches.name, batches.rate, target{}))
		return nil
	}
	for _, c := range []*contender{many, hot} {
		r.add(newRow("durable 1-row pushes, 64 agents, "+c.name, perSec, c.rate, pushes.name, pushes.rate, atLeast(6)))
		r.add(newRow("the same against bare batches", perSec, c.rate, batches.name, batches.rate, target{}))
		r.add(newRow("the server's CPU per push", seconds, c.cpu, pushes.name, pushes.cpu, target{}))
		r.add(newRow("latency p50 of such a push", seconds, c.p50, pushes.name, pushes.p50, target{}))
		r.add(newRow("latency p99 of such a push", seconds, c.p99, pushes.name, pushes.p99, target{}))
	}
	return nil
}
