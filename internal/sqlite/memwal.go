package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"

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

var memVFS vfs

func useMemVFS() uintptr {
	return memVFS.use("agentdb-memwal", walOpen, lib.Tsqlite3_io_methods{
		FiVersion: 1, FxClose: fnptr(walClose), FxRead: fnptr(walRead), FxWrite: fnptr(walWrite), FxTruncate: fnptr(walTruncate),
		FxSync: fnptr(noSync), FxFileSize: fnptr(walSize), FxLock: fnptr(noLock), FxUnlock: fnptr(noLock),
		FxCheckReservedLock: fnptr(noReservedLock), FxFileControl: fnptr(noControl), FxSectorSize: fnptr(pageSector),
		FxDeviceCharacteristics: fnptr(noCharacteristics),
	}, nil)
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
	if f == 0 || (*handleFile)(ptr(f)).methods == 0 {
		return errors.New("sqlite: there is no WAL")
	}
	if memVFS.methods == 0 || (*handleFile)(ptr(f)).methods != memVFS.methods {
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
	methods := (*lib.Tsqlite3_io_methods)(ptr((*handleFile)(ptr(file)).methods))
	read := cfunc[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](methods.FxRead)
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

func walOf(file uintptr) *walFile { return walFiles.get((*handleFile)(ptr(file)).handle) }

func walOpen(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32 {
	if flags&lib.SQLITE_OPEN_WAL == 0 {
		return tempOpen(tls, vfs, path, file, flags, outFlags)
	}
	return memVFS.opened(file, walFiles.add(&walFile{path: goString(path)}), flags, outFlags)
}

func walClose(tls *libc.TLS, file uintptr) int32 {
	err := walOf(file).truncate(tls, 0)
	walFiles.remove((*handleFile)(ptr(file)).handle)
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
