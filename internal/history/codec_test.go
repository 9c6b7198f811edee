package history

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"
)

func sampleCommit() (*Commit, []pageSum) {
	return &Commit{
		Seq: 300, Time: time.UnixMilli(1_700_000_000_123).UTC(), Parent: Hash{1, 2, 3}, Author: "agent-7",
		Change: []byte("changed rows"), Meta: []byte("meta"), Pages: []uint32{1, 2, 1000}, DBSize: 1000,
	}, []pageSum{{1, 11}, {2, 22}, {1000, math.MaxUint64}}
}

// TestCommitFormat pins the encoding and the hash: stored data depends on them.
func TestCommitFormat(t *testing.T) {
	c, sums := sampleCommit()
	rec, hash := appendCommit(nil, c, sums)
	const want = "01ac02f6a1abfef962" +
		"0102030000000000000000000000000000000000000000000000000000000000" +
		"e807076167656e742d37" + "03" + "010b00000000000000" + "011600000000000000" + "e607ffffffffffffffff" +
		"046d657461" + "0c6368616e67656420726f7773" +
		"4f56176ee585bf67aae85f86a1580cac75254dc47d5fe7c748cfb4c88abeb9e5"
	if got := hex.EncodeToString(rec); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	c.Hash = hash
	got, gotSums, err := decodeCommit(rec)
	if err != nil || !reflect.DeepEqual(got, c) || !reflect.DeepEqual(gotSums, sums) {
		t.Errorf("decoded %+v %v %v, want %+v", got, gotSums, err, c)
	}
}

// TestCommitDamage flips every bit and cuts at every byte: all is noticed.
func TestCommitDamage(t *testing.T) {
	c, sums := sampleCommit()
	rec, _ := appendCommit(nil, c, sums)
	for i := range len(rec) * 8 {
		bad := bytes.Clone(rec)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := decodeCommit(bad); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
	}
	for i := range rec {
		if _, _, err := decodeCommit(rec[:i]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, _, err := decodeCommit(append(bytes.Clone(rec), 0)); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("one byte more: %v", err)
	}
}

func TestTimes(t *testing.T) {
	for _, ms := range []int64{0, 1, -1, math.MaxInt64 / 2, math.MinInt64 / 2, time.Time{}.UnixMilli()} {
		h := Head{Seq: 1, Time: time.UnixMilli(ms).UTC()}
		got, err := decodeHead(encodeHead(h))
		if err != nil || !got.Time.Equal(h.Time) {
			t.Errorf("%d: got %v %v, want %v", ms, got.Time, err, h.Time)
		}
	}
}

func TestImages(t *testing.T) {
	random := make([]byte, PageSize)
	x := uint32(1)
	for i := range random {
		x = x*1664525 + 1013904223
		random[i] = byte(x >> 24)
	}
	for _, c := range []struct {
		kind byte
		data []byte
	}{{imageZero, make([]byte, PageSize)}, {imageRaw, random}, {imageS2, bytes.Repeat([]byte("text"), PageSize/4)}} {
		rec, _ := appendImage(nil, c.data)
		if rec[0] != c.kind || len(rec) > maxImage {
			t.Errorf("kind %d, %d bytes, want %d", rec[0], len(rec), c.kind)
		}
		got := bytes.Repeat([]byte{7}, PageSize)
		if err := decodeImage(got, rec); err != nil || !bytes.Equal(got, c.data) {
			t.Errorf("kind %d: %v", c.kind, err)
		}
		for i := range rec {
			bad := bytes.Clone(rec)
			bad[i] ^= 0x10
			if err := decodeImage(got, bad); err == nil && !bytes.Equal(got, c.data) {
				t.Errorf("kind %d: byte %d changed, not noticed", c.kind, i)
			}
		}
	}
}

func FuzzDecodeCommit(f *testing.F) {
	c, sums := sampleCommit()
	rec, _ := appendCommit(nil, c, sums)
	f.Add(rec[:len(rec)-32])
	f.Fuzz(func(t *testing.T, body []byte) {
		// The right hash, or nothing gets past it.
		h := commitHash(body)
		rec := append(bytes.Clone(body), h[:]...)
		c, sums, err := decodeCommit(rec)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, hash := appendCommit(nil, c, sums)
		if !bytes.Equal(again, rec) || hash != c.Hash {
			t.Fatalf("two encodings: %x and %x", rec, again)
		}
	})
}

func FuzzDecodeHead(f *testing.F) {
	f.Add(encodeHead(Head{Seq: 1000, Hash: Hash{1}, DBSize: 500, Time: time.UnixMilli(1e12)}))
	f.Fuzz(func(t *testing.T, rec []byte) {
		if h, err := decodeHead(rec); err == nil && !bytes.Equal(encodeHead(h), rec) {
			t.Fatalf("two encodings: %x and %x", rec, encodeHead(h))
		}
	})
}

func FuzzDecodeDescriptor(f *testing.F) {
	f.Add(encodeDescriptor(descriptor{
		Name: "name", Created: time.UnixMilli(1e12), Base: Head{Seq: 3, Hash: Hash{1}},
		Parent: 9, ParentName: "parent", Horizon: 4,
	}))
	f.Fuzz(func(t *testing.T, rec []byte) {
		if d, err := decodeDescriptor(rec); err == nil && !bytes.Equal(encodeDescriptor(d), rec) {
			t.Fatalf("two encodings: %x and %x", rec, encodeDescriptor(d))
		}
	})
}

func FuzzDecodeImage(f *testing.F) {
	rec, _ := appendImage(nil, bytes.Repeat([]byte("text"), PageSize/4))
	f.Add(rec)
	f.Add([]byte{imageZero, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, rec []byte) {
		dst := make([]byte, PageSize)
		if err := decodeImage(dst, rec); err != nil {
			return
		}
		again, _ := appendImage(nil, dst)
		out := make([]byte, PageSize)
		if err := decodeImage(out, again); err != nil || !bytes.Equal(out, dst) {
			t.Fatalf("does not survive encoding: %v", err)
		}
	})
}

func FuzzPageKey(f *testing.F) {
	f.Add(uint64(1), uint32(2), uint64(3))
	f.Fuzz(func(t *testing.T, id uint64, no uint32, seq uint64) {
		gotNo, gotSeq, err := parsePageKey(pageKey(id, no, seq))
		if err != nil || gotNo != no || gotSeq != seq {
			t.Fatalf("got %d %d %v", gotNo, gotSeq, err)
		}
		if seq > 0 && bytes.Compare(pageKey(id, no, seq), pageKey(id, no, seq-1)) >= 0 {
			t.Fatal("newer images must come first")
		}
	})
}
