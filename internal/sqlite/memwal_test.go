package sqlite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func openMemWAL(t *testing.T, path string) *Conn {
	t.Helper()
	c, err := Open(path, Options{Synchronous: "OFF", NoCheckpoint: true, Exclusive: true, MemoryWAL: true, CacheKB: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestMemoryWAL writes little and much: the WAL is there to be read, in memory
// and, beyond what is kept there, in the file; after a checkpoint it is gone.
func TestMemoryWAL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	c := openMemWAL(t, path)
	frames := 0
	c.WALHook(func(n int) { frames = n })
	run := func(sql string) {
		t.Helper()
		if err := c.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	run("CREATE TABLE t(x INTEGER PRIMARY KEY, y BLOB); INSERT INTO t VALUES(1, 'needle')")
	wal := make([]byte, 32+frames*(24+4096))
	if err := c.ReadWAL(wal, 0); err != nil {
		t.Fatal(err)
	}
	if magic := binary.BigEndian.Uint32(wal); magic&^1 != 0x377f0682 || !bytes.Contains(wal, []byte("needle")) {
		t.Errorf("no WAL: magic %x", magic)
	}
	if err := c.ReadWAL(make([]byte, 1), int64(len(wal))); err == nil {
		t.Error("read beyond the end")
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a small WAL is on disk: %v", err)
	}
	run("BEGIN; WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n WHERE i<3000) INSERT INTO t SELECT i, randomblob(3000) FROM n")
	if info, err := os.Stat(path + "-wal"); err != nil || info.Size() < 1<<20 {
		t.Errorf("a large WAL is not on disk: %v", err)
	}
	run("ROLLBACK; WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n WHERE i<3000) INSERT INTO t SELECT i, randomblob(3000) FROM n")
	sum, err := c.QueryText("SELECT count(*) || ' ' || sum(length(y)) || ' ' || (SELECT hex(substr(y,1,8)) FROM t WHERE x=2999) FROM t")
	if err != nil {
		t.Fatal(err)
	}
	last := make([]byte, 24+4096)
	if err := c.ReadWAL(last, 32+int64(frames-1)*int64(len(last))); err != nil || binary.BigEndian.Uint32(last[4:]) == 0 {
		t.Errorf("the last frame is no commit: %v", err)
	}
	if _, _, err := c.Checkpoint(CheckpointTruncate); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadWAL(make([]byte, 1), 0); err == nil {
		t.Error("the WAL is there after a checkpoint")
	}
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the WAL is on disk after a checkpoint: %v", err)
	}
	run("INSERT INTO t VALUES(9999, 'one more')")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c, err = Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.QueryText("SELECT count(*) || ' ' || sum(length(y)) || ' ' || (SELECT hex(substr(y,1,8)) FROM t WHERE x=2999) FROM t WHERE x<9999")
	if err != nil || got != sum {
		t.Errorf("after Close: %q, %v, want %q", got, err, sum)
	}
	if ok, err := c.QueryText("PRAGMA integrity_check"); err != nil || ok != "ok" {
		t.Errorf("integrity: %s, %v", ok, err)
	}
	if n, err := c.QueryInt("SELECT count(*) FROM t WHERE x=9999"); err != nil || n != 1 {
		t.Errorf("the row that Close checkpoints: %d, %v", n, err)
	}
	if err := c.ReadWAL(make([]byte, 1), 0); err == nil {
		t.Error("a WAL on disk was read")
	}
}
