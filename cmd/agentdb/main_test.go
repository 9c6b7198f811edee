package main

import (
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	if os.Getenv("AGENTDB_TEST_MAIN") != "" { // started by TestTerminal
		main()
	}
	testscript.Main(m, map[string]func(){"agentdb": main})
}

// TestScripts runs testdata/script/*.txtar. Each script has $ADDR, a loopback
// address with a free port, "await ADDR", which waits until a server answers
// there, and "load NAME FILE", which sets a variable to the text of a file.
func TestScripts(t *testing.T) {
	update := flag.Lookup("update")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       update != nil && update.Value.String() == "true",
		Setup: func(env *testscript.Env) error {
			addr, err := freeAddr()
			env.Setenv("ADDR", addr)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CACHE_HOME", env.WorkDir+"/.cache")
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": await, "load": load},
	})
}

var _ = flag.Bool("update", false, "rewrite the expected output in testdata/script")

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await ADDR")
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		res, err := http.Get("http://" + args[0] + "/healthz")
		if err != nil {
			continue
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return
		}
	}
	ts.Fatalf("no server at %s", args[0])
}

func load(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: load NAME FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

func TestLifetimeAndSize(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"24h": 24 * time.Hour, "90m": 90 * time.Minute, "30d": 720 * time.Hour, "never": 0,
		"": -1, "0": -1, "-1h": -1, "x": -1, "d": -1, "-3d": -1, "999999999d": -1, "24": -1,
	} {
		var l lifetime
		if err := l.UnmarshalText([]byte(s)); (err != nil) != (want < 0) || err == nil && time.Duration(l) != want {
			t.Errorf("lifetime %q: %v, %v", s, time.Duration(l), err)
		}
	}
	for s, want := range map[string]int64{
		"1": 1, "1000": 1000, "64KiB": 64 << 10, "1MiB": 1 << 20, "2GiB": 2 << 30,
		"": -1, "0": -1, "-1": -1, "1KB": -1, "KiB": -1, "99999999GiB": -1, "9999999999999999": -1,
	} {
		var b byteSize
		if err := b.UnmarshalText([]byte(s)); (err != nil) != (want < 0) || err == nil && int64(b) != want {
			t.Errorf("size %q: %v, %v", s, b, err)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if isTerminal(f) || isTerminal(nil) {
		t.Error("not a terminal")
	}
}
