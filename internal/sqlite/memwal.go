package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// A WAL in memory: a VFS that is SQLite's default one but for the files that
// are opened as a WAL, see https://www.sqlite.org/vfs.html.
const (
	walChunk = pageMax // a slot of pageMem
	// walInMemory is how many bytes of a WAL are in memory. What is beyond, of
	// large transactions, is in the -wal file.
	walInMemory = (4 << 20) / walChunk * walChunk
)

// walFile is the WAL of one connection.
type walFile struct {
	path   string
	chunks []uintptr // in SQLite's memory: the collector shall not reserve as much again
	spill  *os.File  // nil until it is needed
	size   int64
}

// memFile is what SQLite sees of a walFile: a sqlite3_file with a handle.
type memFile struct {
	methods uintptr
	handle  uintptr // in walFiles
}

// memVFS holds what SQLite and the callbacks need of the VFS. It is made at the
// first use, and never freed.
var memVFS struct {
	once    sync.Once
	ok      bool
	name    uintptr
	open    uintptr // of the default VFS
	methods uintptr
}

// useMemVFS returns the name of the VFS, or 0 if there is no memory for it.
func useMemVFS() uintptr {
	memVFS.once.Do(func() { memVFS.ok = makeMemVFS() })
	if !memVFS.ok {
		return 0
	}
	return memVFS.name
}

func makeMemVFS() bool {
	tls := libc.NewTLS()
	defer tls.Close()
	v := &memVFS
	base := lib.Xsqlite3_vfs_find(tls, 0)
	v.name, v.methods = cstring(tls, "agentdb-memwal"), malloc(tls, int(unsafe.Sizeof(lib.Tsqlite3_io_methods{})))
	p := malloc(tls, int(unsafe.Sizeof(lib.Tsqlite3_vfs{})))
	if base == 0 || v.name == 0 || v.methods == 0 || p == 0 {
		return false
	}
	s := (*lib.Tsqlite3_vfs)(ptr(p))
	*s = *(*lib.Tsqlite3_vfs)(ptr(base))
	v.open = s.FxOpen
	s.FpNext, s.FzName, s.FxOpen = 0, v.name, fnptr(walOpen)
	s.FszOsFile = max(s.FszOsFile, int32(unsafe.Sizeof(memFile{})))
	*(*lib.Tsqlite3_io_methods)(ptr(v.methods)) = lib.Tsqlite3_io_methods{
		FiVersion: 1, FxClose: fnptr(walClose), FxRead: fnptr(walRead), FxWrite: fnptr(walWrite), FxTruncate: fnptr(walTruncate),
		FxSync: fnptr(walSync), FxFileSize: fnptr(walSize), FxLock: fnptr(walLock), FxUnlock: fnptr(walLock),
		FxCheckReservedLock: fnptr(walCheckLock), FxFileControl: fnptr(walControl), FxSectorSize: fnptr(walSector),
		FxDeviceCharacteristics: fnptr(walCharacteristics),
	}
	return lib.Xsqlite3_vfs_register(tls, p, 0) == lib.SQLITE_OK
}

// ReadWAL reads from the WAL of a connection.
func (c *Conn) ReadWAL(b []byte, off int64) error {
	if c.db == 0 {
		return ErrClosed
	}
	*(*uintptr)(ptr(c.scratch + slotOut)) = 0
	rc := lib.Xsqlite3_file_control(c.tls, c.db, 0, lib.SQLITE_FCNTL_JOURNAL_POINTER, c.scratch+slotOut)
	if rc != lib.SQLITE_OK {
		return c.errcode(rc, "")
	}
	f := readPtr(c.scratch + slotOut)
	if f == 0 || (*memFile)(ptr(f)).methods == 0 {
		return errors.New("sqlite: there is no WAL")
	}
	if memVFS.methods == 0 || (*memFile)(ptr(f)).methods != memVFS.methods {
		return c.readFile(f, b, off)
	}
	w := walOf(f)
	if n := w.readAt(b, off); n < len(b) {
		return fmt.Errorf("sqlite: read WAL at %d: %w", off, io.ErrUnexpectedEOF)
	}
	return nil
}

// readFile reads from an open file by its VFS.
func (c *Conn) readFile(file uintptr, b []byte, off int64) error {
	buf := malloc(c.tls, walChunk)
	if buf == 0 {
		return c.errcode(lib.SQLITE_NOMEM, "")
	}
	defer free(c.tls, buf)
	methods := (*lib.Tsqlite3_io_methods)(ptr((*memFile)(ptr(file)).methods))
	read := *(*func(*libc.TLS, uintptr, uintptr, int32, int64) int32)(unsafe.Pointer(&struct{ uintptr }{methods.FxRead}))
	for len(b) > 0 {
		n := min(len(b), walChunk)
		if rc := read(c.tls, file, buf, int32(n), off); rc != lib.SQLITE_OK {
			return c.errcode(rc, "")
		}
		copy(b, view(buf, n))
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// readAt returns how many bytes there are, up to an error.
func (w *walFile) readAt(b []byte, off int64) int {
	n := 0
	b = b[:max(0, min(int64(len(b)), w.size-off))]
	for n < len(b) {
		at := off + int64(n)
		if at >= walInMemory {
			k, _ := w.spill.ReadAt(b[n:], at-walInMemory)
			return n + k
		}
		n += copy(b[n:], w.chunk(at))
	}
	return n
}

// chunk returns the memory from an offset to the end of its chunk.
func (w *walFile) chunk(off int64) []byte {
	return view(w.chunks[off/walChunk], walChunk)[off%walChunk:]
}

func (w *walFile) writeAt(tls *libc.TLS, b []byte, off int64) error {
	for len(b) > 0 {
		if off >= walInMemory {
			return w.writeSpill(b, off)
		}
		for int64(len(w.chunks)) <= off/walChunk {
			p := malloc(tls, walChunk)
			if p == 0 {
				return errNoMemory
			}
			w.chunks = append(w.chunks, p)
		}
		n := copy(w.chunk(off), b)
		b, off = b[n:], off+int64(n)
		w.size = max(w.size, off)
	}
	return nil
}

var errNoMemory = errors.New("sqlite: out of memory")

func (w *walFile) writeSpill(b []byte, off int64) (err error) {
	if w.spill == nil {
		if w.spill, err = os.OpenFile(w.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return err
		}
	}
	n, err := w.spill.WriteAt(b, off-walInMemory)
	w.size = max(w.size, off+int64(n))
	return err
}

// truncate gives memory and disk back.
func (w *walFile) truncate(tls *libc.TLS, size int64) error {
	w.size = min(w.size, size)
	keep := min(len(w.chunks), int(min(w.size, walInMemory)+walChunk-1)/walChunk)
	for _, p := range w.chunks[keep:] {
		free(tls, p)
	}
	w.chunks = w.chunks[:keep]
	if w.spill == nil {
		return nil
	}
	if w.size > walInMemory {
		return w.spill.Truncate(w.size - walInMemory)
	}
	err := errors.Join(w.spill.Close(), os.Remove(w.path))
	w.spill = nil
	return err
}

// What follows is called by SQLite.

func walOf(file uintptr) *walFile { return walFiles.get((*memFile)(ptr(file)).handle) }

func walOpen(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32 {
	if flags&lib.SQLITE_OPEN_WAL == 0 {
		open := *(*func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32)(unsafe.Pointer(&struct{ uintptr }{memVFS.open}))
		return open(tls, vfs, path, file, flags, outFlags)
	}
	f := (*memFile)(ptr(file))
	f.methods = 0
	if f.handle = walFiles.add(&walFile{path: goString(path)}); f.handle == 0 {
		return lib.SQLITE_CANTOPEN
	}
	f.methods = memVFS.methods
	if outFlags != 0 {
		*(*int32)(ptr(outFlags)) = flags
	}
	return lib.SQLITE_OK
}

func walClose(tls *libc.TLS, file uintptr) int32 {
	err := walOf(file).truncate(tls, 0)
	walFiles.remove((*memFile)(ptr(file)).handle)
	if err != nil {
		return lib.SQLITE_IOERR_CLOSE
	}
	return lib.SQLITE_OK
}

func walRead(_ *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
	b := view(buf, int(n))
	if got := walOf(file).readAt(b, off); got < len(b) {
		clear(b[got:])
		return lib.SQLITE_IOERR_SHORT_READ
	}
	return lib.SQLITE_OK
}

func walWrite(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
	if walOf(file).writeAt(tls, view(buf, int(n)), off) != nil {
		return lib.SQLITE_FULL
	}
	return lib.SQLITE_OK
}

func walTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	if walOf(file).truncate(tls, size) != nil {
		return lib.SQLITE_IOERR_TRUNCATE
	}
	return lib.SQLITE_OK
}

func walSize(_ *libc.TLS, file, out uintptr) int32 {
	*(*int64)(ptr(out)) = walOf(file).size
	return lib.SQLITE_OK
}

func walSync(*libc.TLS, uintptr, int32) int32 { return lib.SQLITE_OK }

func walLock(*libc.TLS, uintptr, int32) int32 { return lib.SQLITE_OK }

func walCheckLock(_ *libc.TLS, _, out uintptr) int32 {
	*(*int32)(ptr(out)) = 0
	return lib.SQLITE_OK
}

func walControl(*libc.TLS, uintptr, int32, uintptr) int32 { return lib.SQLITE_NOTFOUND }

func walSector(*libc.TLS, uintptr) int32 { return 4096 }

func walCharacteristics(*libc.TLS, uintptr) int32 { return 0 }
