package tenant

import (
	"os"
	"time"

	"github.com/agentdb/agentdb/internal/history"
)

// coldFiles remembers which cached files were closed in order by this process,
// and at which revision: they equal it, and need no rebuilding. The Manager's
// mutex guards it.
type coldFiles struct {
	max   int
	files map[string]coldFile
	order []coldName // oldest first; may hold some that are gone
}

// coldFile is a file that is as the history was at head.
type coldFile struct {
	head history.Head
	at   time.Time // when it was closed
}

type coldName struct {
	name string
	at   time.Time
}

// Files of databases that nobody uses are deleted after a time, unless they
// are large: a small one is rebuilt in milliseconds.
const (
	coldTime  = 3 * time.Minute
	coldPages = 16 << 20 / history.PageSize
	coldDrops = 100 // at a time: the mutex is held
)

func newColdFiles(limit int) *coldFiles {
	return &coldFiles{max: limit, files: map[string]coldFile{}}
}

// put remembers a file, and deletes the oldest ones above the limit.
func (c *coldFiles) put(name string, head history.Head, now time.Time, path func(string) string) {
	c.files[name] = coldFile{head, now}
	c.order = append(c.order, coldName{name, now})
	for len(c.files) > c.max {
		old := c.oldest()
		c.drop(old.name, path(old.name))
	}
}

// oldest returns the file that was closed first. There is one.
func (c *coldFiles) oldest() coldName {
	for {
		old := c.order[0]
		if f, ok := c.files[old.name]; ok && f.at.Equal(old.at) {
			return old
		}
		c.order = c.order[1:] // it is gone, or was closed again
	}
}

// expire deletes some of the small files that were closed before a time.
func (c *coldFiles) expire(before, now time.Time, path func(string) string) {
	for range coldDrops {
		if len(c.files) == 0 {
			c.order = nil
			return
		}
		old := c.oldest()
		if !old.at.Before(before) {
			return
		}
		if f := c.files[old.name]; f.head.DBSize > coldPages {
			c.put(old.name, f.head, now, path) // looked at again later
			continue
		}
		c.drop(old.name, path(old.name))
	}
}

// take forgets a file and returns its revision.
func (c *coldFiles) take(name string) (history.Head, bool) {
	f, ok := c.files[name]
	delete(c.files, name)
	return f.head, ok
}

// drop deletes a file that is not open.
func (c *coldFiles) drop(name, path string) {
	if _, ok := c.files[name]; !ok {
		return
	}
	delete(c.files, name)
	removeFiles(path)
}

// removeFiles deletes a database file that nobody has open, with its WAL. What
// can't be deleted is overwritten when it is rebuilt.
func removeFiles(path string) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(path + suffix)
	}
}
