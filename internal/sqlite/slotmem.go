package sqlite

import (
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// The C library's allocator rounds sizes up to powers of two: a page of 4096
// bytes with what a page cache keeps beside it takes 8192, the index of a WAL
// 65536. Most of the memory of a process with many databases is these two. So
// they have an allocator of their own, with slots that fit.
const (
	slotPrefix = 8                 // before what the caller gets
	pageSlot   = 4400              // what a slot takes, its prefix included
	pageMin    = 4096 - slotPrefix // above, the C library's slot of 4096 is too small
	pageMax    = pageSlot - slotPrefix
	indexMax   = 32 << 10 // https://www.sqlite.org/walformat.html#the_wal_index_file_format
	indexMin   = indexMax - 1
	slabHeader = 32
	prefixSlot = 32 // from this bit on a prefix has 1 + the slot's index
	prefixKind = 48 // and from this one the index in slotKinds
)

// slotSlab is the beginning of a piece of memory that is cut into slots.
type slotSlab struct {
	next, prev uintptr // in a list of slotKind
	free       uintptr // the first free slot; the next one's address is in it
	used       int     // slots
}

// slotKind has the slabs for one size.
type slotKind struct {
	slot uintptr // bytes
	n    int     // slots of a slab
	bits int64   // of the prefix

	mu sync.Mutex // guards what follows
	// lists are the slabs with free slots, by how many are used: the fullest
	// is taken first, so that others become empty and can be given back.
	lists []uintptr
}

// With what is added to a slab, 64 and 256 KiB are mapped.
var slotKinds = [2]slotKind{newSlotKind(0, pageSlot, 64<<10-40), newSlotKind(1, indexMax+slotPrefix, 256<<10-40)}

func newSlotKind(index int64, slot, slabSize uintptr) slotKind {
	n := int((slabSize - slabHeader) / slot)
	return slotKind{slot: slot, n: n, bits: index << prefixKind, lists: make([]uintptr, n)}
}

// sqliteConfig has SQLite's allocator, which puts the size of a piece of memory
// into eight bytes before it, and reads the lower four of them.
//
//go:linkname sqliteConfig modernc.org/sqlite/lib._sqlite3Config
var sqliteConfig lib.TSqlite3Config

// defaultMem is what sqliteConfig had.
var defaultMem struct {
	malloc  func(*libc.TLS, int32) uintptr
	free    func(*libc.TLS, uintptr)
	realloc func(*libc.TLS, uintptr, int32) uintptr
}

// slotMemory is initialised after pageCaches are separated: SQLite is started,
// and there is no connection yet. What was allocated before is in no slot.
var slotMemory = useSlotMemory(separateCaches)

// useSlotMemory reports whether it had an effect.
func useSlotMemory(started bool) bool {
	m := &sqliteConfig.Fm
	if !started || m.FxMalloc == 0 || m.FxFree == 0 || m.FxRealloc == 0 {
		return false
	}
	defaultMem.malloc = cfunc[func(*libc.TLS, int32) uintptr](m.FxMalloc)
	defaultMem.free = cfunc[func(*libc.TLS, uintptr)](m.FxFree)
	defaultMem.realloc = cfunc[func(*libc.TLS, uintptr, int32) uintptr](m.FxRealloc)
	m.FxMalloc, m.FxFree, m.FxRealloc = fnptr(memMalloc), fnptr(memFree), fnptr(memRealloc)
	return true
}

func memMalloc(tls *libc.TLS, n int32) uintptr {
	if n > pageMin {
		if n <= pageMax {
			return slotKinds[0].alloc(tls, n)
		}
		if n > indexMin && n <= indexMax {
			return slotKinds[1].alloc(tls, n)
		}
	}
	return defaultMem.malloc(tls, n)
}

func memFree(tls *libc.TLS, p uintptr) {
	if prefix := prefixOf(p); prefix>>prefixSlot != 0 {
		slotKinds[prefix>>prefixKind].release(tls, p)
		return
	}
	defaultMem.free(tls, p)
}

func memRealloc(tls *libc.TLS, p uintptr, n int32) uintptr {
	prefix := prefixOf(p)
	if prefix>>prefixSlot == 0 {
		return defaultMem.realloc(tls, p, n)
	}
	q := memMalloc(tls, n)
	if q != 0 {
		copy(view(q, int(n)), view(p, int(int32(prefix))))
		memFree(tls, p)
	}
	return q
}

func prefixOf(p uintptr) int64 { return *(*int64)(ptr(p - slotPrefix)) }

func (k *slotKind) alloc(tls *libc.TLS, n int32) uintptr {
	k.mu.Lock()
	defer k.mu.Unlock()
	used := k.n - 1
	for used > 0 && k.lists[used] == 0 {
		used--
	}
	at := k.lists[used]
	if at == 0 {
		if at = k.grow(tls); at == 0 {
			return 0
		}
	}
	s := (*slotSlab)(ptr(at))
	k.unlink(s)
	p := s.free
	s.free = readPtr(p)
	s.used++
	k.link(at, s)
	index := int64((p - at - slabHeader) / k.slot)
	*(*int64)(ptr(p)) = k.bits | (index+1)<<prefixSlot | int64(n)
	return p + slotPrefix
}

func (k *slotKind) release(tls *libc.TLS, p uintptr) {
	index := uintptr(uint16(prefixOf(p)>>prefixSlot) - 1)
	p -= slotPrefix
	at := p - index*k.slot - slabHeader
	s := (*slotSlab)(ptr(at))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unlink(s)
	*(*uintptr)(ptr(p)) = s.free
	s.free = p
	if s.used--; s.used == 0 && k.lists[0] != 0 { // one that is empty will do
		defaultMem.free(tls, at)
		return
	}
	k.link(at, s)
}

// grow adds an empty slab and returns it, or 0.
func (k *slotKind) grow(tls *libc.TLS) uintptr {
	at := defaultMem.malloc(tls, int32(slabHeader+uintptr(k.n)*k.slot))
	if at == 0 {
		return 0
	}
	s := (*slotSlab)(ptr(at))
	*s = slotSlab{}
	for i := k.n - 1; i >= 0; i-- {
		p := at + slabHeader + uintptr(i)*k.slot
		*(*uintptr)(ptr(p)) = s.free
		s.free = p
	}
	k.link(at, s)
	return at
}

// link puts a slab into its list; one without a free slot is in none.
func (k *slotKind) link(at uintptr, s *slotSlab) {
	if s.used == k.n {
		return
	}
	s.prev, s.next = 0, k.lists[s.used]
	if s.next != 0 {
		(*slotSlab)(ptr(s.next)).prev = at
	}
	k.lists[s.used] = at
}

func (k *slotKind) unlink(s *slotSlab) {
	if s.used == k.n {
		return
	}
	if s.prev != 0 {
		(*slotSlab)(ptr(s.prev)).next = s.next
	} else {
		k.lists[s.used] = s.next
	}
	if s.next != 0 {
		(*slotSlab)(ptr(s.next)).prev = s.prev
	}
}

var _ [slabHeader - unsafe.Sizeof(slotSlab{})]byte // it fits
