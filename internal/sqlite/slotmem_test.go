package sqlite

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// slots returns how many free slots of all kinds there are, and in how many
// slabs.
func slots() (free, slabs int) {
	for i := range slotKinds {
		k := &slotKinds[i]
		k.mu.Lock()
		for used, at := range k.lists {
			for ; at != 0; at = (*slotSlab)(ptr(at)).next {
				slabs++
				free += k.n - used
			}
		}
		k.mu.Unlock()
	}
	return free, slabs
}

// TestSlotMemory allocates, resizes and frees at random: nothing overlaps, and
// what is free is given back.
func TestSlotMemory(t *testing.T) {
	if !slotMemory {
		t.Fatal("SQLite was not initialised early enough: its pages take twice the memory")
	}
	tls := libc.NewTLS()
	defer tls.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	sizes := []int{1, pageMin, pageMin + 1, 4096, 4368, pageMax, pageMax + 1, indexMin, indexMax, indexMax + 1, 100_000}
	type piece struct {
		p uintptr
		b []byte
	}
	var all []piece
	check := func(p piece) {
		t.Helper()
		if !bytes.Equal(view(p.p, len(p.b)), p.b) {
			t.Fatal("somebody else wrote there")
		}
		if n := int(lib.Xsqlite3_msize(tls, p.p)); n < len(p.b) || n > len(p.b)+7 {
			t.Fatalf("size is %d, want %d", n, len(p.b))
		}
	}
	fill := func(p uintptr, n int) piece {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		copy(view(p, n), b)
		return piece{p, b}
	}
	for range 3000 {
		n := sizes[rnd.IntN(len(sizes))]
		switch i := rnd.IntN(len(all) + 1); {
		case i == len(all) || len(all) < 300 && rnd.IntN(3) > 0:
			all = append(all, fill(malloc(tls, n), n))
		case rnd.IntN(2) == 0:
			check(all[i])
			free(tls, all[i].p)
			all[i] = all[len(all)-1]
			all = all[:len(all)-1]
		default:
			p := lib.Xsqlite3_realloc64(tls, all[i].p, uint64(n))
			kept := min(n, len(all[i].b))
			if !bytes.Equal(view(p, kept), all[i].b[:kept]) {
				t.Fatal("realloc lost something")
			}
			all[i] = fill(p, n)
		}
	}
	for _, p := range all {
		check(p)
		free(tls, p.p)
	}
	if n, slabs := slots(); n == 0 || slabs > 2*len(slotKinds) {
		t.Errorf("%d free slots in %d slabs are kept", n, slabs)
	}
}
