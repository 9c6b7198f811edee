package sqlite

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// TempSpace is how many bytes temporary files may take: what statements sort,
// gather and may have to undo, beyond what is in memory. Above it a statement
// fails with SQLITE_FULL. It is safe for concurrent use.
type TempSpace struct {
	max    int64
	of     *TempSpace // that this is a part of; may be nil
	used   atomic.Int64
	denied atomic.Bool
}

// NewTempSpace returns space of so many bytes; of, if not nil, is space that it
// takes from.
func NewTempSpace(bytes int64, of *TempSpace) *TempSpace { return &TempSpace{max: bytes, of: of} }

// Used returns how many bytes are in use.
func (t *TempSpace) Used() int64 { return t.used.Load() }

// Denied reports whether there was not enough since it was asked last.
func (t *TempSpace) Denied() bool { return t != nil && t.denied.Swap(false) }

// Max returns how many bytes there are.
func (t *TempSpace) Max() int64 { return t.max }

// grow takes n bytes, or gives some back if n is negative.
func (t *TempSpace) grow(n int64) bool {
	if t == nil {
		return true
	}
	if used := t.used.Add(n); n > 0 && used > t.max || !t.of.grow(n) {
		t.used.Add(-n)
		t.denied.Store(true)
		return false
	}
	return true
}

// tempFile is a temporary file of a connection with a TempSpace: a file of the
// default VFS, behind the handleFile.
type tempFile struct {
	space *TempSpace
	size  int64
}

const tempFlags = lib.SQLITE_OPEN_TEMP_DB | lib.SQLITE_OPEN_TRANSIENT_DB | lib.SQLITE_OPEN_TEMP_JOURNAL | lib.SQLITE_OPEN_SUBJOURNAL

var (
	tempVFS   vfs
	tempFiles registry[tempFile]
	// tempSpaces has the TempSpace of connections, by their *libc.TLS: nothing
	// else tells whose a file is.
	tempSpaces sync.Map
)

func useTempVFS() uintptr {
	return tempVFS.use("agentdb-temp", tempOpen, lib.Tsqlite3_io_methods{
		FiVersion: 1, FxClose: fnptr(tempClose), FxRead: fnptr(tempRead), FxWrite: fnptr(tempWrite), FxTruncate: fnptr(tempTruncate),
		FxSync: fnptr(noSync), FxFileSize: fnptr(tempSize), FxLock: fnptr(noLock), FxUnlock: fnptr(noLock),
		FxCheckReservedLock: fnptr(noReservedLock), FxFileControl: fnptr(noControl), FxSectorSize: fnptr(pageSector),
		FxDeviceCharacteristics: fnptr(noCharacteristics),
	}, nil)
}

// tempBase returns the file of the default VFS, and its methods.
func tempBase(file uintptr) (uintptr, *lib.Tsqlite3_io_methods) {
	base := file + unsafe.Sizeof(handleFile{})
	return base, (*lib.Tsqlite3_io_methods)(ptr((*lib.Tsqlite3_file)(ptr(base)).FpMethods))
}

func tempOf(file uintptr) *tempFile { return tempFiles.get((*handleFile)(ptr(file)).handle) }

// resize counts a file as of that size.
func (t *tempFile) resize(size int64) bool {
	if !t.space.grow(size - t.size) {
		return false
	}
	t.size = size
	return true
}

// What follows is called by SQLite.

func tempOpen(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32 {
	space, _ := tempSpaces.Load(tls)
	if flags&tempFlags == 0 || space == nil {
		return openBase(tls, vfs, path, file, flags, outFlags)
	}
	useTempVFS() // for its methods
	(*handleFile)(ptr(file)).methods = 0
	base, _ := tempBase(file)
	if rc := openBase(tls, vfs, path, base, flags, outFlags); rc != lib.SQLITE_OK {
		return rc
	}
	h := tempFiles.add(&tempFile{space: space.(*TempSpace)})
	rc := tempVFS.opened(file, h, flags, 0)
	if rc != lib.SQLITE_OK {
		_, m := tempBase(file)
		cfunc[func(*libc.TLS, uintptr) int32](m.FxClose)(tls, base)
	}
	return rc
}

func tempClose(tls *libc.TLS, file uintptr) int32 {
	tempOf(file).resize(0)
	tempFiles.remove((*handleFile)(ptr(file)).handle)
	base, m := tempBase(file)
	return cfunc[func(*libc.TLS, uintptr) int32](m.FxClose)(tls, base)
}

func tempRead(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
	base, m := tempBase(file)
	return cfunc[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](m.FxRead)(tls, base, buf, n, off)
}

func tempWrite(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
	if t := tempOf(file); off+int64(n) > t.size && !t.resize(off+int64(n)) {
		return lib.SQLITE_FULL
	}
	base, m := tempBase(file)
	return cfunc[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](m.FxWrite)(tls, base, buf, n, off)
}

func tempTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	base, m := tempBase(file)
	rc := cfunc[func(*libc.TLS, uintptr, int64) int32](m.FxTruncate)(tls, base, size)
	if t := tempOf(file); rc == lib.SQLITE_OK && size < t.size {
		t.resize(size)
	}
	return rc
}

func tempSize(tls *libc.TLS, file, out uintptr) int32 {
	base, m := tempBase(file)
	return cfunc[func(*libc.TLS, uintptr, uintptr) int32](m.FxFileSize)(tls, base, out)
}
