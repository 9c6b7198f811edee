package turso

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/klauspost/compress/flate"
)

// blockLevel makes a third of pages of text. Lower levels are hardly faster.
const blockLevel = 5

// blockHead is what a Block begins with: the size and the CRC-32 of what it
// holds, and the CRC-32 of all else in it.
const blockHead = 12

// Block is a part of a gzip stream that was compressed on its own and ends with
// a byte: blocks are kept, and put together in any order.
type Block []byte

// deflaters keeps compressors for their next use.
var deflaters sync.Pool

// sliceWriter appends what is written to it.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// MakeBlock compresses data into a block, in buf if there is room.
func MakeBlock(buf, data []byte) Block {
	out := &sliceWriter{slices.Grow(buf[:0], blockHead)[:blockHead]}
	z, _ := deflaters.Get().(*flate.Writer)
	if z == nil {
		z, _ = flate.NewWriter(nil, blockLevel) // fails for levels that there are not
	}
	z.Reset(out)
	_, err := z.Write(data)
	if err == nil {
		err = z.Flush()
	}
	if err != nil {
		panic(err) // the writer never fails
	}
	deflaters.Put(z)
	b := out.b
	binary.LittleEndian.PutUint32(b, uint32(len(data)))
	binary.LittleEndian.PutUint32(b[4:], crc32.ChecksumIEEE(data))
	binary.LittleEndian.PutUint32(b[8:], Block(b).check())
	return b
}

// Intact reports whether a block is as it was made.
func (b Block) Intact() bool {
	return len(b) > blockHead && binary.LittleEndian.Uint32(b[8:]) == b.check()
}

func (b Block) check() uint32 {
	return crc32.Update(crc32.ChecksumIEEE(b[:8]), crc32.IEEETable, b[blockHead:])
}

func (b Block) size() uint32 { return binary.LittleEndian.Uint32(b) }
func (b Block) sum() uint32  { return binary.LittleEndian.Uint32(b[4:]) }

// Gzip puts blocks together to one gzip stream of one member: some decoders
// ignore all that follow the first. See RFC 1951 and RFC 1952.
type Gzip struct{ size, sum uint32 }

// Begin appends the stream's beginning, with data that is not compressed: less
// than 64 KiB.
func (z *Gzip) Begin(dst, data []byte) []byte {
	*z = Gzip{uint32(len(data)), crc32.ChecksumIEEE(data)}
	const deflate, unknownSystem = 8, 255
	dst = append(dst, 0x1f, 0x8b, deflate, 0, 0, 0, 0, 0, 0, unknownSystem)
	dst = append(dst, 0) // stored, not the last
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(data)))
	dst = binary.LittleEndian.AppendUint16(dst, ^uint16(len(data)))
	return append(dst, data...)
}

// Add takes a block into the stream, and returns the bytes to append to it.
func (z *Gzip) Add(b Block) []byte {
	z.sum = crcMul(z.sum, crcShift(b.size())) ^ b.sum()
	z.size += b.size()
	return b[blockHead:]
}

// End appends the stream's end.
func (z *Gzip) End(dst []byte) []byte {
	dst = append(dst, 3, 0) // the last block, which is empty
	dst = binary.LittleEndian.AppendUint32(dst, z.sum)
	return binary.LittleEndian.AppendUint32(dst, z.size)
}

// crcOne is the polynomial 1: the highest bit is the coefficient of x to the 0.
const crcOne = 1 << 31

// crcMul multiplies polynomials modulo that of CRC-32.
func crcMul(a, b uint32) uint32 {
	p := uint32(0)
	for ; a != 0; a <<= 1 {
		if a&crcOne != 0 {
			p ^= b
		}
		if b&1 != 0 { // times x
			b = b>>1 ^ crc32.IEEE
		} else {
			b >>= 1
		}
	}
	return p
}

// crcShift returns what a CRC is multiplied with when n bytes follow.
func crcShift(n uint32) uint32 {
	p, x := uint32(crcOne), uint32(crcOne>>8)
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			p = crcMul(p, x)
		}
		x = crcMul(x, x)
	}
	return p
}
