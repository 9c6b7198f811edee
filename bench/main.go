// Bench measures agentdb against its peers: run `go run . embedded`, `sync`, `official`, `server`, `platform`, `soak` or `all` in this directory.
// It prints a table of medians and ratios with the targets of the project, hit or missed, and writes results/<suite>.json.
// README.md says what each suite does and what it needs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// settings are the command line's.
type settings struct {
	runs     int
	scale    float64
	only     string
	dir      string // the parent of the temporary directory: its disk is what durable writes are measured on
	results  string
	tmp      string // removed at the end
	peerOnly bool
	profile  string
	soak     time.Duration
	bench    string // this directory: go.mod, node_modules
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var s settings
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.IntVar(&s.runs, "runs", 5, "interleaved runs per measure")
	fs.Float64Var(&s.scale, "scale", 1, "share of the full sizes, for a quick look")
	fs.StringVar(&s.only, "only", "", "measures to run: words that their names contain, separated by commas")
	fs.StringVar(&s.dir, "dir", "", "directory on a real disk for the databases (default: work/ here)")
	fs.StringVar(&s.results, "results", "results", "directory for the results")
	fs.BoolVar(&s.peerOnly, "peer-only", false, "measure the peers alone (sync and server)")
	fs.DurationVar(&s.soak, "for", 10*time.Minute, "how long to soak")
	fs.StringVar(&s.profile, "cpuprofile", "", "write a CPU profile of this process: our clients in sync, the load generator in server")
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "usage: go run . [flags] embedded|sync|official|server|platform|soak|all")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	suites := fs.Args()
	if len(suites) == 0 {
		fs.Usage()
		return errors.New("which suite?")
	}
	if suites[0] == "all" {
		suites = []string{"embedded", "sync", "official", "server", "platform"}
	}
	if err := s.prepare(); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(s.tmp) }()
	stop, err := s.startProfile()
	if err != nil {
		return err
	}
	defer stop()
	for _, name := range suites {
		if err := s.suite(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *settings) prepare() (err error) {
	if s.bench, err = os.Getwd(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.bench, "engines")); err != nil {
		return errors.New("run it in the bench directory")
	}
	if s.dir == "" {
		s.dir = filepath.Join(s.bench, "work")
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	s.tmp, err = os.MkdirTemp(s.dir, "run-")
	return err
}

func (s *settings) startProfile() (stop func(), err error) {
	if s.profile == "" {
		return func() {}, nil
	}
	f, err := os.Create(s.profile)
	if err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile cut short says so itself
	}, pprof.StartCPUProfile(f)
}

func (s *settings) suite(ctx context.Context, name string) error {
	suites := map[string]func(context.Context, *settings, *report) error{"embedded": embeddedSuite, "sync": syncSuite, "official": officialSuite, "server": serverSuite, "platform": platformSuite, "soak": soakSuite}
	fn := suites[name]
	if fn == nil {
		return errors.New("no such suite")
	}
	r := &report{Suite: name, Started: time.Now().UTC().Truncate(time.Second), Machine: machine(),
		Settings: fmt.Sprintf("%d interleaved runs, scale %g", s.runs, s.scale), Versions: map[string]string{"go": runtime.Version()}}
	err := fn(ctx, s, r)
	if len(r.Rows) > 0 {
		r.print(os.Stdout)
		if err == nil && s.scale == 1 && s.only == "" {
			err = r.save(s.results)
		}
	}
	return err
}

// wants tells whether a measure is among those asked for.
func (s *settings) wants(name string) bool {
	if s.only == "" {
		return true
	}
	for w := range strings.SplitSeq(s.only, ",") {
		if strings.Contains(name, strings.TrimSpace(w)) {
			return true
		}
	}
	return false
}

// scaled returns n times the scale, at least lo.
func (s *settings) scaled(n, lo int) int { return max(lo, int(float64(n)*s.scale)) }

func machine() string {
	model := ""
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = ", " + strings.TrimSpace(v)
				break
			}
		}
	}
	return fmt.Sprintf("%s/%s, %d CPUs%s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), model)
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "  "+format+"\n", args...)
}
