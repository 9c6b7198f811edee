package sqlite_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// newFile returns a database of one row, with nothing in its WAL, its file and
// how long that is.
func newFile(t *testing.T) (*sqlite.Conn, *sqlite.File, int64) {
	t.Helper()
	c := newConn(t, "CREATE TABLE t(v); INSERT INTO t VALUES(1)")
	if _, _, err := c.Checkpoint(sqlite.CheckpointTruncate); err != nil {
		t.Fatal(err)
	}
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	return c, f, size
}

// TestFileBeyondTheEnd writes behind a database's end, which changes nothing
// for SQLite, and takes it back.
func TestFileBeyondTheEnd(t *testing.T) {
	c, f, size := newFile(t)
	if size != queryInt(t, c, "PRAGMA page_count")*4096 {
		t.Fatalf("the file has %d bytes", size)
	}
	big := bytes.Repeat([]byte("behind"), 100_000)
	if n, err := f.WriteAt(big, size); n != len(big) || err != nil {
		t.Fatal(n, err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Size(); n != size+int64(len(big)) || err != nil {
		t.Fatalf("the file has %d bytes, %v", n, err)
	}
	exec(t, c, "INSERT INTO t VALUES(2)")
	if got := queryText(t, c, "PRAGMA integrity_check"); got != "ok" {
		t.Error(got)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if n := queryInt(t, c, "SELECT sum(v) FROM t"); n != 3 {
		t.Errorf("the sum is %d", n)
	}
}

// TestFileReserve: room that was found for a file shows neither in its size nor
// in its content.
func TestFileReserve(t *testing.T) {
	c, f, size := newFile(t)
	f.Reserve(size, size+4<<20)
	f.Reserve(size, size)
	if n, err := f.Size(); n != size || err != nil {
		t.Fatalf("the file had %d bytes and has %d, %v", size, n, err)
	}
	last := size + 3<<20
	if n, err := f.WriteAt([]byte("last"), last); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	f.StartSync()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	path := queryText(t, c, "SELECT file FROM pragma_database_list")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) != last+4 || string(b[last:]) != "last" || bytes.Count(b[size:last], []byte{0}) != 3<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestFileAfterClose(t *testing.T) {
	d := newConn(t)
	f, err := d.File()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, sizeErr := f.Size()
	_, writeErr := f.WriteAt([]byte("x"), 0)
	_, openErr := d.File()
	f.Reserve(0, 1<<20) // the descriptor may be another file's
	if f.StartSync() {
		t.Error("a closed file is written to the disk")
	}
	for _, err := range []error{sizeErr, writeErr, openErr, f.Truncate(0), f.Sync()} {
		if !errors.Is(err, sqlite.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}
