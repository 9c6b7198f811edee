package workload

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// Measure is what one workload cost.
type Measure struct {
	Wall  time.Duration `json:"wall"`
	CPU   time.Duration `json:"cpu"`
	Ops   int           `json:"ops"`
	Check int64         `json:"check"`
}

// Result is what an engine's program prints, as JSON.
type Result struct {
	Engine   string             `json:"engine"`
	Version  string             `json:"version"`
	Measures map[string]Measure `json:"measures"`
}

// Info says which engine a program runs.
type Info struct {
	Name    string
	Version string
}

// Main is the main function of an engine's program.
func Main(info Info, open func(path string) (Engine, error)) {
	dir := flag.String("dir", "", "directory for the database")
	scale := flag.Float64("scale", 1, "share of the full sizes")
	only := flag.String("only", "", "workloads to run, separated by commas")
	profile := flag.String("cpuprofile", "", "write a CPU profile")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, info.Name+":", err)
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	res, err := run(info, open, *dir, *scale, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, info.Name+":", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(res); err != nil {
		os.Exit(1)
	}
}

func run(info Info, open func(path string) (Engine, error), dir string, scale float64, only string) (*Result, error) {
	data := Generate(Scaled(scale))
	e, err := open(filepath.Join(dir, "bench.db"))
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if err := e.Script(DDL); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	res := &Result{Engine: info.Name, Version: info.Version, Measures: map[string]Measure{}}
	for _, name := range Names() {
		if only != "" && !strings.Contains(","+only+",", ","+name+",") {
			continue
		}
		m, err := one(e, name, data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		res.Measures[name] = m
	}
	return res, e.Close()
}

// one prepares and measures one workload.
func one(e Engine, name string, d *Data) (Measure, error) {
	s := d.Sizes
	switch name {
	case Bulk:
		return measure(s.Rows, func() (int64, error) { return 0, e.Bulk(SQLBulk, d.Notes[:s.Rows]) })
	case Autocommit:
		return measure(s.Commits, func() (int64, error) { return 0, e.Autocommit(SQLAutocommit, d.Notes[:s.Commits]) })
	case Point:
		return measure(s.Reads, func() (int64, error) { return e.Point(SQLPoint, d.IDs) })
	case Scan:
		return measure(s.Scans*s.Rows, repeat(s.Scans, func() (int64, error) { return e.Scan(SQLScan) }))
	case Aggregate:
		return measure(s.Aggregates, repeat(s.Aggregates, func() (int64, error) { return e.Scalar(SQLAggregate) }))
	case FTS:
		if err := e.Script(DDLSearch); err != nil {
			return Measure{}, err
		}
		if err := e.Load(SQLSearch, d.Bodies); err != nil {
			return Measure{}, err
		}
		return measure(s.Queries, func() (int64, error) { return e.Search(SQLFTS, d.Queries) })
	case JSON:
		if err := e.Load(SQLDoc, d.Docs); err != nil {
			return Measure{}, err
		}
		return measure(s.JSONs, repeat(s.JSONs, func() (int64, error) { return e.Scalar(SQLJSON) }))
	}
	return Measure{}, fmt.Errorf("unknown workload %q", name)
}

func repeat(n int, fn func() (int64, error)) func() (int64, error) {
	return func() (int64, error) {
		var sum int64
		for range n {
			x, err := fn()
			if err != nil {
				return 0, err
			}
			sum += x
		}
		return sum, nil
	}
}

func measure(ops int, fn func() (int64, error)) (Measure, error) {
	runtime.GC()
	cpu, start := CPU(), time.Now()
	check, err := fn()
	return Measure{Wall: time.Since(start), CPU: CPU() - cpu, Ops: ops, Check: check}, err
}

// CPU is the processor time, user and system, that this process has used, garbage collection included.
func CPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
