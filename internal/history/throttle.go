package history

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// compacting is the category under which the engine writes what a compaction
// makes; flushes, which writers wait for, have another.
const compacting vfs.DiskWriteCategory = "pebble-compaction"

// throttledFS is a file system on which compactions write no faster than a rate,
// unless the engine makes writers wait for them, or is being closed.
type throttledFS struct {
	vfs.FS
	pace *pace
}

// Create implements vfs.FS.
func (f throttledFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	if err != nil || category != compacting {
		return file, err
	}
	return throttledFile{file, f.pace}, nil
}

type throttledFile struct {
	vfs.File
	pace *pace
}

// Write implements vfs.File.
func (f throttledFile) Write(p []byte) (int, error) {
	f.pace.wait(len(p))
	return f.File.Write(p)
}

// pace spreads writes over time.
type pace struct {
	rate   int64       // bytes per second
	urgent atomic.Bool // writers wait
	closed atomic.Bool // whoever closes the store does

	mu   sync.Mutex
	next time.Time // when what was written so far has had its time
}

// wait waits until n bytes may be written.
func (p *pace) wait(n int) {
	if p.hurries() {
		return
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	d := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	for ; d > 0 && !p.hurries(); d -= paceStep {
		time.Sleep(min(d, paceStep))
	}
}

// hurries reports whether somebody waits for what is being written.
func (p *pace) hurries() bool { return p.urgent.Load() || p.closed.Load() }

// paceStep bounds how long a compaction goes on waiting when writers begin to.
const paceStep = 20 * time.Millisecond
