package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Reader decodes the primitives of the protocol from a byte slice. The first
// error sticks: callers read a whole message and look at Err once. It never
// reads past its slice and never allocates more than the slice could hold.
type Reader struct {
	b   []byte
	err error
}

// NewReader returns a Reader over b, which it does not copy.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Err returns the first error met, nil if none.
func (r *Reader) Err() error { return r.err }

// Len returns how many bytes are left.
func (r *Reader) Len() int { return len(r.b) }

// Fail records an error of the caller's own, unless there is one already.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
		r.b = nil
	}
}

// Uvarint reads an unsigned LEB128 integer.
func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.Fail("cut short in an integer")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Varint reads a zigzag-encoded signed integer.
func (r *Reader) Varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.Fail("cut short in an integer")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.Fail("cut short")
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// Uint64 reads eight bytes, little endian.
func (r *Reader) Uint64() uint64 {
	if len(r.b) < 8 {
		r.Fail("cut short in a fixed integer")
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

// Raw reads n bytes without copying them.
func (r *Reader) Raw(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.Fail("cut short: %d bytes wanted, %d left", n, len(r.b))
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// Bytes reads a length and that many bytes, without copying them.
func (r *Reader) Bytes() []byte {
	n := r.Uvarint()
	if n > math.MaxInt32 {
		r.Fail("a field of %d bytes", n)
		return nil
	}
	return r.Raw(int(n))
}

// String reads a length and that many bytes as a string.
func (r *Reader) String() string { return string(r.Bytes()) }

// Count reads a number of elements, each at least elem bytes long. A count
// that the rest of the message can't hold is an error, so that a few hostile
// bytes never make a large allocation.
func (r *Reader) Count(elem int) int {
	n := r.Uvarint()
	if r.err == nil && n > uint64(len(r.b)/max(elem, 1)) {
		r.Fail("%d elements in %d bytes", n, len(r.b))
		return 0
	}
	return int(n)
}

// End fails when bytes are left over.
func (r *Reader) End() error {
	if r.err == nil && len(r.b) != 0 {
		r.Fail("%d bytes too many", len(r.b))
	}
	return r.err
}

// AppendBytes appends a length and the bytes.
func AppendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// AppendString appends a length and the string's bytes.
func AppendString(b []byte, v string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}
