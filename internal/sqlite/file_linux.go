package sqlite

import (
	"errors"

	"golang.org/x/sys/unix"
	lib "modernc.org/sqlite/lib"
)

// descriptor returns SQLite's own descriptor of the file, or -1 if this isn't a
// file of its VFS for Unix.
func (f *File) descriptor() int {
	size, err := f.Size()
	if err != nil {
		return -1
	}
	var st unix.Stat_t
	fd := int((*lib.TunixFile)(ptr(f.file)).Fh)
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != size {
		return -1
	}
	return fd
}

// Reserve has the file system find room for the bytes between two offsets, all at
// once. The size remains. It is a hint: where it can't be done, nothing is.
func (f *File) Reserve(from, to int64) {
	if f.c.db != 0 && f.fd >= 0 && from < to {
		_ = unix.Fallocate(f.fd, unix.FALLOC_FL_KEEP_SIZE, from, to-from)
	}
}

// StartSync begins to bring what was written to the disk, without waiting for
// it, and reports whether it could. Sync is still to be called.
func (f *File) StartSync() bool {
	return f.c.db != 0 && f.fd >= 0 && unix.SyncFileRange(f.fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) == nil
}

// writeLarge writes as much as it can without SQLite, which writes 128 KiB at a
// time at most.
func (f *File) writeLarge(p []byte, off int64) (n int) {
	for f.fd >= 0 && n < len(p) {
		k, err := unix.Pwrite(f.fd, p[n:], off+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || k == 0 {
			break
		}
		n += k
	}
	return n
}
