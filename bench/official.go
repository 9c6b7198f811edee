package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
)

// officialProduct is @tursodatabase/sync, as it is, on our server.
type officialProduct struct{ tursoProduct }

func (p *officialProduct) name() string { return "@tursodatabase/sync on agentdb" }

func (p *officialProduct) start(ctx context.Context, dir string) error {
	bin, err := agentdbBinary(ctx, p.s)
	if err != nil {
		return err
	}
	p.server, err = startServer(ctx, filepath.Join(dir, "server.log"), func(addr string) *exec.Cmd {
		return exec.Command(bin, "serve", "--dev", "--listen", addr, "--data", filepath.Join(dir, "data"), "--log-level", "warn")
	})
	if err != nil {
		return err
	}
	p.node, err = startNode(p.s, "sync.mjs")
	return err
}

// open is for a client far away if it goes through the proxy that counts bytes.
func (p *officialProduct) open(_ context.Context, path, addr string) (client, float64, error) {
	p.next++
	c := &tursoClient{node: p.node, id: strconv.Itoa(p.next)}
	r, err := c.do("open", map[string]any{"path": path, "url": "http://" + addr, "far": addr != p.addr()})
	return c, r, err
}

// officialMeasures are those of the sync suite that say something about a server.
func officialMeasures() []measure {
	return []measure{
		{name: "one row", setup: oneRow, lines: []line{
			{"push", "push of one 100-byte row, bytes", size, target{}},
			{"push down", "of that, bytes down", size, oursAtMost(900)},
			{"pull", "pull of one such row, bytes", size, target{}},
			{"idle", "sync with nothing new, bytes", size, target{}},
		}},
		{name: "pulls of one row", setup: rowByRow, lines: []line{
			{"p50", "forty pulls of one such row, bytes down: median", size, oursAtMost(2000)},
			{"max", "of that, the largest", size, target{}},
		}},
		{name: "latency", setup: latency, lines: []line{
			{"push", "push latency p50, durable", seconds, atMost(0.5)},
			{"pull", "pull latency p50", seconds, target{}},
		}},
		{name: "pull of commits", setup: pullCommits, lines: []line{
			{"bytes", "pull of 10,000 single-row commits, bytes", size, target{}},
			{"time", "pull of 10,000 single-row commits, time", seconds, target{}},
		}},
		{name: "bootstrap", setup: bootstrap, lines: []line{
			{"bytes", "bootstrap of 50 MB from afar, bytes", size, atMost(1.0 / 3)},
			{"time", "bootstrap of 50 MB on one machine, time", seconds, atMost(1)},
		}},
		{name: "bulk push", setup: bulkPush, lines: []line{
			{"bytes", "3,000 inserts, one push: bytes", size, target{}},
			{"time", "3,000 inserts, one push: time", seconds, target{}},
		}},
		{name: "wake-up", oursOnly: true, setup: officialWakeUp, lines: []line{
			{"p50", "long poll: wake-up after another's push, pull applied", seconds, oursAtMost(0.010)},
			{"answer", "of that, until the server's answer is there", seconds, target{}},
		}},
		{name: "pipeline commits", setup: pipelineCommits, lines: []line{
			{"time", "10,000 single-row commits by pipeline, durable", seconds, atMost(0.25)},
		}},
		{name: "batches over HTTP", setup: singleBatches, lines: []line{
			{"rate", "single-row batches over HTTP, 64 connections and databases to its one", perSec, atLeast(3)},
			{"cpu", "the server's CPU per batch", seconds, target{}},
			{"p50", "latency p50 of such a batch", seconds, target{}},
		}},
		{name: "point SELECT over HTTP", setup: pointSelects, lines: []line{
			{"rate", "point SELECT over HTTP, 64 connections", perSec, oursAtLeast(5000)},
			{"cpu", "the server's CPU per SELECT", seconds, target{}},
			{"p50", "latency p50 of such a SELECT", seconds, target{}},
		}},
	}
}

func officialSuite(ctx context.Context, s *settings, r *report) error {
	r.note("one client on two servers; ours takes it for one on another machine where bytes are counted, and compresses; the HTTP measures share the machine with their load generator")
	return syncMeasuresOn(ctx, s, r, officialMeasures(), func() []product {
		return []product{&officialProduct{tursoProduct{s: s}}, &tursoProduct{s: s}}
	})
}
