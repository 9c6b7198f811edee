package history

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Limits that the encoder and the decoder both enforce.
const (
	maxName    = 64
	maxAuthor  = 255
	maxMetaKey = 128
	maxBlob    = 1 << 30 // Change or Meta of one commit
)

// recordVersion is the first byte of commit, head and descriptor records.
const recordVersion = 1

// hashDomain keeps commit hashes apart from any other SHA-256.
const hashDomain = "agentdb history commit\n"

// pageSum is a changed page in a commit record.
type pageSum struct {
	no  uint32
	sum uint64
}

// appendCommit appends the record of a commit to dst and returns its hash. The
// record is
//
//	version   1 byte, 1
//	seq       uvarint
//	time      zig-zag varint, Unix milliseconds
//	parent    32 bytes, hash of the revision before
//	size      uvarint, pages of the database after the commit
//	author    uvarint length, bytes
//	pages     uvarint count, then for each, ascending by number:
//	            uvarint difference to the number before (at first to 0)
//	            8 bytes little endian, XXH64 of the page image
//	meta      uvarint length, bytes
//	change    uvarint length, bytes
//	hash      32 bytes
//
// and the hash is SHA-256 over hashDomain followed by all of the record before
// the hash. So a commit's hash vouches for everything in it, for the images of
// its pages by their checksum, and through parent for all commits before.
// Varints are as short as possible: a commit has one encoding.
func appendCommit(dst []byte, c *Commit, pages []pageSum) ([]byte, Hash) {
	start := len(dst)
	dst = append(dst, recordVersion)
	dst = binary.AppendUvarint(dst, c.Seq)
	dst = binary.AppendVarint(dst, c.Time.UnixMilli())
	dst = append(dst, c.Parent[:]...)
	dst = binary.AppendUvarint(dst, uint64(c.DBSize))
	dst = appendBytes(dst, c.Author)
	dst = binary.AppendUvarint(dst, uint64(len(pages)))
	prev := uint32(0)
	for _, p := range pages {
		dst = binary.AppendUvarint(dst, uint64(p.no-prev))
		dst = binary.LittleEndian.AppendUint64(dst, p.sum)
		prev = p.no
	}
	dst = appendBytes(dst, c.Meta)
	dst = appendBytes(dst, c.Change)
	h := commitHash(dst[start:])
	return append(dst, h[:]...), h
}

func commitHash(body []byte) Hash {
	d := sha256.New()
	d.Write([]byte(hashDomain))
	d.Write(body)
	var h Hash
	d.Sum(h[:0])
	return h
}

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// skimCommit returns the revision of a record, and verifies nothing.
func skimCommit(rec []byte) (Head, error) {
	d := decoder{b: rec}
	d.version()
	h := Head{Seq: d.uvarint(math.MaxUint64), Time: d.time()}
	d.take(len(h.Hash)) // of the parent
	h.DBSize = uint32(d.uvarint(math.MaxUint32))
	if d.err == nil && len(d.b) < len(h.Hash) {
		d.fail("too short")
	}
	if d.err != nil {
		return Head{}, fmt.Errorf("commit record: %w", d.err)
	}
	copy(h.Hash[:], d.b[len(d.b)-len(h.Hash):])
	return h, nil
}

// decodeCommit decodes and verifies a record. The commit aliases rec.
func decodeCommit(rec []byte) (*Commit, []pageSum, error) {
	d := decoder{b: rec}
	d.version()
	c := &Commit{Seq: d.uvarint(math.MaxUint64), Time: d.time()}
	copy(c.Parent[:], d.take(len(c.Parent)))
	c.DBSize = uint32(d.uvarint(math.MaxUint32))
	c.Author = string(d.bytes(maxAuthor))
	pages := d.pages(c.DBSize)
	c.Meta = d.bytes(maxBlob)
	c.Change = d.bytes(maxBlob)
	body := len(rec) - len(d.b)
	copy(c.Hash[:], d.take(len(c.Hash)))
	if err := d.finish(); err != nil {
		return nil, nil, fmt.Errorf("commit record: %w", err)
	}
	if commitHash(rec[:body]) != c.Hash {
		return nil, nil, fmt.Errorf("commit %d: hash does not match: %w", c.Seq, ErrCorrupt)
	}
	if len(pages) > 0 {
		c.Pages = make([]uint32, len(pages))
		for i, p := range pages {
			c.Pages[i] = p.no
		}
	}
	return c, pages, nil
}

// encodeHead is a head record: version, seq, hash, size, time.
func encodeHead(h Head) []byte {
	b := make([]byte, 0, 1+10+32+5+10)
	return appendHead(append(b, recordVersion), h)
}

func appendHead(b []byte, h Head) []byte {
	b = binary.AppendUvarint(b, h.Seq)
	b = append(b, h.Hash[:]...)
	b = binary.AppendUvarint(b, uint64(h.DBSize))
	return binary.AppendVarint(b, h.Time.UnixMilli())
}

func decodeHead(rec []byte) (Head, error) {
	d := decoder{b: rec}
	d.version()
	h := d.head()
	if err := d.finish(); err != nil {
		return Head{}, fmt.Errorf("head record: %w", err)
	}
	return h, nil
}

// descriptor holds the facts about a database that rarely change.
type descriptor struct {
	Name       DBID // at creation
	Created    time.Time
	Base       Head   // revision 0, or the parent's revision that was forked
	Parent     uint64 // internal id, 0 for none
	ParentName DBID   // at the time of the fork
	Horizon    uint64
}

func encodeDescriptor(x descriptor) []byte {
	b := appendBytes([]byte{recordVersion}, string(x.Name))
	b = binary.AppendVarint(b, x.Created.UnixMilli())
	b = appendHead(b, x.Base)
	b = binary.AppendUvarint(b, x.Parent)
	b = appendBytes(b, string(x.ParentName))
	return binary.AppendUvarint(b, x.Horizon)
}

func decodeDescriptor(rec []byte) (descriptor, error) {
	d := decoder{b: rec}
	d.version()
	x := descriptor{
		Name: DBID(d.bytes(maxName)), Created: d.time(), Base: d.head(),
		Parent: d.uvarint(math.MaxUint64), ParentName: DBID(d.bytes(maxName)),
		Horizon: d.uvarint(math.MaxUint64),
	}
	if err := d.finish(); err != nil {
		return descriptor{}, fmt.Errorf("descriptor record: %w", err)
	}
	return x, nil
}

// decoder reads a record. After the first error all reads return zero values.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: %w", what, ErrCorrupt)
	}
	d.b = nil
}

func (d *decoder) finish() error {
	if d.err == nil && len(d.b) != 0 {
		d.fail("trailing bytes")
	}
	return d.err
}

func (d *decoder) version() {
	if b := d.take(1); d.err == nil && b[0] != recordVersion {
		d.fail(fmt.Sprintf("unknown version %d", b[0]))
	}
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail("too short")
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	switch {
	case n <= 0 || n > 1 && d.b[n-1] == 0:
		d.fail("bad varint")
		return 0
	case v > limit:
		d.fail("number out of range")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) time() time.Time {
	u := d.uvarint(math.MaxUint64)
	return time.UnixMilli(int64(u>>1) ^ -int64(u&1)).UTC()
}

func (d *decoder) bytes(limit uint64) []byte {
	b := d.take(int(d.uvarint(limit)))
	if len(b) == 0 {
		return nil
	}
	return b
}

func (d *decoder) head() Head {
	h := Head{Seq: d.uvarint(math.MaxUint64)}
	copy(h.Hash[:], d.take(len(h.Hash)))
	h.DBSize = uint32(d.uvarint(math.MaxUint32))
	h.Time = d.time()
	return h
}

// pages reads the changed pages; each takes at least 9 bytes, which bounds the
// allocation.
func (d *decoder) pages(dbSize uint32) []pageSum {
	n := d.uvarint(uint64(len(d.b)) / 9)
	if n == 0 {
		return nil
	}
	pages := make([]pageSum, 0, n)
	no := uint64(0)
	for range n {
		delta := d.uvarint(math.MaxUint32)
		no += delta
		sum := d.take(8)
		if d.err != nil {
			return nil
		}
		if delta == 0 || no > uint64(dbSize) {
			d.fail("bad page number")
			return nil
		}
		pages = append(pages, pageSum{uint32(no), binary.LittleEndian.Uint64(sum)})
	}
	return pages
}
