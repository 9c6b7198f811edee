package tenant

import (
	"container/list"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/wire"
)

// chunkCache keeps encoded chunks of snapshots in files, for the next replica
// that starts from nothing: compressing them is most of what a snapshot costs.
// The bytes on disk are bounded, and what can't be read or written is made
// anew.
type chunkCache struct {
	dir    string
	max    int64
	intact func([]byte) bool // whether a file is one, and whole

	mu   sync.Mutex // guards what follows
	dbs  map[string]*cachedSnapshot
	lru  *list.List // of *cachedSnapshot, the most recently used first
	size int64
	last uint64 // number of the newest file
}

// cachedSnapshot is what is kept of one database.
type cachedSnapshot struct {
	name   string
	head   history.Head // what the chunks are of
	chunks map[uint32]cachedChunk
	elem   *list.Element
}

type cachedChunk struct {
	pages uint32
	size  int64
	file  uint64
}

func newChunkCache(dir string, limit int64, intact func([]byte) bool) (*chunkCache, error) {
	return &chunkCache{dir: dir, max: limit, intact: intact, dbs: map[string]*cachedSnapshot{}, lru: list.New()}, os.MkdirAll(dir, 0o700)
}

func (c *chunkCache) path(file uint64) string {
	return filepath.Join(c.dir, strconv.FormatUint(file, 36))
}

// chunkView is the cache as one snapshot sees it.
type chunkView struct {
	c      *chunkCache
	name   string
	head   history.Head
	chunks map[uint32]cachedChunk // by their first page
}

// at returns what there is for a database's revision, after forgetting what has
// changed since it was made.
func (c *chunkCache) at(ctx context.Context, store history.Store, name string, head history.Head) *chunkView {
	v := &chunkView{c: c, name: name, head: head, chunks: map[uint32]cachedChunk{}}
	c.mu.Lock()
	var was history.Head
	s := c.dbs[name]
	if s != nil {
		was = s.head
	}
	c.mu.Unlock()
	var changed []uint32
	if s != nil && !was.Is(head) {
		if was.Seq >= head.Seq {
			return v
		}
		var ok bool
		if changed, ok = changedSince(ctx, store, name, was, head); !ok {
			c.drop(name)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s = c.dbs[name]
	if s == nil {
		s = &cachedSnapshot{name: name, head: head, chunks: map[uint32]cachedChunk{}}
		s.elem = c.lru.PushFront(s)
		c.dbs[name] = s
	}
	c.lru.MoveToFront(s.elem)
	switch {
	case s.head.Is(head):
	case s.head.Is(was):
		c.advance(s, head, changed)
	default:
		return v // somebody else was quicker
	}
	for first, k := range s.chunks {
		v.chunks[first] = k
	}
	return v
}

// changedSince returns the pages that changed between two revisions. It reports
// false if one doesn't follow from the other.
func changedSince(ctx context.Context, store history.Store, name string, was, head history.Head) ([]uint32, bool) {
	id := history.DBID(name)
	then, err := store.At(ctx, id, was.Seq)
	if err != nil || !then.Is(was) {
		return nil, false
	}
	pages, err := store.ChangedPages(ctx, id, was.Seq, head.Seq)
	return pages, err == nil
}

// advance takes a snapshot's chunks to a later revision. The mutex is held.
func (c *chunkCache) advance(s *cachedSnapshot, head history.Head, changed []uint32) {
	for _, no := range changed {
		c.forget(s, no-(no-1)%wire.ChunkPages)
	}
	for first, k := range s.chunks {
		if k.pages != chunkPages(first, head.DBSize) {
			c.forget(s, first)
		}
	}
	s.head = head
}

// chunkPages returns how many pages the chunk has that begins with a page.
func chunkPages(first, size uint32) uint32 {
	if first > size {
		return 0
	}
	return min(wire.ChunkPages, size-first+1)
}

// forget deletes a chunk. The mutex is held.
func (c *chunkCache) forget(s *cachedSnapshot, first uint32) {
	if k, ok := s.chunks[first]; ok {
		delete(s.chunks, first)
		c.size -= k.size
		_ = os.Remove(c.path(k.file)) // the next start empties the cache
	}
}

// drop deletes what is kept of a database.
func (c *chunkCache) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.dbs[name]; s != nil {
		c.dropped(s)
	}
}

func (c *chunkCache) dropped(s *cachedSnapshot) {
	for first := range s.chunks {
		c.forget(s, first)
	}
	c.lru.Remove(s.elem)
	delete(c.dbs, s.name)
}

// has reports whether a chunk is there; get may still find it gone.
func (v *chunkView) has(first uint32) bool { _, ok := v.chunks[first]; return ok }

// get reads a chunk into buf; it reports false if it isn't there, or damaged.
func (v *chunkView) get(first uint32, buf []byte) (msg []byte, ok bool) {
	k, ok := v.chunks[first]
	if !ok {
		return buf, false
	}
	f, err := os.Open(v.c.path(k.file))
	if err != nil {
		return buf, false
	}
	defer func() { _ = f.Close() }()
	buf = slices.Grow(buf, int(k.size))[:k.size]
	if _, err := io.ReadFull(f, buf); err != nil || !v.c.intact(buf) {
		return buf, false
	}
	return buf, true
}

// find reads a chunk into buf like get, also if it came after the view.
func (v *chunkView) find(first uint32, buf []byte) (msg []byte, ok bool) {
	v.c.mu.Lock()
	if s := v.c.dbs[v.name]; s != nil && s.head.Is(v.head) {
		if k, ok := s.chunks[first]; ok {
			v.chunks[first] = k
		}
	}
	v.c.mu.Unlock()
	return v.get(first, buf)
}

// put keeps a chunk, if there is room.
func (v *chunkView) put(first uint32, msg []byte) {
	c, size := v.c, int64(len(msg))
	file, ok := v.room(size)
	if !ok {
		return
	}
	if os.WriteFile(c.path(file), msg, 0o600) != nil {
		_ = os.Remove(c.path(file)) // what there is of it
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.dbs[v.name]
	if s == nil || !s.head.Is(v.head) || c.size+size > c.max {
		_ = os.Remove(c.path(file))
		return
	}
	c.forget(s, first)
	s.chunks[first] = cachedChunk{pages: chunkPages(first, v.head.DBSize), size: size, file: file}
	c.size += size
}

// room makes room for a chunk, by deleting those of the databases that were not
// asked for for longest. There is none for what nobody will ask for again.
func (v *chunkView) room(size int64) (file uint64, ok bool) {
	c := v.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.dbs[v.name]; s == nil || !s.head.Is(v.head) {
		return 0, false
	}
	for c.size+size > c.max {
		s, _ := c.lru.Back().Value.(*cachedSnapshot)
		if s == nil || s.name == v.name {
			return 0, false
		}
		c.dropped(s)
	}
	c.last++
	return c.last, true
}
