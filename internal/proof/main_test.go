package proof

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

var (
	flagRounds  = flag.Int("proof.rounds", 300, "rounds of TestReplicas, over all its schemas")
	flagSeed    = flag.Uint64("proof.seed", 1, "first seed of the random tests; 0 takes one from the clock")
	flagSoak    = flag.Duration("proof.soak", 0, "how long TestSoak goes on; 0 skips it")
	flagWithout = flag.String("proof.without", "", "parts of random schemas to leave out: fts, view, log, counts, policy, ddl, second, push")
	flagSkip    = flag.String("proof.skip", "", "rounds of TestReplicas to leave out, by number, to find those that a failure needs")
	flagKills   = flag.Int("proof.kills", 4, "how often each crash test kills its process")
)

// childRole is the variable of the environment that makes the test binary one
// of the processes of a crash test.
const childRole = "AGENTDB_PROOF_CHILD"

func TestMain(m *testing.M) {
	flag.Parse()
	if role := os.Getenv(childRole); role != "" {
		if err := runChild(role); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// baseSeed is the seed that the random tests start with.
func baseSeed() uint64 {
	if *flagSeed != 0 {
		return *flagSeed
	}
	return uint64(time.Now().UnixNano()) % 1_000_000_000
}

// bg bounds a call that has to end by itself.
func bg(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// execer is a *DB or a *Tx.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (agentdb.Result, error)
}

func exec(t testing.TB, q execer, text string, args ...any) agentdb.Result {
	t.Helper()
	res, err := q.Exec(bg(t), text, args...)
	if err != nil {
		t.Fatalf("exec %s: %v", text, err)
	}
	return res
}

func get[T any](t testing.TB, q agentdb.Querier, text string, args ...any) T {
	t.Helper()
	v, err := agentdb.Get[T](bg(t), q, text, args...)
	if err != nil {
		t.Fatalf("get %s: %v", text, err)
	}
	return v
}

func all[T any](t testing.TB, q agentdb.Querier, text string, args ...any) []T {
	t.Helper()
	v, err := agentdb.All[T](bg(t), q, text, args...)
	if err != nil {
		t.Fatalf("all %s: %v", text, err)
	}
	return v
}

// opened opens a database that is closed with the test.
func opened(t testing.TB, path string, o *agentdb.Options) *agentdb.DB {
	t.Helper()
	db, err := agentdb.Open(bg(t), path, o)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close %s: %v", path, err)
		}
	})
	return db
}

func closed(t testing.TB, db *agentdb.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// synced syncs and fails the test if that fails.
func synced(t testing.TB, db *agentdb.DB) agentdb.Report {
	t.Helper()
	rep, err := db.Sync(bg(t))
	if err != nil {
		t.Fatalf("sync: %v", err)
	}
	return rep
}
