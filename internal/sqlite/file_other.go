//go:build !linux

package sqlite

func (f *File) descriptor() int { return -1 }

// Reserve has the file system find room for the bytes between two offsets, all at
// once. The size remains. It is a hint: where it can't be done, nothing is.
func (f *File) Reserve(_, _ int64) {}

// StartSync begins to bring what was written to the disk, without waiting for
// it, and reports whether it could. Sync is still to be called.
func (f *File) StartSync() bool { return false }

func (f *File) writeLarge(_ []byte, _ int64) int { return 0 }
