package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

const (
	// PageSize is the size of a database page, in bytes.
	PageSize = 4096
	// ChunkPages is how many pages a snapshot's chunk holds at most.
	ChunkPages = 256

	maxPages    = 1<<32 - 2 // SQLite's own limit
	maxFrame    = 1 << 31
	maxChunkLen = ChunkPages*PageSize + 64

	// PagesBuffer is the size of a buffer that any chunk can be decoded into.
	PagesBuffer = maxChunkLen
)

// AppendFrame appends a message with its length before it, as it goes into an
// HTTP body: an answer is one frame, followed by the frames of a snapshot's
// chunks. A body that ends early ends inside a frame or lacks some.
func AppendFrame(dst, msg []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(msg))), msg...)
}

// byteReader is what ReadFrame needs of a stream, e.g. a bufio.Reader.
type byteReader interface {
	io.Reader
	io.ByteReader
}

// ReadFrame reads one frame of at most limit bytes into buf, growing it as
// bytes arrive rather than as the length claims.
func ReadFrame(r byteReader, buf []byte, limit int) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, fmt.Errorf("%w: cut short before a frame: %w", ErrMalformed, err)
	}
	if n > maxFrame || n > uint64(limit) {
		return nil, fmt.Errorf("%w: a frame of %d bytes, the limit is %d", ErrTooLarge, n, limit)
	}
	buf = buf[:0]
	for len(buf) < int(n) {
		step := min(int(n)-len(buf), max(len(buf), 512<<10))
		if cap(buf)-len(buf) < step {
			buf = append(buf, make([]byte, step)...)[:len(buf)]
		}
		k, err := io.ReadFull(r, buf[len(buf):len(buf)+step])
		buf = buf[:len(buf)+k]
		if err != nil {
			return nil, fmt.Errorf("%w: cut short at %d of %d bytes: %w", ErrMalformed, len(buf), n, err)
		}
	}
	return buf, nil
}

// AppendPages appends a chunk of a snapshot: consecutive pages starting with
// page first (1-based); data holds at most ChunkPages of them.
func AppendPages(dst []byte, first uint32, data []byte) []byte {
	buf, _ := bodies.Get().(*[]byte)
	defer bodies.Put(buf)
	b := binary.AppendUvarint((*buf)[:0], uint64(first))
	*buf = append(b, data...)
	return seal(dst, kindPages, *buf)
}

// bodies are buffers for the bodies of chunks.
var bodies = sync.Pool{New: func() any {
	b := make([]byte, 0, PagesBuffer)
	return &b
}}

// DecodePages decodes a chunk: the number of its first page and the pages'
// bytes, a multiple of PageSize, in buf if they were compressed and its capacity
// is PagesBuffer.
func DecodePages(buf, msg []byte) (first uint32, data []byte, err error) {
	body, err := openInto(buf, msg, kindPages, maxChunkLen)
	if err != nil {
		return 0, nil, err
	}
	r := NewReader(body)
	n := r.Uvarint()
	if n == 0 || n > maxPages {
		r.Fail("bad page number %d", n)
	}
	data = r.Raw(r.Len())
	if len(data) == 0 || len(data)%PageSize != 0 {
		r.Fail("a chunk of %d bytes", len(data))
	}
	return uint32(n), data, r.Err()
}

// ClaimedPages returns how many pages a chunk claims to hold, without decoding
// it; 0 if it isn't one.
func ClaimedPages(msg []byte) uint32 {
	if len(msg) < 5 {
		return 0
	}
	size, n := binary.Uvarint(msg[4:])
	if n <= 0 || size > maxChunkLen {
		return 0
	}
	return uint32(size / PageSize)
}
