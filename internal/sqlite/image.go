package sqlite

import (
	"fmt"
	"strconv"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// imagePage is the size of an Image's pages.
const imagePage = 4096

// Image is a database whose pages are elsewhere.
type Image struct {
	// Pages is how many there are, of 4096 bytes each.
	Pages uint32
	// Read returns a page, whose number counts from 1. It is called in the
	// goroutine that uses the connection, which asks for a page again only if
	// its cache was too small.
	Read func(no uint32) ([]byte, error)
	// Write, if not nil, makes the image one that can be written to: it takes
	// the pages of each commit, which Read returns from then on. Pages follows.
	Write func(no uint32, page []byte)
	// Err is the first error of Read.
	Err error

	no uint32 // of the page that was read last
	p  []byte
}

var (
	imageVFS vfs
	images   registry[Image]
)

func useImageVFS() uintptr {
	return imageVFS.use("agentdb-image", imageOpen, lib.Tsqlite3_io_methods{
		FiVersion: 1, FxClose: fnptr(imageClose), FxRead: fnptr(imageRead), FxWrite: fnptr(imageWrite), FxTruncate: fnptr(imageTruncate),
		FxSync: fnptr(noSync), FxFileSize: fnptr(imageSize), FxLock: fnptr(noLock), FxUnlock: fnptr(noLock),
		FxCheckReservedLock: fnptr(noReservedLock), FxFileControl: fnptr(noControl), FxSectorSize: fnptr(pageSector),
		FxDeviceCharacteristics: fnptr(imageCharacteristics),
	}, func(s *lib.Tsqlite3_vfs) { s.FxFullPathname, s.FxAccess = fnptr(imagePathname), fnptr(imageAccess) })
}

// OpenImage opens an image, for reading unless it has Write. No file is opened but
// temporary ones. Of o only Temp and CacheKB count.
func OpenImage(img *Image, o Options) (*Conn, error) {
	h := images.add(img)
	if h == 0 {
		return nil, fmt.Errorf("sqlite: open image: %w", errNoMemory)
	}
	c := &Conn{tls: libc.NewTLS(), wake: make(chan struct{}, 1), image: h}
	o = Options{ReadOnly: img.Write == nil, Synchronous: "OFF", Temp: o.Temp, CacheKB: o.CacheKB, NoForeignKeys: true, NoWAL: true, NoCreate: true}
	if err := c.open(strconv.FormatUint(uint64(h), 10), o, false); err != nil {
		c.Close()
		return nil, fmt.Errorf("sqlite: open image: %w", err)
	}
	return c, nil
}

// read fills b from an offset.
func (m *Image) read(b []byte, off int64) error {
	for len(b) > 0 {
		no := uint32(off/imagePage) + 1
		if no != m.no || m.p == nil {
			p, err := m.Read(no)
			if err == nil && len(p) != imagePage {
				err = fmt.Errorf("sqlite: page %d of an image has %d bytes", no, len(p))
			}
			if err != nil {
				return err
			}
			m.no, m.p = no, p
		}
		n := copy(b, m.p[off%imagePage:])
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// What follows is called by SQLite.

func imageOpen(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32 {
	if flags&lib.SQLITE_OPEN_MAIN_DB == 0 {
		return tempOpen(tls, vfs, path, file, flags, outFlags)
	}
	h, err := strconv.ParseUint(goString(path), 10, 64)
	if err != nil {
		return lib.SQLITE_CANTOPEN
	}
	m := images.get(uintptr(h))
	if m == nil {
		return lib.SQLITE_CANTOPEN
	}
	if m.Write == nil {
		flags = flags&^(lib.SQLITE_OPEN_READWRITE|lib.SQLITE_OPEN_CREATE) | lib.SQLITE_OPEN_READONLY
	}
	return imageVFS.opened(file, uintptr(h), flags, outFlags)
}

// imageAccess says that there are no other files: no journal of a crash.
func imageAccess(_ *libc.TLS, _, _ uintptr, _ int32, out uintptr) int32 {
	*(*int32)(ptr(out)) = 0
	return lib.SQLITE_OK
}

// imagePathname leaves the name as it is.
func imagePathname(_ *libc.TLS, _, name uintptr, n int32, out uintptr) int32 {
	s := goString(name)
	if len(s) >= int(n) {
		return lib.SQLITE_CANTOPEN
	}
	b := view(out, len(s)+1)
	b[copy(b, s)] = 0
	return lib.SQLITE_OK
}

func imageClose(*libc.TLS, uintptr) int32 { return lib.SQLITE_OK }

func imageRead(_ *libc.TLS, file, buf uintptr, n int32, off int64) (rc int32) {
	m := images.get((*handleFile)(ptr(file)).handle)
	b := view(buf, int(n))
	size := int64(m.Pages) * imagePage
	have := int(max(0, min(int64(n), size-off)))
	defer func() {
		if v := recover(); v != nil {
			m.Err, rc = panicError("Image.Read", v), lib.SQLITE_IOERR_READ
		}
	}()
	if err := m.read(b[:have], off); err != nil {
		if m.Err == nil {
			m.Err = err
		}
		return lib.SQLITE_IOERR_READ
	}
	if have < int(n) {
		clear(b[have:])
		return lib.SQLITE_IOERR_SHORT_READ
	}
	return lib.SQLITE_OK
}

func imageWrite(_ *libc.TLS, file, buf uintptr, n int32, off int64) (rc int32) {
	m := images.get((*handleFile)(ptr(file)).handle)
	if m.Write == nil {
		return lib.SQLITE_READONLY
	}
	if n != imagePage || off%imagePage != 0 {
		return lib.SQLITE_IOERR_WRITE
	}
	defer func() {
		if v := recover(); v != nil {
			m.Err, rc = panicError("Image.Write", v), lib.SQLITE_IOERR_WRITE
		}
	}()
	no := uint32(off/imagePage) + 1
	m.p, m.Pages = nil, max(m.Pages, no)
	m.Write(no, view(buf, imagePage))
	return lib.SQLITE_OK
}

func imageTruncate(_ *libc.TLS, file uintptr, size int64) int32 {
	m := images.get((*handleFile)(ptr(file)).handle)
	if m.Write == nil {
		return lib.SQLITE_READONLY
	}
	m.p, m.Pages = nil, uint32(size/imagePage)
	return lib.SQLITE_OK
}

func imageSize(_ *libc.TLS, file, out uintptr) int32 {
	*(*int64)(ptr(out)) = int64(images.get((*handleFile)(ptr(file)).handle).Pages) * imagePage
	return lib.SQLITE_OK
}

// imageCharacteristics says that nobody else changes the file: there are no locks,
// and no WAL.
func imageCharacteristics(_ *libc.TLS, file uintptr) int32 {
	if images.get((*handleFile)(ptr(file)).handle).Write != nil {
		return 0 // commits are written at once
	}
	return lib.SQLITE_IOCAP_IMMUTABLE
}
