package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// pageWriter writes one page again and again, a few bytes of it each time.
type pageWriter struct {
	rng    *rand.Rand
	page   []byte
	images [][]byte // by revision; the first is revision 1
}

func newPageWriter(seed uint64) *pageWriter {
	w := &pageWriter{rng: rand.New(rand.NewPCG(seed, 1)), page: make([]byte, PageSize)}
	for i := range w.page {
		w.page[i] = byte(w.rng.Uint32())
	}
	return w
}

// write appends a commit that changes some runs of bytes.
func (w *pageWriter) write(t *testing.T, p *Pebble, id DBID, no uint32) *Pending {
	t.Helper()
	for range w.rng.IntN(5) {
		n := 1 + w.rng.IntN(100)
		for i, at := 0, w.rng.IntN(PageSize-n+1); i < n; i++ {
			w.page[at+i] ^= byte(w.rng.Uint32() & w.rng.Uint32())
		}
	}
	c := &NewCommit{DBSize: no, Pages: []Page{{no, bytes.Clone(w.page)}}}
	pending := must[*Pending](t)(p.Append(t.Context(), id, must[Head](t)(p.Head(t.Context(), id)), c))
	w.images = append(w.images, bytes.Clone(w.page))
	return pending
}

// check reads all revisions from first on, page by page and as a whole.
func (w *pageWriter) check(t *testing.T, p *Pebble, id DBID, no uint32, first int) {
	t.Helper()
	for i := first - 1; i < len(w.images); i++ {
		if got := must[[]byte](t)(p.Page(t.Context(), id, no, uint64(i)+1)); !bytes.Equal(got, w.images[i]) {
			t.Fatalf("%s: page at %d is not what was written", id, i+1)
		}
		for pg, err := range p.Pages(t.Context(), id, uint64(i)+1) {
			ok(t, err)
			if pg.No == no && !bytes.Equal(pg.Data, w.images[i]) {
				t.Fatalf("%s: page in the stream at %d is not what was written", id, i+1)
			}
		}
	}
}

// kinds counts the records of a database's pages by kind.
func kinds(t *testing.T, p *Pebble, id uint64) (n [4]int) {
	t.Helper()
	it := must[*pebble.Iterator](t)(p.scan(idKey(prefixPage, id), idKey(prefixPage, id+1)))
	for valid := it.First(); valid; valid = it.Next() {
		n[must[[]byte](t)(it.ValueAndErr())[0]]++
	}
	ok(t, closeIter(it, nil))
	return n
}

// TestPatches: most images are stored as differences, and every revision is read
// as it was written; after a restart and in forks too.
func TestPatches(t *testing.T) {
	fs := vfs.NewMem()
	p := openTest(t, Options{Dir: "db", FS: fs})
	ok(t, p.Create(t.Context(), "a"))
	w := newPageWriter(1)
	for range 100 {
		ok(t, w.write(t, p, "a", 3).Wait(t.Context()))
	}
	w.check(t, p, "a", 3, 1)
	if n := kinds(t, p, internalID(t, p, "a")); n[imagePatch] < 80 || n[imageRaw] < 3 {
		t.Errorf("records by kind: %v", n)
	}
	ok(t, p.Fork(t.Context(), "a", 50, "b"))
	fork := &pageWriter{rng: w.rng, page: bytes.Clone(w.images[49]), images: w.images[:50:50]}
	for range 10 {
		ok(t, fork.write(t, p, "b", 3).Wait(t.Context()))
	}
	fork.check(t, p, "b", 3, 1)
	ok(t, p.Close())
	p = openTest(t, Options{Dir: "db", FS: fs})
	for range 10 {
		ok(t, w.write(t, p, "a", 3).Wait(t.Context()))
	}
	w.check(t, p, "a", 3, 1)
	fork.check(t, p, "b", 3, 1)
}

// TestRetainKeepsWhatPatchesNeed drops revisions in the middle of chains.
func TestRetainKeepsWhatPatchesNeed(t *testing.T) {
	p := openTest(t, Options{})
	ok(t, p.Create(t.Context(), "a"))
	w := newPageWriter(2)
	for i := range 200 {
		ok(t, w.write(t, p, "a", 2).Wait(t.Context()))
		if i == 60 {
			ok(t, p.Fork(t.Context(), "a", 50, "b"))
		}
		if i%23 == 22 {
			ok(t, p.Retain(t.Context(), "a", uint64(i-5)))
			w.check(t, p, "a", 2, i-5)
		}
	}
	if n := count(t, p, prefixPage, internalID(t, p, "a")); n > 3*maxChain+20 {
		t.Errorf("%d images are left", n)
	}
	if got := must[[]byte](t)(p.Page(t.Context(), "b", 2, 50)); !bytes.Equal(got, w.images[49]) {
		t.Error("the fork's page is not what was written")
	}
}

// TestPatchAfterAbort: an image that was lost with its commit is never patched.
func TestPatchAfterAbort(t *testing.T) {
	p := openTest(t, Options{})
	ok(t, p.Create(t.Context(), "a"))
	w := newPageWriter(3)
	for range 3 {
		ok(t, w.write(t, p, "a", 1).Wait(t.Context()))
	}
	for round := range 20 {
		p.full.Store(false)
		hold := make(chan struct{})
		p.commit.mu.Lock()
		p.commit.admit = func() error { <-hold; return errors.New("refused") }
		p.commit.mu.Unlock()
		kept := bytes.Clone(w.page)
		lost := []*Pending{w.write(t, p, "a", 1), w.write(t, p, "a", 1)}
		close(hold)
		for _, l := range lost {
			want(t, l.Wait(t.Context()), ErrAborted)
		}
		p.commit.mu.Lock()
		p.commit.admit = p.admit
		p.commit.mu.Unlock()
		w.page, w.images = kept, w.images[:3+round]
		ok(t, w.write(t, p, "a", 1).Wait(t.Context()))
		w.check(t, p, "a", 1, 1)
	}
}

// TestPatchAfterShrink: images of pages that were dropped may go, so those that
// come back are stored whole.
func TestPatchAfterShrink(t *testing.T) {
	p := openTest(t, Options{})
	ok(t, p.Create(t.Context(), "a"))
	add(t, p, "a", "first", 9, 1, 9)
	add(t, p, "a", "small", 1, 1)
	ok(t, p.Retain(t.Context(), "a", 2))
	head := must[Head](t)(p.Head(t.Context(), "a"))
	pending := must[*Pending](t)(p.Append(t.Context(), "a", head,
		&NewCommit{DBSize: 9, Pages: []Page{textPage(9, "back")}},
		&NewCommit{DBSize: 9, Pages: []Page{textPage(9, "again")}},
		&NewCommit{DBSize: 1},
		&NewCommit{DBSize: 9, Pages: []Page{textPage(9, "last")}}))
	ok(t, pending.Wait(t.Context()))
	for at, text := range map[uint64]string{3: "back", 4: "again", 6: "last"} {
		if got := must[[]byte](t)(p.Page(t.Context(), "a", 9, at)); !bytes.HasPrefix(got, []byte(text+"\x00")) {
			t.Errorf("at %d: %.6q", at, got)
		}
	}
	pending = must[*Pending](t)(p.Append(t.Context(), "a", pending.Head(),
		&NewCommit{DBSize: 0}, &NewCommit{DBSize: 9, Pages: []Page{textPage(9, "end")}}))
	ok(t, pending.Wait(t.Context()))
	ok(t, p.Retain(t.Context(), "a", 7))
	if got := must[[]byte](t)(p.Page(t.Context(), "a", 9, 8)); !bytes.HasPrefix(got, []byte("end\x00")) {
		t.Errorf("at 8: %.6q", got)
	}
}

// TestLastImagesAreBounded writes more pages than images are kept of.
func TestLastImagesAreBounded(t *testing.T) {
	p := openTest(t, Options{ImageBytes: 4 * PageSize})
	ok(t, p.Create(t.Context(), "a"))
	for i := range 3 {
		for no := uint32(1); no <= 9; no++ {
			add(t, p, "a", fmt.Sprint(i, no), 9, no)
			add(t, p, "a", fmt.Sprint(i, no, "again"), 9, no)
		}
	}
	if n := len(p.images.m); n != 4 {
		t.Errorf("%d images kept", n)
	}
	if n := kinds(t, p, internalID(t, p, "a")); n[imagePatch] != 27 {
		t.Errorf("records by kind: %v", n)
	}
}

// TestPatchDamage flips every bit of a chain, and takes its end away.
func TestPatchDamage(t *testing.T) {
	p := openTest(t, Options{})
	ok(t, p.Create(t.Context(), "a"))
	w := newPageWriter(4)
	for range 4 {
		ok(t, w.write(t, p, "a", 1).Wait(t.Context()))
	}
	id := internalID(t, p, "a")
	for seq := uint64(1); seq <= 4; seq++ {
		key := pageKey(id, 1, seq)
		rec := must[[]byte](t)(p.get(key))
		for i := range min(len(rec), 200) * 8 {
			bad := bytes.Clone(rec)
			bad[i/8] ^= 1 << (i % 8)
			ok(t, p.db.Set(key, bad, nil))
			got, err := p.Page(t.Context(), "a", 1, 4)
			if i < 8*imageHeader && i >= 8 && seq > 1 && seq < 4 {
				continue // the checksum in the middle of a chain
			}
			if err == nil && !bytes.Equal(got, w.images[3]) || err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("bit %d of record %d: %v", i, seq, err)
			}
		}
		ok(t, p.db.Set(key, rec, nil))
	}
	ok(t, p.db.Delete(pageKey(id, 1, 1), nil))
	_, err := p.Page(context.Background(), "a", 1, 4)
	want(t, err, ErrCorrupt)
}

// FuzzPatch: a patch makes one image of another, and a hostile one does no harm.
func FuzzPatch(f *testing.F) {
	f.Add(uint64(1), 3, []byte{0, 1, 2})
	f.Fuzz(func(t *testing.T, seed uint64, runs int, hostile []byte) {
		w := newPageWriter(seed)
		old := bytes.Clone(w.page)
		for range runs % 50 {
			n := w.rng.IntN(300)
			for i, at := 0, w.rng.IntN(PageSize-n+1); i < n; i++ {
				w.page[at+i] += byte(w.rng.IntN(3))
			}
		}
		patch, small := appendPatch(nil, old, w.page, PageSize)
		if len(patch) > PageSize {
			t.Fatalf("%d bytes", len(patch))
		}
		if small {
			if err := applyPatch(old, patch); err != nil || !bytes.Equal(old, w.page) {
				t.Fatalf("another image, %v", err)
			}
		}
		if err := applyPatch(old, hostile); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}
