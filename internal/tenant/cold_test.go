package tenant

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/history"
)

// TestColdFiles closes files, some of them again and again: the limit takes
// those that were closed first, time takes those that are small.
func TestColdFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	there := func(name string) bool {
		_, err := os.Stat(path(name))
		return err == nil
	}
	c := newColdFiles(3)
	start := time.Now()
	put := func(name string, pages uint32, after time.Duration) {
		t.Helper()
		if err := os.WriteFile(path(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		c.put(name, history.Head{Seq: 7, DBSize: pages}, start.Add(after), path)
	}
	put("a", 1, 0)
	put("b", 1, 1)
	put("large", coldPages+1, 2)
	if _, ok := c.take("a"); !ok {
		t.Fatal("a file is not known")
	}
	put("a", 1, 3)
	put("c", 1, 4)
	if there("b") || !there("a") || !there("large") || !there("c") {
		t.Error("the limit has not taken the file that was closed first")
	}
	if _, ok := c.take("b"); ok {
		t.Error("a file that is gone is known")
	}
	now := start.Add(time.Hour)
	c.expire(start.Add(4), now, path)
	if there("a") || !there("c") || !there("large") {
		t.Error("time has taken other files than the small ones")
	}
	c.expire(now, now, path)
	if there("c") || !there("large") || len(c.files) != 1 {
		t.Error("time has taken other files than the small ones, later")
	}
	for i := range 10 {
		put(fmt.Sprint(i), 1, time.Hour+time.Duration(i))
	}
	if there("large") || len(c.files) != 3 {
		t.Errorf("%d files are kept above the limit of 3", len(c.files))
	}
}
