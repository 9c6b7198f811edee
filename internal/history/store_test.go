package history_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/history/historytest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func openMem(t *testing.T) history.Store {
	s, err := history.Open(history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOpenIsPrivate: what a store holds is its owner's alone.
func TestOpenIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	data := filepath.Join(t.TempDir(), "data")
	s, err := history.Open(history.Options{Dir: filepath.Join(data, "history")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, dir := range []string{data, filepath.Join(data, "history")} {
		if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, st.Mode(), err)
		}
	}
}

func TestConformance(t *testing.T) {
	t.Run("pebble", func(t *testing.T) { historytest.Test(t, openMem) })
	t.Run("few handles", func(t *testing.T) {
		historytest.Test(t, func(t *testing.T) history.Store {
			s, err := history.Open(history.Options{Handles: 1})
			if err != nil {
				t.Fatal(err)
			}
			return s
		})
	})
	t.Run("model", func(t *testing.T) {
		historytest.Test(t, func(*testing.T) history.Store { return historytest.NewModel() })
	})
}

func TestRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HISTORY_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	rounds := uint64(3)
	if testing.Short() {
		rounds = 1
	}
	for i := range rounds {
		o := history.Options{FS: vfs.NewMem(), Dir: "db", Handles: 1 + int(seed+i)%4, MemTableBytes: 256 << 10}
		reopen := func(old history.Store) history.Store {
			if old != nil {
				if err := old.Close(); err != nil {
					t.Fatal(err)
				}
			}
			s, err := history.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		historytest.Random(t, seed+i, 1500, reopen(nil), reopen)
	}
}
