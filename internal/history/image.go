package history

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"
)

// The first byte of a page record says how the image is stored. Then come 8
// bytes little endian, XXH64 of the image, and the stored image.
const (
	imageZero = 0 // no bytes
	imageRaw  = 1
	imageS2   = 2
	// imagePatch is what differs from the next older image of the page.
	imagePatch = 3
)

const (
	imageHeader = 1 + 8
	maxImage    = imageHeader + PageSize
)

// zeroImage is what a page looks like that was never written.
var zeroImage [PageSize]byte

// appendImage appends the record of a page image and returns its checksum.
func appendImage(dst, data []byte) ([]byte, uint64) {
	sum := xxhash.Sum64(data)
	start := len(dst)
	dst = append(dst, imageRaw)
	dst = binary.LittleEndian.AppendUint64(dst, sum)
	if bytes.Equal(data, zeroImage[:]) {
		dst[start] = imageZero
		return dst, sum
	}
	head := len(dst)
	dst = append(dst, make([]byte, s2.MaxEncodedLen(PageSize))...)
	enc := s2.Encode(dst[head:], data)
	if len(enc) < PageSize-PageSize/16 {
		dst[start] = imageS2
		return dst[:head+len(enc)], sum
	}
	return append(dst[:head], data...), sum
}

// decodeImage decodes a record into dst, which has PageSize bytes, and verifies
// it.
func decodeImage(dst, rec []byte) error {
	if len(rec) < imageHeader {
		return fmt.Errorf("page record of %d bytes: %w", len(rec), ErrCorrupt)
	}
	body := rec[imageHeader:]
	switch {
	case rec[0] == imageZero && len(body) == 0:
		copy(dst, zeroImage[:])
	case rec[0] == imageRaw && len(body) == PageSize:
		copy(dst, body)
	case rec[0] == imageS2:
		n, err := s2.DecodedLen(body)
		if err != nil || n != PageSize {
			return fmt.Errorf("page record: bad length: %w", ErrCorrupt)
		}
		if _, err := s2.Decode(dst, body); err != nil {
			return fmt.Errorf("page record: %w: %w", ErrCorrupt, err)
		}
	default:
		return fmt.Errorf("page record: bad kind %d: %w", rec[0], ErrCorrupt)
	}
	return checkImage(dst, rec)
}

// checkImage compares an image with the checksum in its record.
func checkImage(data, rec []byte) error {
	if xxhash.Sum64(data) != binary.LittleEndian.Uint64(rec[1:]) {
		return fmt.Errorf("page record: checksum does not match: %w", ErrCorrupt)
	}
	return nil
}
