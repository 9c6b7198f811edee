package tenant

import (
	"os"

	"github.com/agentdb/agentdb/internal/history"
)

// coldFiles remembers which cached files were closed in order by this process,
// and at which revision: they equal it, and need no rebuilding. The Manager's
// mutex guards it.
type coldFiles struct {
	max   int
	heads map[string]history.Head
	order []string // oldest first; may hold names that are gone
}

func newColdFiles(limit int) *coldFiles {
	return &coldFiles{max: limit, heads: map[string]history.Head{}}
}

// put remembers a file, and deletes the oldest ones above the limit.
func (c *coldFiles) put(name string, head history.Head, path func(string) string) {
	c.heads[name] = head
	c.order = append(c.order, name)
	for len(c.heads) > c.max && len(c.order) > 0 {
		old := c.order[0]
		c.order = c.order[1:]
		if old != name {
			c.drop(old, path(old))
		}
	}
	if len(c.order) > 4*c.max {
		c.compact()
	}
}

func (c *coldFiles) compact() {
	seen := map[string]bool{}
	var order []string
	for _, n := range c.order {
		if _, ok := c.heads[n]; ok && !seen[n] {
			seen[n] = true
			order = append(order, n)
		}
	}
	c.order = order
}

// take forgets a file and returns its revision.
func (c *coldFiles) take(name string) (history.Head, bool) {
	h, ok := c.heads[name]
	delete(c.heads, name)
	return h, ok
}

// drop deletes a file that is not open.
func (c *coldFiles) drop(name, path string) {
	if _, ok := c.heads[name]; !ok {
		return
	}
	delete(c.heads, name)
	removeFiles(path)
}

// removeFiles deletes a database file that nobody has open, with its WAL. What
// can't be deleted is overwritten when it is rebuilt.
func removeFiles(path string) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(path + suffix)
	}
}
