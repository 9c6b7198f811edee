package sqlite_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// TestReadOnlyMedium opens a WAL database that the process may not write, in a
// directory it may not write. Root may write everything, so the test takes
// another identity for file access on a thread of its own.
func TestReadOnlyMedium(t *testing.T) {
	dir, err := os.MkdirTemp("", "readonly")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "odd name?#%41.db")
	w, err := sqlite.Open(path, sqlite.Options{})
	must(t, err)
	must(t, w.Exec("CREATE TABLE t(a); INSERT INTO t VALUES(7)"))
	must(t, w.Close())
	must(t, os.Chmod(path, 0o444))
	must(t, os.Chmod(dir, 0o555))
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	asNobody(func() {
		if _, err := sqlite.Open(path, sqlite.Options{}); err == nil {
			t.Error("opened for writing")
		}
		c, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if n, err := c.QueryInt("SELECT a FROM t"); n != 7 || err != nil {
			t.Error(n, err)
		}
		if err := c.Exec("INSERT INTO t VALUES(1)"); !sqlite.IsReadOnly(err) {
			t.Error(err)
		}
		if _, err := sqlite.Open(filepath.Join(dir, "none.db"), sqlite.Options{ReadOnly: true}); err == nil {
			t.Error("opened a file that does not exist")
		}
	})
}

// asNobody runs f on a thread that is thrown away afterwards, because it has
// given up root's access to files.
func asNobody(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread()
			if err := syscall.Setfsuid(65534); err != nil {
				panic(err)
			}
		}
		f()
	}()
	<-done
}
