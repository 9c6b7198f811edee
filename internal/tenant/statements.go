package tenant

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

// Bounds of what is kept of statements.
const (
	maxStatements = 40 // of a database
	maxRaw        = 4 * maxStatements
	maxCounted    = 512 // databases
)

// Statement is what statements of one shape have cost a database.
type Statement struct {
	SQL                         string // see shape
	Runs, RowsRead, RowsWritten uint64
}

// rows is the statement's rank.
func (s *Statement) rows() uint64 { return s.RowsRead + s.RowsWritten }

// statements are the statements of a database that read and wrote most rows.
type statements struct {
	seed maphash.Seed

	mu     sync.Mutex // guards what follows
	used   time.Time
	shapes map[string]*Statement
	raw    map[uint64]*Statement // by the hash of a text: saves finding its shape
}

// add counts a statement that has run. Of more shapes than are kept, the one with
// the fewest rows is forgotten.
func (t *statements) add(sql string, now time.Time, u Usage) {
	if u.RowsRead == 0 && u.RowsWritten == 0 {
		return
	}
	h := maphash.String(t.seed, sql)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used = now
	s := t.raw[h]
	if s == nil {
		s = t.shape(h, shape(sql))
	}
	s.Runs++
	s.RowsRead += u.RowsRead
	s.RowsWritten += u.RowsWritten
}

// shape returns the statement of a shape, and remembers it for a text.
func (t *statements) shape(h uint64, sql string) *Statement {
	s := t.shapes[sql]
	if s == nil {
		if len(t.shapes) == maxStatements {
			t.forget()
		}
		s = &Statement{SQL: sql}
		t.shapes[sql] = s
	}
	if len(t.raw) == maxRaw {
		clear(t.raw)
	}
	t.raw[h] = s
	return s
}

// forget drops the statement with the fewest rows.
func (t *statements) forget() {
	var least *Statement
	for _, s := range t.shapes {
		if least == nil || s.rows() < least.rows() {
			least = s
		}
	}
	delete(t.shapes, least.SQL)
	for h, s := range t.raw {
		if s == least {
			delete(t.raw, h)
		}
	}
}

// count ends a statement that only read, and counts it.
func (d *database) count(w *watch, err error) error {
	err = w.end(err)
	d.counted.add(w.st.SQL(), w.since, Usage{RowsRead: w.read})
	return err
}

// counted are the statements of the databases that ran some last.
type counted struct {
	seed maphash.Seed

	mu  sync.Mutex
	dbs map[string]*statements // guarded by mu
}

// of returns the statements of a database that is being opened.
func (c *counted) of(name string) *statements {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.dbs[name]
	if t == nil {
		if len(c.dbs) >= maxCounted {
			c.forget()
		}
		t = &statements{seed: c.seed, used: time.Now(), shapes: map[string]*Statement{}, raw: map[uint64]*Statement{}}
		c.dbs[name] = t
	}
	return t
}

// forget drops the statements of the database that ran none for longest.
func (c *counted) forget() {
	var oldest string
	var since time.Time
	for name, t := range c.dbs {
		t.mu.Lock()
		used := t.used
		t.mu.Unlock()
		if oldest == "" || used.Before(since) {
			oldest, since = name, used
		}
	}
	delete(c.dbs, oldest)
}

// drop forgets a database that is deleted: the next one of its name is another.
func (c *counted) drop(name string) {
	c.mu.Lock()
	delete(c.dbs, name)
	c.mu.Unlock()
}

// TopStatements returns the up to n statements that read and wrote most rows of a
// database, the most first, since the server's start. It may have forgotten some,
// if there were many, or many databases.
func (m *Manager) TopStatements(name string, n int) []Statement {
	m.counted.mu.Lock()
	t := m.counted.dbs[name]
	m.counted.mu.Unlock()
	if t == nil {
		return nil
	}
	t.mu.Lock()
	var all []Statement
	for _, s := range t.shapes {
		all = append(all, *s)
	}
	t.mu.Unlock()
	slices.SortFunc(all, func(a, b Statement) int { return cmp.Or(cmp.Compare(b.rows(), a.rows()), cmp.Compare(a.SQL, b.SQL)) })
	return all[:min(n, len(all))]
}
