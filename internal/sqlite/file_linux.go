package sqlite

import (
	"errors"
	"syscall"

	lib "modernc.org/sqlite/lib"
)

// Flags of system calls that package syscall doesn't name.
const (
	fallocKeepSize     = 0x1 // linux/falloc.h
	syncFileRangeWrite = 0x2 // linux/fs.h
)

// descriptor returns SQLite's own descriptor of the file, or -1 if this isn't a
// file of its VFS for Unix.
func (f *File) descriptor() int {
	size, err := f.Size()
	if err != nil {
		return -1
	}
	var st syscall.Stat_t
	fd := int((*lib.TunixFile)(ptr(f.file)).Fh)
	if err := syscall.Fstat(fd, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Size != size {
		return -1
	}
	return fd
}

// Reserve has the file system find room for the bytes between two offsets, all at
// once. The size remains. It is a hint: where it can't be done, nothing is.
func (f *File) Reserve(from, to int64) {
	if f.c.db != 0 && f.fd >= 0 && from < to {
		_ = syscall.Fallocate(f.fd, fallocKeepSize, from, to-from)
	}
}

// StartSync begins to bring what was written to the disk, without waiting for
// it, and reports whether it could. Sync is still to be called.
func (f *File) StartSync() bool {
	return f.c.db != 0 && f.fd >= 0 && syscall.SyncFileRange(f.fd, 0, 0, syncFileRangeWrite) == nil
}

// writeLarge writes as much as it can without SQLite, which writes 128 KiB at a
// time at most.
func (f *File) writeLarge(p []byte, off int64) (n int) {
	for f.fd >= 0 && n < len(p) {
		k, err := syscall.Pwrite(f.fd, p[n:], off+int64(n))
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || k == 0 {
			break
		}
		n += k
	}
	return n
}
