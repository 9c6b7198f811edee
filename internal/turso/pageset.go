package turso

import (
	"encoding/binary"
	"math/bits"
)

// Forms of a portable Roaring bitmap,
// https://github.com/RoaringBitmap/RoaringFormatSpec.
const (
	cookieNoRuns  = 12346
	cookieRuns    = 12347
	noOffsetsTill = 4
	maxArray      = 4096
	bitmapBytes   = 8192
)

// SelectedPages decodes a set of pages, a portable Roaring bitmap that counts
// from 0, and returns the numbers, which count from 1 and ascend, of those that
// a database of so many pages has.
func SelectedPages(b []byte, pages uint32) ([]uint32, error) {
	r := &setReader{b: b}
	cookie := r.u32()
	var runs []byte
	var size int
	switch {
	case cookie&0xffff == cookieRuns:
		size = int(cookie>>16) + 1
		runs = r.take((size + 7) / 8)
	case cookie == cookieNoRuns:
		size = int(r.u32())
	default:
		return nil, malformed("no set of pages")
	}
	if size > 1<<16 {
		return nil, malformed("a set of pages with %d containers", size)
	}
	heads := r.take(4 * size)
	if runs == nil || size >= noOffsetsTill {
		r.take(4 * size)
	}
	last := -1
	for i := 0; i < size && !r.bad; i++ {
		key := int(binary.LittleEndian.Uint16(heads[4*i:]))
		card := int(binary.LittleEndian.Uint16(heads[4*i+2:])) + 1
		if key <= last {
			return nil, malformed("containers out of order")
		}
		last = key
		r.high, r.limit = uint32(key)<<16, pages
		switch {
		case runs != nil && runs[i/8]>>(i%8)&1 == 1:
			r.runs()
		case card <= maxArray:
			r.array(card)
		default:
			r.bitmap()
		}
	}
	if r.bad || len(r.b) > 0 {
		return nil, malformed("a set of pages that is cut, or not in order")
	}
	return r.out, nil
}

// setReader reads containers, and notes when something is wrong.
type setReader struct {
	b     []byte
	bad   bool
	high  uint32
	limit uint32
	out   []uint32
}

func (r *setReader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *setReader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }

func (r *setReader) u16() uint32 { return uint32(binary.LittleEndian.Uint16(r.take(2))) }

// add takes the page low of the container, if there is one.
func (r *setReader) add(low uint32) {
	if id := r.high | low; id < r.limit {
		r.out = append(r.out, id+1)
	}
}

func (r *setReader) array(n int) {
	vals := r.take(2 * n)
	last := -1
	for i := range n {
		v := int(binary.LittleEndian.Uint16(vals[2*i:]))
		r.bad = r.bad || v <= last
		last = v
		r.add(uint32(v))
	}
}

func (r *setReader) bitmap() {
	words := r.take(bitmapBytes)
	for i := range bitmapBytes / 8 {
		for w := binary.LittleEndian.Uint64(words[8*i:]); w != 0; w &= w - 1 {
			r.add(uint32(64*i + bits.TrailingZeros64(w)))
		}
	}
}

func (r *setReader) runs() {
	n := int(r.u16())
	next := uint32(0)
	for range n {
		start, more := r.u16(), r.u16()
		if r.bad = r.bad || start < next || start+more > 0xffff; r.bad {
			return
		}
		next = start + more + 1
		for v := start; v < next && r.high|v < r.limit; v++ {
			r.add(v)
		}
	}
}
