// Swarm indexes the source of the Go standard library with a swarm of agents,
// each a process with a database file of its own, and proves afterwards that
// nothing was lost.
//
//	go run ./examples/swarm
//
// Planners insert one task per package, offline and at the same time. Workers
// claim tasks, parse the packages, and write packages, symbols, references and
// doc comments with a full-text index. One worker is killed with SIGKILL halfway
// and started again on the same file; two lose the network for a while and go on
// without it. The coordinator has a copy that only receives, and draws from it.
//
// At the end the result is compared with that of a single process over the same
// source, row by row, and all files with one another. The exit code is 1 if
// anything is off.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// database is the name of the swarm's database on the server.
const database = "swarm"

// config is what the flags say.
type config struct {
	Source   string // root of the source tree
	Packages int    // how many packages, 0: all
	Workers  int
	Planners int
	Batch    int // how many tasks a worker claims at once
	Query    string
	Keep     bool // keep the files
	Plain    bool // lines instead of a live view
	Verbose  bool
	Out      io.Writer
	Err      io.Writer
}

func main() {
	if role := os.Getenv(roleVar); role != "" {
		if err := runRole(role); err != nil {
			fmt.Fprintln(os.Stderr, "swarm:", err)
			os.Exit(1)
		}
		return
	}
	cfg := config{Out: os.Stdout, Err: os.Stderr}
	flag.StringVar(&cfg.Source, "src", "", "source `directory` to index; GOROOT/src if empty")
	flag.IntVar(&cfg.Packages, "pkgs", 0, "index `n` packages only, spread evenly; 0: all")
	flag.IntVar(&cfg.Workers, "workers", 4, "worker processes, at least 3")
	flag.IntVar(&cfg.Planners, "planners", 3, "planner processes")
	flag.IntVar(&cfg.Batch, "batch", 8, "most tasks that a worker claims at once")
	flag.StringVar(&cfg.Query, "query", "concurrent goroutines", "full-text `query` to ask every copy at the end")
	flag.BoolVar(&cfg.Keep, "keep", false, "keep the database files, and say where they are")
	flag.BoolVar(&cfg.Plain, "plain", false, "print lines, even to a terminal")
	flag.BoolVar(&cfg.Verbose, "v", false, "print what each worker does")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, cfg)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "swarm:", err)
		os.Exit(1)
	}
}

// errOff says that the report has a cross in it.
var errOff = errors.New("something is off, see the report")

// run runs the swarm and checks its result.
func run(ctx context.Context, cfg config) (err error) {
	dirs, err := cfg.plan(ctx)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "agentdb-swarm-")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := newSwarm(cfg, tmp, dirs)
	defer func() {
		cancel()
		err = errors.Join(err, s.close())
		if cfg.Keep {
			fmt.Fprintf(cfg.Out, "\nThe files are in %s\n", tmp)
		} else {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := s.work(ctx); err != nil {
		return err
	}
	r, err := s.verify(ctx)
	if err != nil {
		return err
	}
	r.print(cfg.Out)
	if !r.ok() {
		return errOff
	}
	return nil
}

// plan fills in what the flags leave open, and lists the packages.
func (cfg *config) plan(ctx context.Context) ([]string, error) {
	if cfg.Workers < 3 || cfg.Planners < 1 || cfg.Batch < 1 {
		return nil, errors.New("it takes 3 workers or more, a planner, and a batch of 1")
	}
	if cfg.Source == "" {
		out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return nil, fmt.Errorf("find the standard library's source (or give it with -src): go env GOROOT: %w", err)
		}
		cfg.Source = filepath.Join(strings.TrimSpace(string(out)), "src")
	}
	dirs, err := packageDirs(cfg.Source)
	if err != nil {
		return nil, err
	}
	dirs = sample(dirs, cfg.Packages)
	// Every worker must come by something to lose.
	cfg.Batch = min(cfg.Batch, len(dirs)/(2*cfg.Workers))
	if cfg.Batch == 0 {
		return nil, fmt.Errorf("%d packages are too few for %d workers", len(dirs), cfg.Workers)
	}
	return dirs, nil
}
