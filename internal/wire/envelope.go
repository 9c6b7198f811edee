package wire

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// kind is the second byte of a message's magic.
type kind byte

const (
	kindRequest  kind = 'S'
	kindResponse kind = 'R'
	kindPages    kind = 'P'
)

const (
	flagZstd = 1 << 0

	checkLen = 8
	// compressFrom is the body size, in bytes, from which compression is
	// tried; below it a zstd frame's own header eats the gain.
	compressFrom = 160
)

// encoder is shared: EncodeAll may be called from many goroutines.
var encoder = sync.OnceValue(func() *zstd.Encoder { return newEncoder(zstd.SpeedFastest) })

// pageEncoder is for pages, which are compressed once and decompressed by many:
// that is the faster the longer the matches are that the encoder finds.
var pageEncoder = sync.OnceValue(func() *zstd.Encoder { return newEncoder(zstd.SpeedBetterCompression) })

func newEncoder(level zstd.EncoderLevel) *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level),
		zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20), zstd.WithSingleSegment(true))
	if err != nil {
		panic(err) // options are constants
	}
	return e
}

// decoder is shared like encoder. Its memory limit bounds hostile frames.
var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		panic(err) // options are constants
	}
	return d
})

// seal wraps a body into an envelope appended to dst.
func seal(dst []byte, k kind, body []byte) []byte {
	start := len(dst)
	dst = append(dst, 'a', byte(k), Version, 0)
	dst = binary.AppendUvarint(dst, uint64(len(body)))
	plain := len(dst)
	if len(body) >= compressFrom {
		e := encoder
		if k == kindPages {
			e = pageEncoder
		}
		dst = e().EncodeAll(body, dst)
		if len(dst)-plain < len(body) {
			dst[start+3] |= flagZstd
		} else {
			dst = append(dst[:plain], body...)
		}
	} else {
		dst = append(dst, body...)
	}
	return binary.LittleEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// open checks an envelope and returns its body. limit bounds the body's size
// once decompressed, in bytes.
func open(msg []byte, k kind, limit int) ([]byte, error) { return openInto(nil, msg, k, limit) }

// openInto is open, with memory for the body that is used if it suffices.
func openInto(buf, msg []byte, k kind, limit int) ([]byte, error) {
	if len(msg) < 5+checkLen || msg[0] != 'a' || msg[1] != byte(k) {
		return nil, fmt.Errorf("%w: not a message of this protocol, or cut short", ErrMalformed)
	}
	if msg[2] != Version {
		return nil, fmt.Errorf("%w: the other side speaks version %d, this one %d", ErrVersion, msg[2], Version)
	}
	if !Intact(msg) {
		return nil, fmt.Errorf("%w: checksum mismatch: damaged or cut short", ErrMalformed)
	}
	msg = msg[:len(msg)-checkLen]
	size, n := binary.Uvarint(msg[4:])
	if n <= 0 {
		return nil, fmt.Errorf("%w: bad length", ErrMalformed)
	}
	if size > uint64(limit) {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, size, limit)
	}
	body := msg[4+n:]
	if msg[3]&flagZstd != 0 {
		return inflate(buf, body, int(size))
	}
	if uint64(len(body)) != size {
		return nil, fmt.Errorf("%w: %d bytes of %d", ErrMalformed, len(body), size)
	}
	return body, nil
}

// Intact reports whether a message is what its sender made, by its checksum.
func Intact(msg []byte) bool {
	n := len(msg) - checkLen
	return n > 0 && xxhash.Sum64(msg[:n]) == binary.LittleEndian.Uint64(msg[n:])
}

// inflate decompresses a body that must have exactly size bytes.
func inflate(buf, b []byte, size int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(b); err != nil || !h.HasFCS || h.FrameContentSize != uint64(size) {
		return nil, fmt.Errorf("%w: compressed body without its size", ErrMalformed)
	}
	if cap(buf) < size {
		buf = make([]byte, 0, size)
	}
	out, err := decoder().DecodeAll(b, buf[:0])
	if err != nil || len(out) != size {
		return nil, fmt.Errorf("%w: compressed body damaged", ErrMalformed)
	}
	return out, nil
}
