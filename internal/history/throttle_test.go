package history

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// TestCompactRate lets the engine compact 2 MiB at 4 MiB/s: the category that
// slows it down is the engine's, and may change with it.
func TestCompactRate(t *testing.T) {
	for _, urgent := range []bool{false, true} {
		o := engineOptions(Options{CompactRate: 4 << 20}.withDefaults(), nil)
		db, err := pebble.Open(t.TempDir(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		rng := rand.New(rand.NewPCG(1, 2))
		key, value := make([]byte, 8), make([]byte, 64<<10)
		for range 2 { // what lies over itself can't only be moved
			for i := range 32 {
				key[0] = byte(i)
				for j := range value {
					value[j] = byte(rng.Uint32())
				}
				if err := db.Set(key, value, pebble.NoSync); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if urgent {
			o.EventListener.WriteStallBegin(pebble.WriteStallBeginInfo{Reason: "test"})
		}
		start := time.Now()
		if err := db.Compact(context.Background(), []byte{0}, []byte{255}, false); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); !urgent && d < 400*time.Millisecond {
			t.Errorf("2 MiB were compacted in %v", d)
		} else if urgent && d > 400*time.Millisecond {
			t.Errorf("2 MiB that writers wait for were compacted in %v", d)
		}
	}
}
