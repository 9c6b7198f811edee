package turso_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/agentdb/agentdb/internal/turso"
)

// TestGzipOfBlocks puts blocks of all sizes together in another order than they
// were made in, and reads the stream as one member.
func TestGzipOfBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := [][]byte{{}, {0}, bytes.Repeat([]byte("again "), 100_000)}
	for range 20 {
		p := make([]byte, rng.IntN(70_000))
		for i := range p {
			p[i] = byte(rng.IntN(1 + rng.IntN(255)))
		}
		parts = append(parts, p)
	}
	blocks := make([]turso.Block, len(parts))
	var buf []byte
	for i, p := range parts {
		buf = turso.MakeBlock(buf, p) // memory that was used before
		if blocks[i] = slices.Clone(buf); !blocks[i].Intact() {
			t.Fatalf("block %d is not intact", i)
		}
	}
	for _, order := range [][]int{nil, {2}, {0, 1, 0}, rng.Perm(len(parts)), rng.Perm(len(parts))} {
		var z turso.Gzip
		stream, want := z.Begin(nil, []byte("head")), []byte("head")
		for _, i := range order {
			stream = append(stream, z.Add(blocks[i])...)
			want = append(want, parts[i]...)
		}
		stream = z.End(stream)
		r, err := gzip.NewReader(bytes.NewReader(append(stream, "more"...)))
		if err != nil {
			t.Fatal(err)
		}
		r.Multistream(false)
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("blocks %v: %d bytes, want %d: %v", order, len(got), len(want), err)
		}
	}
	for i := range blocks[1] {
		b := slices.Clone(blocks[1])
		if b[i] ^= 16; b.Intact() {
			t.Errorf("a wrong byte %d is not noticed", i)
		}
	}
}
