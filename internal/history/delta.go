package history

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
)

// A commit of one row changes some hundred bytes of a page. So the image of a
// page that was written recently is stored as what differs from the image
// before, which is the next key. A chain of such records ends soon: reading the
// newest image costs reading all of it.
const (
	maxChain      = 32       // records that patch one image, one after the other
	maxPatch      = 1 << 10  // bytes of one patch
	maxChainBytes = PageSize // bytes of all patches of one image
)

// appendPatch appends what differs: for each run of bytes the distance from the
// run before and the length, both uvarints, and the new bytes. ok is false if
// that takes more than limit bytes.
func appendPatch(dst, old, data []byte, limit int) (_ []byte, ok bool) {
	start, last := len(dst), 0
	for i := 0; i < PageSize; {
		diff := word(old, i) ^ word(data, i)
		if diff == 0 {
			i += 8
			continue
		}
		from, to := i+bits.TrailingZeros64(diff)/8, 0
		for ; diff != 0; diff = word(old, i) ^ word(data, i) {
			i += 8
			to = i - bits.LeadingZeros64(diff)/8
			if i == PageSize {
				break
			}
		}
		if len(dst)-start+to-from+4 > limit {
			return dst[:start], false
		}
		dst = binary.AppendUvarint(dst, uint64(from-last))
		dst = binary.AppendUvarint(dst, uint64(to-from))
		dst = append(dst, data[from:to]...)
		last = to
	}
	return dst, true
}

func word(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }

// applyPatch applies what appendPatch made.
func applyPatch(dst, patch []byte) error {
	at := uint64(0)
	for len(patch) > 0 {
		skip, n := binary.Uvarint(patch)
		size, m := binary.Uvarint(patch[max(n, 0):])
		if n <= 0 || m <= 0 || skip > PageSize || size > PageSize || at+skip+size > PageSize || size > uint64(len(patch)-n-m) {
			return fmt.Errorf("page record: bad patch: %w", ErrCorrupt)
		}
		patch = patch[n+m:]
		at += skip
		copy(dst[at:at+size], patch)
		at, patch = at+size, patch[size:]
	}
	return nil
}

// isPatch reports whether a record needs the next older one.
func isPatch(rec []byte) bool { return len(rec) > 0 && rec[0] == imagePatch }

// readImage decodes the record that the iterator stands on, and verifies it.
// The iterator moves on to the older records that it needs.
func readImage(dst []byte, it *pebble.Iterator) error {
	rec, err := it.ValueAndErr()
	if err != nil {
		return engineErr(err)
	}
	if !isPatch(rec) {
		return decodeImage(dst, rec)
	}
	no, _, err := parsePageKey(it.Key())
	if err != nil {
		return err
	}
	var chain []byte // the patches, the newest first
	var ends []int
	for isPatch(rec) {
		if len(ends) == maxChain || len(rec) < imageHeader {
			return fmt.Errorf("page record: bad chain of patches: %w", ErrCorrupt)
		}
		chain = append(chain, rec...)
		ends = append(ends, len(chain))
		if rec, err = olderImage(it, no); err != nil {
			return err
		}
	}
	if err := decodeImage(dst, rec); err != nil {
		return err
	}
	for i := len(ends) - 1; i >= 0; i-- {
		from := 0
		if i > 0 {
			from = ends[i-1]
		}
		if err := applyPatch(dst, chain[from+imageHeader:ends[i]]); err != nil {
			return err
		}
	}
	return checkImage(dst, chain)
}

func olderImage(it *pebble.Iterator, no uint32) ([]byte, error) {
	if !it.Next() {
		if err := it.Error(); err != nil {
			return nil, engineErr(err)
		}
		return nil, fmt.Errorf("page record: what it patches is missing: %w", ErrCorrupt)
	}
	if n, _, err := parsePageKey(it.Key()); err != nil || n != no {
		return nil, firstErr(err, fmt.Errorf("page record: what it patches is missing: %w", ErrCorrupt))
	}
	rec, err := it.ValueAndErr()
	return rec, engineErr(err)
}

// lastImage is the newest image of a page.
type lastImage struct {
	key        imageKey
	gen        uint64 // of the handle when the image was accepted
	chain      int    // patches that it consists of
	bytes      int    // of them
	prev, next *lastImage
	data       *[PageSize]byte // apart: together they would take a larger size class
}

// imageKey names a page of a handle: when the handle is loaded again, nothing
// is known of its pages.
type imageKey struct {
	h  *handle
	no uint32
}

// lastImages keeps the newest images of the pages that were written last. An
// image that is not of the head any more is never in it: whoever appends takes
// out what it changes, and puts it back when the append is accepted.
type lastImages struct {
	mu    sync.Mutex
	limit int
	m     map[imageKey]*lastImage
	list  lastImage // its next is the most recent one, its prev the oldest
}

func newLastImages(bytes int64) *lastImages {
	l := &lastImages{limit: int(max(bytes, 0) / PageSize), m: map[imageKey]*lastImage{}}
	l.list.next, l.list.prev = &l.list, &l.list
	return l
}

// take removes and returns an image, or nil.
func (l *lastImages) take(k imageKey, gen uint64) *lastImage {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.m[k]
	if i == nil {
		return nil
	}
	l.remove(i)
	if i.gen != gen {
		return nil
	}
	return i
}

// put adds images that were accepted. The lock of their handle is held.
func (l *lastImages) put(images []*lastImage, gen uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range images {
		if old := l.m[i.key]; old != nil {
			l.remove(old)
		}
		i.gen = gen
		i.prev, i.next = &l.list, l.list.next
		i.prev.next, i.next.prev = i, i
		l.m[i.key] = i
	}
	for len(l.m) > l.limit {
		l.remove(l.list.prev)
	}
}

// forget drops the images of a database above a size.
func (l *lastImages) forget(h *handle, size uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, i := range l.m {
		if k.h == h && k.no > size {
			l.remove(i)
		}
	}
}

// remove requires mu.
func (l *lastImages) remove(i *lastImage) {
	delete(l.m, i.key)
	i.prev.next, i.next.prev = i.next, i.prev
	i.prev, i.next = nil, nil
}

// record appends the record of a page's new image, which becomes i, and returns
// its checksum.
func (i *lastImage) record(dst, data []byte, fresh bool) ([]byte, uint64) {
	if !fresh && i.chain < maxChain && i.bytes < maxChainBytes {
		head := len(dst)
		sum := xxhash.Sum64(data)
		dst = binary.LittleEndian.AppendUint64(append(dst, imagePatch), sum)
		start := len(dst)
		if dst, ok := appendPatch(dst, i.data[:], data, maxPatch); ok {
			i.chain++
			i.bytes += len(dst) - start
			copy(i.data[:], data)
			return dst, sum
		}
		dst = dst[:head]
	}
	i.chain, i.bytes = 0, 0
	copy(i.data[:], data)
	return appendImage(dst, data)
}
