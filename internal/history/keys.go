package history

import (
	"encoding/binary"
	"fmt"
)

// The keys. A database has an internal id that is never used twice, so that a
// name that is deleted and created again can't see old data.
//
//	n <name>                 internal id
//	d <id>                   descriptor: name, parent, base revision, horizon
//	h <id>                   the head at creation, while there is no commit
//	c <id> <seq>             commit
//	p <id> <page> <^seq>     page image; newest first, so as-of is one seek
//	m <id> <key>             metadata
//	f <parent id> <id>       revision at which the child was forked
//	x <id>                   deleted, data not yet reclaimed
//	i                        next internal id
//
// Numbers are big endian: 8 bytes for ids and revisions, 4 for page numbers.
const (
	prefixName    = 'n'
	prefixDesc    = 'd'
	prefixHead    = 'h'
	prefixCommit  = 'c'
	prefixPage    = 'p'
	prefixMeta    = 'm'
	prefixChild   = 'f'
	prefixDeleted = 'x'
)

var keyNextID = []byte{'i'}

func nameKey(name DBID) []byte { return append([]byte{prefixName}, name...) }

// idKey is the whole key for the prefixes d, h and x and the first part of the
// others. idKey(p, id+1) is the end of a database's range.
func idKey(prefix byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 24), prefix), id)
}

func commitKey(id, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(idKey(prefixCommit, id), seq)
}

func childKey(parent, child uint64) []byte {
	return binary.BigEndian.AppendUint64(idKey(prefixChild, parent), child)
}

func metaKey(id uint64, key string) []byte {
	return append(idKey(prefixMeta, id), key...)
}

func pageKey(id uint64, no uint32, seq uint64) []byte {
	return appendPageKey(make([]byte, 0, pageKeyLen), id, no, seq)
}

const pageKeyLen = 1 + 8 + 4 + 8

func appendPageKey(dst []byte, id uint64, no uint32, seq uint64) []byte {
	dst = append(dst, prefixPage)
	dst = binary.BigEndian.AppendUint64(dst, id)
	dst = binary.BigEndian.AppendUint32(dst, no)
	return binary.BigEndian.AppendUint64(dst, ^seq)
}

// parsePageKey takes apart a key that appendPageKey made.
func parsePageKey(k []byte) (no uint32, seq uint64, err error) {
	if len(k) != pageKeyLen {
		return 0, 0, fmt.Errorf("page key of %d bytes: %w", len(k), ErrCorrupt)
	}
	return binary.BigEndian.Uint32(k[9:]), ^binary.BigEndian.Uint64(k[13:]), nil
}

func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func parseU64(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("number of %d bytes: %w", len(b), ErrCorrupt)
	}
	return binary.BigEndian.Uint64(b), nil
}
