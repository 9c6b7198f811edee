package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/agentdb/agentdb/bench/workload"
)

// Engines of the embedded suite. Each run of one is a process of its own.
const (
	oursPlain    = "agentdb"
	oursSQL      = "agentdb through database/sql"
	oursCaptured = "captured"
	mattn        = "mattn"
	modernc      = "modernc"
	ncruces      = "ncruces"
	turso        = "@tursodatabase/database"
)

// offline is a server that isn't there: a port that nothing may listen on.
const offline = "http://127.0.0.1:1/db/offline"

type embedded struct {
	s       *settings
	bin     string
	data    string
	results map[string][]workload.Result // by engine, in the order of the runs
}

func embeddedSuite(ctx context.Context, s *settings, r *report) error {
	e := &embedded{s: s, bin: filepath.Join(s.tmp, "bin"), data: filepath.Join(s.tmp, "data.json"), results: map[string][]workload.Result{}}
	if err := e.build(ctx); err != nil {
		return err
	}
	if err := e.writeData(); err != nil {
		return err
	}
	engines := []string{oursPlain, mattn, turso, modernc, ncruces, oursSQL, oursCaptured}
	for i := range s.runs {
		for _, name := range engines {
			if name != mattn && !s.wants(name) {
				continue
			}
			progress("embedded: run %d of %d, %s", i+1, s.runs, name)
			res, err := e.runOne(ctx, name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			e.results[name] = append(e.results[name], *res)
			r.Versions[name] = res.Version
		}
	}
	if err := e.check(); err != nil {
		return err
	}
	goModules(ctx, s, r)
	e.rows(r)
	r.note("CPU is user and system time of the engine's own process (getrusage), garbage collection included; WAL, synchronous=FULL, foreign_keys=1 everywhere; equal check sums")
	r.note("agentdb is used through Get, Iter, Exec and Stmt.Run; mattn and modernc through database/sql with prepared statements; ncruces natively; %s through its synchronous interface", turso)
	r.note("captured: a synced database whose server can't be reached")
	return nil
}

// build makes one program per engine, so that none carries the runtime of another.
func (e *embedded) build(ctx context.Context) error {
	for _, b := range []struct {
		name, tags string
		cgo        bool
	}{{oursPlain, "", false}, {mattn, "sqlite_fts5", true}, {modernc, "", false}, {ncruces, "", false}} {
		progress("embedded: building %s", b.name)
		cmd := exec.CommandContext(ctx, "go", "build", "-tags", b.tags, "-o", filepath.Join(e.bin, b.name), "./engines/"+b.name)
		cmd.Dir, cmd.Env = e.s.bench, append(os.Environ(), "CGO_ENABLED=0")
		if b.cgo {
			cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", b.name, err, out)
		}
	}
	return nil
}

func (e *embedded) writeData() error {
	b, err := json.Marshal(map[string]any{
		"data": workload.Generate(workload.Scaled(e.s.scale)),
		"sql": map[string]string{"ddl": workload.DDL, "bulk": workload.SQLBulk, "autocommit": workload.SQLAutocommit, "point": workload.SQLPoint,
			"scan": workload.SQLScan, "aggregate": workload.SQLAggregate, "doc": workload.SQLDoc, "json": workload.SQLJSON},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(e.data, b, 0o600)
}

// runOne runs one engine's program on a fresh directory.
func (e *embedded) runOne(ctx context.Context, name string) (*workload.Result, error) {
	dir, err := os.MkdirTemp(e.s.tmp, "db-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin := name
	args := []string{"-dir", dir, "-scale", strconv.FormatFloat(e.s.scale, 'g', -1, 64)}
	switch name {
	case oursSQL:
		bin, args = oursPlain, append(args, "-sql", "-name", name)
	case oursCaptured:
		bin, args = oursPlain, append(args, "-url", offline, "-name", name, "-only", workload.Bulk+","+workload.Autocommit)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(e.bin, bin), args...)
	if name == turso {
		cmd = exec.CommandContext(ctx, "node", "--expose-gc", filepath.Join(e.s.bench, "node", "embedded.mjs"), filepath.Join(dir, "bench.db"), e.data, "")
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var res workload.Result
	if err := json.Unmarshal(out, &res); err != nil {
		return nil, err
	}
	return &res, nil
}

// check compares the check sums of all engines with mattn's.
func (e *embedded) check() error {
	want := e.results[mattn][0]
	for name, runs := range e.results {
		for _, res := range runs {
			for w, m := range res.Measures {
				if m.Check != want.Measures[w].Check {
					return fmt.Errorf("%s: %s computes %d, %s computes %d", w, name, m.Check, mattn, want.Measures[w].Check)
				}
			}
		}
	}
	return nil
}

// per returns seconds per operation for each run of an engine.
func (e *embedded) per(engine, work string, of func(workload.Measure) time.Duration) []float64 {
	var xs []float64
	for _, res := range e.results[engine] {
		if m, ok := res.Measures[work]; ok {
			xs = append(xs, of(m).Seconds()/float64(m.Ops))
		}
	}
	return xs
}

func cpuTime(m workload.Measure) time.Duration  { return m.CPU }
func wallTime(m workload.Measure) time.Duration { return m.Wall }

func (e *embedded) rows(r *report) {
	againstMattn := map[string]target{workload.Point: atMost(0.5), workload.Scan: atMost(0.6), workload.Autocommit: atMost(1.15), workload.Bulk: atMost(1.2)}
	peers := func(work string, of func(workload.Measure) time.Duration, kind string, targets bool) {
		for _, peer := range []string{mattn, turso, modernc, ncruces} {
			if kind == "wall" && peer != mattn && peer != turso {
				continue
			}
			t := target{}
			switch main := againstMattn[work]; {
			case targets && peer == mattn:
				t = main
			case targets && peer == turso && main.set:
				t = atMost(1)
			}
			if theirs := e.per(peer, work, of); len(theirs) > 0 {
				r.add(newRow(work+", "+kind, seconds, e.per(oursPlain, work, of), peer, theirs, t))
			}
		}
	}
	for _, work := range workload.Names() {
		peers(work, cpuTime, "CPU", true)
	}
	for _, work := range workload.Names() {
		peers(work, wallTime, "wall", false)
	}
	for _, work := range workload.Names() {
		r.add(newRow(work+" through DB.SQL(), CPU", seconds, e.per(oursSQL, work, cpuTime), mattn, e.per(mattn, work, cpuTime), target{}))
	}
	for _, work := range []string{workload.Autocommit, workload.Bulk} {
		r.add(newRow("captured "+work+", CPU", seconds, e.per(oursCaptured, work, cpuTime), "uncaptured", e.per(oursPlain, work, cpuTime), atMost(2.5)))
		r.add(newRow("captured "+work+", wall", seconds, e.per(oursCaptured, work, wallTime), "uncaptured", e.per(oursPlain, work, wallTime), atMost(2.5)))
	}
}

// goModules adds the versions of the Go peers.
func goModules(ctx context.Context, s *settings, r *report) {
	for name, path := range map[string]string{mattn: "github.com/mattn/go-sqlite3", modernc: "modernc.org/sqlite", ncruces: "github.com/ncruces/go-sqlite3"} {
		cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Version}}", path)
		cmd.Dir = s.bench
		if out, err := cmd.Output(); err == nil {
			r.Versions[name] = string(out[:len(out)-1]) + ", " + r.Versions[name]
		}
	}
}
