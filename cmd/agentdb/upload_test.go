package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// TestUploadHasTheWAL: a file that is uploaded while somebody has it open, or that
// a crash has left, has what is in its WAL.
func TestUploadHasTheWAL(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	path := filepath.Join(dir, "live.db")
	live, err := sqlite.Open(path, sqlite.Options{NoCheckpoint: true})
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	for _, q := range []string{"CREATE TABLE t(x); INSERT INTO t VALUES (1)", "PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO t VALUES (2)", "BEGIN; INSERT INTO t VALUES (3)"} {
		if err := live.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	c := &console{err: io.Discard}
	f, err := c.openDatabase(path)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := io.ReadAll(f)
	if err != nil || f.Len() != 0 {
		t.Fatal(err, f.Len())
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
	got := filepath.Join(dir, "sent.db")
	if err := os.WriteFile(got, sent, 0o600); err != nil {
		t.Fatal(err)
	}
	there, err := sqlite.Open(got, sqlite.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if n, err := there.QueryInt("SELECT sum(x) FROM t"); err != nil || n != 3 {
		t.Errorf("the sum of the rows 1 and 2 is %d, %v", n, err)
	}
}
