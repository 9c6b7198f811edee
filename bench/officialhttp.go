package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/agentdb/agentdb/bench/workload"
)

// Measures of the official suite that need no sync client: SQL over HTTP, as @libsql/client and others send it.

// sqlAgent sends requests of the SQL-over-HTTP protocol, one after the other, and checks their answers.
type sqlAgent struct {
	conn *rawConn
	path string
	body func() ([]byte, error)
}

func (a *sqlAgent) push() error {
	body, err := a.body()
	if err != nil {
		return err
	}
	answer, err := a.conn.post(a.path, refHeader, body)
	if err == nil && (!bytes.Contains(answer, []byte(`"type":"ok"`)) || bytes.Contains(answer, []byte(`"message"`))) {
		err = fmt.Errorf("%s: %.300s", a.path, answer)
	}
	return err
}

func (a *sqlAgent) close() error { return a.conn.close() }

// pid returns the server's process.
func (st *stage) pid() int {
	switch p := st.product.(type) {
	case *officialProduct:
		return p.server.pid()
	case *tursoProduct:
		return p.server.pid()
	}
	return 0
}

// under returns a sampler that puts a server under the load of these agents.
func under(s *settings, st *stage, all []pusher) func(context.Context) (sample, error) {
	st.atEnd(func() { _ = closeAll(all) })
	return func(ctx context.Context) (sample, error) {
		c := &contender{name: st.name(), agents: all, pid: st.pid()}
		if err := c.run(ctx, time.Duration(max(1, 5*s.scale)*float64(time.Second))); err != nil {
			return nil, err
		}
		return sample{"rate": c.rate[0], "cpu": c.cpu[0], "p50": c.p50[0]}, nil
	}
}

// databasePath returns where a client of one of the databases posts; the reference server has one.
func (st *stage) databasePath(i int) string {
	if st.collides() {
		return "/v2/pipeline"
	}
	return "/db/load-" + strconv.Itoa(i) + "/v2/pipeline"
}

// singleBatches measures 64 connections that insert rows, each by a batch of its own and durable: into a database each, or the one of the reference server.
func singleBatches(_ context.Context, s *settings, st *stage) (func(context.Context) (sample, error), error) {
	all := make([]pusher, agents)
	for i := range all {
		path := st.databasePath(i)
		ddl, err := pipelineBody([]step{{SQL: notesDDL}})
		if err != nil {
			return nil, err
		}
		conn, text := newRaw(st.addr()), newTexts(uint64(i))
		setup := &sqlAgent{conn, path, func() ([]byte, error) { return ddl, nil }}
		if err := errors.Join(setup.push(), conn.close()); err != nil { // the reference serves one connection at a time
			return nil, err
		}
		all[i] = &sqlAgent{conn, path, func() ([]byte, error) {
			return pipelineBody([]step{{SQL: notesInsert, Args: []any{text.get()}}})
		}}
	}
	return under(s, st, all), nil
}

// pointSelects measures 64 connections that read rows of one database by their keys.
func pointSelects(ctx context.Context, s *settings, st *stage) (func(context.Context) (sample, error), error) {
	const rows = 10_000
	if err := st.table(ctx); err != nil {
		return nil, err
	}
	if err := st.commits(ctx, notesInsert, notes(workload.NewText(18), rows)); err != nil {
		return nil, err
	}
	all := make([]pusher, agents)
	for i := range all {
		bodies := make([][]byte, 256)
		for k := range bodies {
			var err error
			if bodies[k], err = json.Marshal(map[string]any{"requests": []any{ // without the close that clients add: the reference doesn't know it
				map[string]any{"type": "execute", "stmt": map[string]any{"sql": "SELECT body FROM notes WHERE id = ?",
					"args": []any{map[string]any{"type": "integer", "value": strconv.Itoa(1 + (i*7919+k*104729)%rows)}}}},
			}}); err != nil {
				return nil, err
			}
		}
		next := 0
		all[i] = &sqlAgent{newRaw(st.addr()), "/v2/pipeline", func() ([]byte, error) {
			next++
			return bodies[next%len(bodies)], nil
		}}
	}
	return under(s, st, all), nil
}

// table makes the table of notes on the server.
func (st *stage) table(ctx context.Context) error {
	hc := newHTTP(1)
	defer hc.CloseIdleConnections()
	return pipeline(ctx, hc, st.addr(), []step{{SQL: notesDDL}}, false)
}

// pipelineCommits measures single-row commits, each durable, in pipelines of 500.
func pipelineCommits(ctx context.Context, s *settings, st *stage) (func(context.Context) (sample, error), error) {
	if err := st.table(ctx); err != nil {
		return nil, err
	}
	text := workload.NewText(19)
	return func(ctx context.Context) (sample, error) {
		rows := notes(text, s.scaled(10_000, 500))
		start := time.Now()
		err := st.commits(ctx, notesInsert, rows)
		return sample{"time": time.Since(start).Seconds()}, err
	}, nil
}

// rowByRow measures what single rows cost a replica that pulls each. A pull brings the page that the row is on, with what was there before: forty pulls fill one such
// page and begin the next.
func rowByRow(ctx context.Context, _ *settings, st *stage) (func(context.Context) (sample, error), error) {
	text := workload.NewText(21)
	a, err := withTable(ctx, st, notesDDL, notesInsert, notes(text, 200))
	if err != nil {
		return nil, err
	}
	b, proxy, err := st.counted(ctx)
	if err != nil {
		return nil, err
	}
	rows := 200
	return func(ctx context.Context) (sample, error) {
		var down []float64
		for range 40 {
			if err := a.insert(ctx, notesInsert, notes(text, 1), false); err != nil {
				return nil, err
			}
			if _, err := a.push(ctx); err != nil {
				return nil, err
			}
			t, err := proxy.during(func() error { _, err := b.pull(ctx); return err })
			if err != nil {
				return nil, err
			}
			down = append(down, float64(t.down))
			rows++
		}
		return sample{"p50": p50(down), "max": slices.Max(down)}, expect(ctx, b, "notes", rows)
	}, nil
}

// officialWakeUp measures the time from the acknowledgement of one client's push to the end of another's pull, which waits for news.
func officialWakeUp(ctx context.Context, s *settings, st *stage) (func(context.Context) (sample, error), error) {
	text := workload.NewText(17)
	a, err := withTable(ctx, st, notesDDL, notesInsert, notes(text, 10))
	if err != nil {
		return nil, err
	}
	p, ok := st.product.(*officialProduct)
	if !ok {
		return nil, fmt.Errorf("%s has no long poll", st.name())
	}
	p.next++
	b := &tursoClient{node: p.node, id: strconv.Itoa(p.next)}
	if _, err := b.do("open", map[string]any{"path": filepath.Join(st.dir, "watcher.db"), "url": "http://" + p.addr(), "longPollMs": 20_000}); err != nil {
		return nil, err
	}
	st.opened = append(st.opened, b)
	return func(context.Context) (sample, error) {
		var waits, answers []float64
		for range s.scaled(20, 5) {
			r, err := p.node.do(map[string]any{"op": "wakeUp", "db": a.(*tursoClient).id, "watcher": b.id, "sql": notesInsert, "row": notes(text, 1)[0]})
			if err != nil {
				return nil, err
			}
			waits = append(waits, r.Value)
			if r, err = p.node.do(map[string]any{"op": "answered"}); err != nil {
				return nil, err
			}
			answers = append(answers, r.Value)
		}
		return sample{"p50": p50(waits), "answer": p50(answers)}, nil
	}, nil
}
