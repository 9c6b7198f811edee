package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain plays a role when the swarm under test starts this program again.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		if err := runRole(role); err != nil {
			fmt.Fprintln(os.Stderr, "swarm:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestSwarm runs the main job on a few packages of the standard library.
func TestSwarm(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute) // the race detector is slow
	defer cancel()
	err := run(ctx, config{Packages: 16, Workers: 4, Planners: 3, Batch: 8, Query: "return", Out: &out, Err: &errs})
	t.Logf("\n%s%s", &out, &errs)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"killed with SIGKILL", "started again", "loses the network", "back online", "rows lost        0", "All is well."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]config{
		"workers":  {Workers: 2, Planners: 1, Batch: 1},
		"planners": {Workers: 3, Batch: 1},
		"batch":    {Workers: 3, Planners: 1},
		"source":   {Workers: 3, Planners: 1, Batch: 1, Source: "no/such/dir"},
		"packages": {Workers: 3, Planners: 1, Batch: 1, Source: t.TempDir()},
	} {
		cfg.Out, cfg.Err = new(bytes.Buffer), new(bytes.Buffer)
		if err := run(context.Background(), cfg); err == nil {
			t.Errorf("bad %s: no error", name)
		}
	}
}
