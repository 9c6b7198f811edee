package sqlite

import (
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// ptr turns an address in SQLite's memory into a pointer. That memory lies
// outside the Go heap, so the collector neither moves nor frees it.
func ptr(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// view returns n bytes of SQLite's memory without copying them.
func view(p uintptr, n int) []byte {
	if p == 0 || n <= 0 {
		return nil
	}
	return unsafe.Slice((*byte)(ptr(p)), n)
}

// viewString is view as a string; it must not outlive the memory.
func viewString(p uintptr, n int) string {
	if p == 0 || n <= 0 {
		return ""
	}
	return unsafe.String((*byte)(ptr(p)), n)
}

// cstrlen returns the length of the NUL-terminated string at p.
func cstrlen(p uintptr) int {
	if p == 0 {
		return 0
	}
	n := 0
	for *(*byte)(ptr(p + uintptr(n))) != 0 {
		n++
	}
	return n
}

// goString copies the NUL-terminated string at p.
func goString(p uintptr) string { return string(view(p, cstrlen(p))) }

func readPtr(p uintptr) uintptr { return *(*uintptr)(ptr(p)) }

func readInt32(p uintptr) int32 { return *(*int32)(ptr(p)) }

// malloc returns n bytes of SQLite's memory, or 0.
func malloc(tls *libc.TLS, n int) uintptr { return lib.Xsqlite3_malloc64(tls, uint64(n)) }

func free(tls *libc.TLS, p uintptr) {
	if p != 0 {
		lib.Xsqlite3_free(tls, p)
	}
}

// cstring copies s, with a terminating NUL, into SQLite's memory.
func cstring(tls *libc.TLS, s string) uintptr {
	p := malloc(tls, len(s)+1)
	if p == 0 {
		return 0
	}
	b := view(p, len(s)+1)
	b[copy(b, s)] = 0
	return p
}

// fnptr returns what the translated code takes for the address of the C
// function f, which must be a top-level Go function.
func fnptr[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// cfunc is the function at such an address.
func cfunc[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{p})) }

// buffer is a piece of SQLite's memory that is reused and grows.
type buffer struct {
	p   uintptr
	cap int
}

// reserve makes room for n bytes and one NUL. The content is lost when it grows.
func (b *buffer) reserve(tls *libc.TLS, n int) bool {
	if n < b.cap {
		return true
	}
	size := max(64, n+n/2+1)
	p := malloc(tls, size)
	if p == 0 {
		return false
	}
	free(tls, b.p)
	b.p, b.cap = p, size
	return true
}

// set copies s and a terminating NUL into the buffer.
func (b *buffer) set(tls *libc.TLS, s string) bool {
	if !b.reserve(tls, len(s)) {
		return false
	}
	dst := view(b.p, len(s)+1)
	dst[copy(dst, s)] = 0
	return true
}

func (b *buffer) release(tls *libc.TLS) {
	free(tls, b.p)
	*b = buffer{}
}
