package history

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// TestCompactRate lets the engine compact 2 MiB at 4 MiB/s: the category that
// slows it down is the engine's, and may change with it.
func TestCompactRate(t *testing.T) {
	for _, urgent := range []bool{false, true} {
		o := engineOptions(Options{CompactRate: 4 << 20}.withDefaults(), &pace{rate: 4 << 20}, nil)
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

// TestCompactRateAtClose: who closes the store doesn't wait for a slow compaction.
func TestCompactRateAtClose(t *testing.T) {
	p, err := Open(Options{Dir: t.TempDir(), CompactRate: 100 << 10})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 4<<20) // what is slowed down is 80 s of writing
	for range 2 {
		for i := range value {
			value[i] = byte(rng.Uint32())
		}
		for i := range byte(2) {
			if err := errors.Join(p.db.Set([]byte{'x', i}, value, pebble.NoSync), p.db.Flush()); err != nil {
				t.Fatal(err)
			}
		}
	}
	compacted := make(chan error, 1)
	go func() { compacted <- p.db.Compact(context.Background(), []byte{0}, []byte{255}, false) }()
	for p.db.Metrics().Compact.NumInProgress == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond) // it waits
	start := time.Now()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("closing took %v", d)
	}
	<-compacted
}
