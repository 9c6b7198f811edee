package sqlite

import (
	"runtime"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// File is the main database file of a connection, beneath the page cache and
// the WAL. Its calls go through SQLite's own descriptor: closing another one
// would drop the process's locks. It is for bytes that no transaction can see
// yet, and valid until the connection is closed.
//
// WriteAt, StartSync and Sync may run beside each other and themselves. No method
// is for use while a call on the connection runs.
type File struct {
	c    *Conn
	file uintptr
	io   *lib.Tsqlite3_io_methods
	fd   int // SQLite's own, or -1
}

// maxFileWrite is less than the 128 KiB that SQLite's own VFS can write at once.
const maxFileWrite = 64 << 10

// File returns the main database file.
func (c *Conn) File() (*File, error) {
	if c.db == 0 {
		return nil, ErrClosed
	}
	name := cstring(c.tls, "main")
	if name == 0 {
		return nil, c.errcode(lib.SQLITE_NOMEM, "")
	}
	defer free(c.tls, name)
	rc := lib.Xsqlite3_file_control(c.tls, c.db, name, lib.SQLITE_FCNTL_FILE_POINTER, c.scratch+slotOut)
	if rc != lib.SQLITE_OK {
		return nil, c.errcode(rc, "")
	}
	f := &File{c: c, file: readPtr(c.scratch + slotOut)}
	methods := (*lib.Tsqlite3_file)(ptr(f.file)).FpMethods
	if methods == 0 {
		return nil, misuse("a database without a file")
	}
	f.io = (*lib.Tsqlite3_io_methods)(ptr(methods))
	f.fd = f.descriptor()
	return f, nil
}

// Size returns the size of the file in bytes.
func (f *File) Size() (int64, error) {
	if f.c.db == 0 {
		return 0, ErrClosed
	}
	rc := cfunc[func(*libc.TLS, uintptr, uintptr) int32](f.io.FxFileSize)(f.c.tls, f.file, f.c.scratch+slotOut)
	return *(*int64)(ptr(f.c.scratch + slotOut)), f.result(rc)
}

// WriteAt writes p at an offset. What is written at the same time must be elsewhere.
func (f *File) WriteAt(p []byte, off int64) (n int, err error) {
	if f.c.db == 0 {
		return 0, ErrClosed
	}
	if n = f.writeLarge(p, off); n == len(p) {
		return n, nil
	}
	write := cfunc[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](f.io.FxWrite)
	tls := libc.NewTLS() // the connection's own may be in use
	defer tls.Close()
	var pin runtime.Pinner
	defer pin.Unpin()
	for n < len(p) {
		part := p[n:min(len(p), n+maxFileWrite)]
		pin.Pin(&part[0])
		rc := write(tls, f.file, uintptr(unsafe.Pointer(&part[0])), int32(len(part)), off+int64(n))
		if rc != lib.SQLITE_OK {
			return n, f.result(rc)
		}
		n += len(part)
	}
	return n, nil
}

// Truncate cuts the file off.
func (f *File) Truncate(size int64) error {
	if f.c.db == 0 {
		return ErrClosed
	}
	return f.result(cfunc[func(*libc.TLS, uintptr, int64) int32](f.io.FxTruncate)(f.c.tls, f.file, size))
}

// Sync makes what was written durable.
func (f *File) Sync() error {
	if f.c.db == 0 {
		return ErrClosed
	}
	tls := libc.NewTLS() // the connection's own may be in use
	defer tls.Close()
	return f.result(cfunc[func(*libc.TLS, uintptr, int32) int32](f.io.FxSync)(tls, f.file, lib.SQLITE_SYNC_NORMAL))
}

func (f *File) result(rc int32) error {
	if rc == lib.SQLITE_OK {
		return nil
	}
	return &Error{Code: int(rc), Message: "the database file itself", Offset: -1}
}
