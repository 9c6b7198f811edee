package history

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// flushPatience is how long flushes may fail. Writes wait for them once the
	// memtables are full.
	flushPatience = 30 * time.Second
	// flushPause is how long a failed flush waits: the engine would try again at
	// once, thousands of times a second.
	flushPause = time.Second
	// sayEvery bounds how often errors of the background are logged.
	sayEvery = 10 * time.Second
)

// troubles watches what the engine does in the background, of which nobody else
// learns.
type troubles struct {
	log    *slog.Logger
	failed func(error) // called when flushes have failed for too long

	mu    sync.Mutex
	said  time.Time // when an error was logged last; guarded by mu
	since time.Time // when flushes began to fail; zero: they don't; guarded by mu
}

// background is told of each error.
func (t *troubles) background(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.said) >= sayEvery {
		t.said = time.Now()
		t.log.Warn("history: background error", "err", err.Error()) // without its stack
	}
}

// flushed is told whether the table of a flush was written. A full disk is waited
// for, since writes are refused meanwhile and come back by themselves.
func (t *troubles) flushed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		t.since = time.Time{}
	case t.since.IsZero():
		t.since = time.Now()
	case time.Since(t.since) > flushPatience:
		t.failed(fmt.Errorf("no table could be written for %v: %w", flushPatience, err))
	}
}

// catFlush is the category of the tables that flushes write.
const catFlush vfs.DiskWriteCategory = "pebble-memtable-flush"

// flushFS is a file system that tells how flushes do, and on which failed ones take
// their time.
type flushFS struct {
	vfs.FS
	troubles *troubles
}

// Create implements vfs.FS.
func (f flushFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	if category != catFlush {
		return file, err
	}
	if err != nil {
		return nil, f.troubles.slow(err)
	}
	return flushFile{file, f.troubles}, nil
}

type flushFile struct {
	vfs.File
	troubles *troubles
}

// Write implements vfs.File.
func (f flushFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.troubles.slow(err)
}

// Sync implements vfs.File.
func (f flushFile) Sync() error { return f.synced(f.File.Sync()) }

// SyncData implements vfs.File.
func (f flushFile) SyncData() error { return f.synced(f.File.SyncData()) }

// synced passes on the outcome of what comes last.
func (f flushFile) synced(err error) error {
	if err == nil {
		f.troubles.flushed(nil)
	}
	return f.troubles.slow(err)
}

// slow waits before it returns an error.
func (t *troubles) slow(err error) error {
	if err != nil {
		t.flushed(err)
		time.Sleep(flushPause)
	}
	return err
}
