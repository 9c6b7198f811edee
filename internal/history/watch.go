package history

import "github.com/cockroachdb/pebble/v2/vfs"

// Categories of the files without which the engine can't go on: when it can't write
// one it panics, and the process may not survive that.
const (
	catLog      vfs.DiskWriteCategory = "pebble-wal"
	catManifest vfs.DiskWriteCategory = "pebble-manifest"
)

// watchedFS is a file system that tells of the files that can't be written before
// the engine learns of it.
type watchedFS struct {
	vfs.FS
	failed func(error)
}

// Create implements vfs.FS.
func (w watchedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := w.FS.Create(name, category)
	return w.watch(f, err, category)
}

// ReuseForWrite implements vfs.FS.
func (w watchedFS) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := w.FS.ReuseForWrite(old, name, category)
	return w.watch(f, err, category)
}

func (w watchedFS) watch(f vfs.File, err error, category vfs.DiskWriteCategory) (vfs.File, error) {
	if category != catLog && category != catManifest {
		return f, err
	}
	if err != nil {
		w.failed(err)
		return nil, err
	}
	return watchedFile{f, w.failed}, nil
}

type watchedFile struct {
	vfs.File
	failed func(error)
}

// tell passes an error on.
func (f watchedFile) tell(err error) error {
	if err != nil {
		f.failed(err)
	}
	return err
}

// Write implements vfs.File.
func (f watchedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.tell(err)
}

// Sync implements vfs.File.
func (f watchedFile) Sync() error { return f.tell(f.File.Sync()) }

// SyncData implements vfs.File.
func (f watchedFile) SyncData() error { return f.tell(f.File.SyncData()) }

// SyncTo implements vfs.File.
func (f watchedFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.tell(err)
}
