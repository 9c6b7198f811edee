package sqlite

import (
	"sync"
	"sync/atomic"
)

// SQLite hands each callback one machine word. A Go pointer must not hide in
// such a word, so the word is a handle: an index into a registry. Looking one
// up takes two atomic loads; it happens for every captured row.
const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
	maxChunks = 4096
)

// registry maps handles to values of type T. Handles start at 1.
type registry[T any] struct {
	chunks [maxChunks]atomic.Pointer[[chunkSize]atomic.Pointer[T]]

	mu   sync.Mutex // guards the two fields below, and writing to chunks
	free []uintptr
	next uintptr
}

// add registers v and returns its handle, or 0 when all are taken.
func (r *registry[T]) add(v *T) uintptr {
	r.mu.Lock()
	defer r.mu.Unlock()
	var h uintptr
	if n := len(r.free); n > 0 {
		h = r.free[n-1]
		r.free = r.free[:n-1]
	} else if r.next+1 < maxChunks*chunkSize {
		r.next++
		h = r.next
	} else {
		return 0
	}
	chunk := r.chunks[h>>chunkBits].Load()
	if chunk == nil {
		chunk = new([chunkSize]atomic.Pointer[T])
		r.chunks[h>>chunkBits].Store(chunk)
	}
	chunk[h&(chunkSize-1)].Store(v)
	return h
}

// get returns the value of a handle, or nil.
func (r *registry[T]) get(h uintptr) *T {
	if h == 0 || h >= maxChunks*chunkSize {
		return nil
	}
	chunk := r.chunks[h>>chunkBits].Load()
	if chunk == nil {
		return nil
	}
	return chunk[h&(chunkSize-1)].Load()
}

// remove frees a handle for reuse.
func (r *registry[T]) remove(h uintptr) {
	if r.get(h) == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chunks[h>>chunkBits].Load()[h&(chunkSize-1)].Store(nil)
	r.free = append(r.free, h)
}

// The only package state: callbacks arrive from translated C with nothing but
// a handle, so that there has to be one place to find their owners.
var (
	conns     registry[Conn]
	functions registry[function]
	walFiles  registry[walFile]
)
