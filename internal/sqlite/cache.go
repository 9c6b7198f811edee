package sqlite

import "strings"

// cacheSize bounds the statements a connection keeps prepared.
const cacheSize = 128

// cacheEntry is the cache's part of a statement.
type cacheEntry struct {
	cached bool
	index  int    // in stmtCache.list
	used   uint64 // tick of the last use
}

// stmtCache keeps statements by their text. When full it gives up the one that
// has been idle for longest.
type stmtCache struct {
	byText map[string]*Stmt
	list   []*Stmt
	tick   uint64
}

func (k *stmtCache) add(s *Stmt) {
	if k.byText == nil {
		k.byText = make(map[string]*Stmt)
	}
	if len(k.list) >= cacheSize {
		old := k.oldest()
		if old == nil {
			return
		}
		old.close()
	}
	k.tick++
	s.entry = cacheEntry{cached: true, index: len(k.list), used: k.tick}
	k.list = append(k.list, s)
	k.byText[s.text] = s
}

func (k *stmtCache) oldest() *Stmt {
	var old *Stmt
	for _, s := range k.list {
		if s.state == stateIdle && (old == nil || s.entry.used < old.entry.used) {
			old = s
		}
	}
	return old
}

func (k *stmtCache) drop(s *Stmt) {
	last := len(k.list) - 1
	k.list[s.entry.index] = k.list[last]
	k.list[s.entry.index].entry.index = s.entry.index
	k.list[last] = nil
	k.list = k.list[:last]
	delete(k.byText, s.text)
	s.entry = cacheEntry{}
}

// DropCached gives up the statements in the cache that nobody uses, so that what
// they tell of themselves is not that of an older schema.
func (c *Conn) DropCached() {
	for {
		s := c.cache.oldest()
		if s == nil {
			return
		}
		s.close()
	}
}

// Cached returns the statement with that text from the cache, or prepares it.
// The caller owns it until Done. The text must hold exactly one statement.
func (c *Conn) Cached(sql string) (*Stmt, error) {
	if s := c.cache.byText[sql]; s != nil && s.state == stateIdle {
		c.cache.tick++
		s.entry.used = c.cache.tick
		s.state = stateReady
		return s, nil
	}
	s, tail, err := c.Prepare(sql)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, misuse("no statement in SQL text")
	}
	if strings.TrimSpace(tail) != "" {
		next, _, err := c.prepare(tail, 0)
		if next != nil {
			next.Finalize()
			err = misuse("more than one statement in SQL text")
		}
		if err != nil {
			s.Finalize()
			return nil, err
		}
	}
	s.text = sql
	if c.cache.byText[sql] == nil { // else that one is in use; this one is extra
		c.cache.add(s)
	}
	return s, nil
}
