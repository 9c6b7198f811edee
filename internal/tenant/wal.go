package tenant

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// Sizes of the WAL's parts, see https://www.sqlite.org/fileformat2.html#walformat.
const (
	walHeader   = 32
	walSalt     = 16 // where the header says which WAL this is
	frameHeader = 24
	frameSize   = frameHeader + history.PageSize
)

// A WAL, which is in memory, is written back into the cached file when it has
// checkpointFrames, or when those of all databases have maxFrames above the
// checkpointSmall that each may have.
const (
	checkpointFrames = 1000
	checkpointSmall  = 16
	maxFrames        = 4 << 20 / frameSize
)

// fewPages are compared one by one to find those that come twice.
const fewPages = 16

// walReader takes the pages that each commit changed out of the WAL.
type walReader struct {
	conn   *sqlite.Conn
	frames int // in the WAL after the last commit, as the hook said
	read   int // of those, taken
	salt   uint64
	buf    *[]byte       // what take returned is in it; nil: nothing
	total  *atomic.Int64 // frames above checkpointSmall in the WALs of all databases
	added  int           // of this one
}

// committed is the WAL hook.
func (w *walReader) committed(frames int) { w.frames = frames }

// restarted says that a checkpoint emptied the WAL.
func (w *walReader) restarted() {
	w.frames, w.read, w.salt = 0, 0, 0
	w.count()
}

// count keeps the total.
func (w *walReader) count() {
	above := max(w.read-checkpointSmall, 0)
	w.total.Add(int64(above - w.added))
	w.added = above
}

// full reports whether it is time for a checkpoint.
func (w *walReader) full() bool {
	return w.read >= checkpointFrames || w.read >= checkpointSmall && w.total.Load() > maxFrames
}

// walBuffers are lent to those who take pages, for as long as they use them.
var walBuffers = sync.Pool{New: func() any { return new([]byte) }}

// release gives the images back that take returned.
func (w *walReader) release() {
	if w.buf != nil && cap(*w.buf) <= checkpointFrames*frameSize {
		walBuffers.Put(w.buf)
	}
	w.buf = nil
}

// take returns the newest image of each page that was committed since the last
// take, and the size of the database in pages; nil if nothing was. The images
// are valid until release, or the next take.
func (w *walReader) take() ([]history.Page, uint32, error) {
	if w.frames == w.read {
		return nil, 0, nil
	}
	var salt [8]byte
	if err := w.conn.ReadWAL(salt[:], walSalt); err != nil {
		return nil, 0, fmt.Errorf("tenant: %w", err)
	}
	if now := binary.BigEndian.Uint64(salt[:]); now != w.salt {
		w.salt, w.read = now, 0 // SQLite began the WAL again
	}
	n := w.frames - w.read
	if n <= 0 {
		return nil, 0, fmt.Errorf("tenant: the WAL has %d frames, %d were read before", w.frames, w.read)
	}
	w.release()
	w.buf = walBuffers.Get().(*[]byte)
	*w.buf = slices.Grow((*w.buf)[:0], n*frameSize)[:n*frameSize]
	buf := *w.buf
	if err := w.conn.ReadWAL(buf, walHeader+int64(w.read)*frameSize); err != nil {
		return nil, 0, fmt.Errorf("tenant: %w", err)
	}
	w.read = w.frames
	w.count()
	pages := make([]history.Page, 0, n)
	var at map[uint32]int // where a page is, if they are many
	if n > fewPages {
		at = make(map[uint32]int, n)
	}
	for i := range n {
		f := buf[i*frameSize:][:frameSize]
		if binary.BigEndian.Uint64(f[8:]) != w.salt {
			return nil, 0, fmt.Errorf("tenant: frame %d of the WAL is of an older one", w.read-n+i)
		}
		p := history.Page{No: binary.BigEndian.Uint32(f), Data: f[frameHeader:]}
		k, again := at[p.No]
		if at == nil {
			k = slices.IndexFunc(pages, func(o history.Page) bool { return o.No == p.No })
			again = k >= 0
		}
		if again {
			pages[k] = p
			continue
		}
		if at != nil {
			at[p.No] = len(pages)
		}
		pages = append(pages, p)
	}
	size := binary.BigEndian.Uint32(buf[(n-1)*frameSize+4:])
	if size == 0 {
		return nil, 0, fmt.Errorf("tenant: the WAL's last frame is no commit")
	}
	pages = slices.DeleteFunc(pages, func(p history.Page) bool { return p.No > size })
	return pages, size, nil
}
