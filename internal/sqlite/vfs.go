package sqlite

import (
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// The VFSs of this package are SQLite's default one with another way to open
// files, see https://www.sqlite.org/vfs.html.

// openFunc is the xOpen of a VFS.
type openFunc func(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32

// handleFile is what SQLite sees of a file of ours: a sqlite3_file with a handle.
type handleFile struct {
	methods uintptr
	handle  uintptr
}

// vfs is a VFS. It is made at the first use, and never freed.
type vfs struct {
	once    sync.Once
	name    uintptr // 0 if there was no memory for it
	methods uintptr // of the files that it opens itself
}

var baseVFS struct {
	once sync.Once
	open uintptr // of the default VFS
	size int     // of its files
}

// openBase opens a file as the default VFS does.
func openBase(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32 {
	return cfunc[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](baseVFS.open)(tls, vfs, path, file, flags, outFlags)
}

// use returns the name of the VFS, or 0 if there is no memory for it.
func (v *vfs) use(name string, open openFunc, methods lib.Tsqlite3_io_methods, change func(*lib.Tsqlite3_vfs)) uintptr {
	v.once.Do(func() {
		tls := libc.NewTLS()
		defer tls.Close()
		base := lib.Xsqlite3_vfs_find(tls, 0)
		text, p := cstring(tls, name), malloc(tls, int(unsafe.Sizeof(lib.Tsqlite3_vfs{})))
		v.methods = malloc(tls, int(unsafe.Sizeof(methods)))
		if base == 0 || text == 0 || p == 0 || v.methods == 0 {
			return
		}
		s := (*lib.Tsqlite3_vfs)(ptr(p))
		*s = *(*lib.Tsqlite3_vfs)(ptr(base))
		baseVFS.once.Do(func() { baseVFS.open, baseVFS.size = s.FxOpen, int(s.FszOsFile) })
		s.FpNext, s.FzName, s.FxOpen = 0, text, fnptr(open)
		s.FszOsFile += int32(unsafe.Sizeof(handleFile{}))
		if change != nil {
			change(s)
		}
		*(*lib.Tsqlite3_io_methods)(ptr(v.methods)) = methods
		if lib.Xsqlite3_vfs_register(tls, p, 0) == lib.SQLITE_OK {
			v.name = text
		}
	})
	return v.name
}

// opened makes a file one of the VFS.
func (v *vfs) opened(file, handle uintptr, flags int32, outFlags uintptr) int32 {
	f := (*handleFile)(ptr(file))
	f.methods, f.handle = 0, handle
	if handle == 0 {
		return lib.SQLITE_CANTOPEN
	}
	f.methods = v.methods
	if outFlags != 0 {
		*(*int32)(ptr(outFlags)) = flags
	}
	return lib.SQLITE_OK
}

// Methods of files that need none of their own. They are called by SQLite.

func noSync(*libc.TLS, uintptr, int32) int32 { return lib.SQLITE_OK }

func noLock(*libc.TLS, uintptr, int32) int32 { return lib.SQLITE_OK }

func noReservedLock(_ *libc.TLS, _, out uintptr) int32 {
	*(*int32)(ptr(out)) = 0
	return lib.SQLITE_OK
}

func noControl(*libc.TLS, uintptr, int32, uintptr) int32 { return lib.SQLITE_NOTFOUND }

func pageSector(*libc.TLS, uintptr) int32 { return 4096 }

func noCharacteristics(*libc.TLS, uintptr) int32 { return 0 }
