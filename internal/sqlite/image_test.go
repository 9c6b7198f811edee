package sqlite_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

func TestImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Exec("CREATE TABLE t(id INTEGER PRIMARY KEY, x); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 5000) INSERT INTO t SELECT n, randomblob(100) FROM c")
	if err := errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint32]bool{}
	img := &sqlite.Image{Pages: uint32(len(file) / 4096), Read: func(no uint32) ([]byte, error) {
		seen[no] = true
		return file[4096*(no-1):][:4096], nil
	}}
	conn, err := sqlite.OpenImage(img, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.QueryInt("SELECT length(x) FROM t WHERE id = 3000"); n != 100 || err != nil || len(seen) > 5 || !seen[1] {
		t.Errorf("%d, %v, after %d pages", n, err, len(seen))
	}
	if err := conn.Exec("DELETE FROM t"); !sqlite.IsReadOnly(err) {
		t.Errorf("a write: %v", err)
	}
	if n, err := conn.QueryInt("SELECT count(*) FROM (SELECT x FROM t ORDER BY x)"); n != 5000 || err != nil || len(seen) != int(img.Pages) {
		t.Errorf("%d, %v, after %d pages of %d", n, err, len(seen), img.Pages)
	}
}

func TestImageThatFails(t *testing.T) {
	broken := errors.New("broken")
	if c, err := sqlite.OpenImage(&sqlite.Image{Pages: 1, Read: func(uint32) ([]byte, error) { return nil, broken }}, sqlite.Options{}); err == nil {
		t.Error("it opened", c.Close())
	}
	img := &sqlite.Image{Pages: 1, Read: func(uint32) ([]byte, error) { panic("oops") }}
	if _, err := sqlite.OpenImage(img, sqlite.Options{}); err == nil || !errors.Is(img.Err, sqlite.ErrPanic) {
		t.Errorf("%v, %v", err, img.Err)
	}
	if c, err := sqlite.Open("1", sqlite.Options{NoCreate: true}); err == nil {
		t.Error("a file of that name", c.Close())
	}
}

// TestImageIsWritten: what is committed goes to Write, what is rolled back does not.
func TestImageIsWritten(t *testing.T) {
	for _, vacuum := range []string{"NONE", "FULL"} {
		path := filepath.Join(t.TempDir(), "x.db")
		c, err := sqlite.Open(path, sqlite.Options{NoWAL: true})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Exec("PRAGMA auto_vacuum=" + vacuum + "; CREATE TABLE gone(x); CREATE TABLE t(id INTEGER PRIMARY KEY, x); INSERT INTO gone VALUES('a secret');" +
			"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 2000) INSERT INTO t SELECT n, randomblob(100) FROM c")
		if err := errors.Join(err, c.Close()); err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		writes := 0
		img := &sqlite.Image{
			Pages: uint32(len(file) / 4096),
			Read:  func(no uint32) ([]byte, error) { return file[4096*(no-1):][:4096], nil },
			Write: func(no uint32, page []byte) { writes += copy(file[4096*(no-1):], page) / 4096 },
		}
		conn, err := sqlite.OpenImage(img, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = conn.Exec("PRAGMA journal_mode=MEMORY; PRAGMA secure_delete=ON; BEGIN; DELETE FROM t; ROLLBACK")
		if err != nil || writes > 0 {
			t.Errorf("%d pages were written by what was rolled back: %v", writes, err)
		}
		if err := errors.Join(conn.Exec("DROP TABLE gone"), conn.Close()); err != nil || writes == 0 || writes > 8 {
			t.Errorf("%d pages were written: %v", writes, err)
		}
		file = file[:img.Pages*4096]
		if err := os.WriteFile(path, file, 0o600); err != nil || bytes.Contains(file, []byte("secret")) {
			t.Errorf("it still has what was dropped: %v", err)
		}
		if c, err = sqlite.Open(path, sqlite.Options{}); err != nil {
			t.Fatal(err)
		}
		if ok, err := c.QueryText("PRAGMA integrity_check"); ok != "ok" || err != nil {
			t.Errorf("%s, %v", ok, err)
		}
		if ok, err := c.QueryText("SELECT (SELECT group_concat(name) FROM sqlite_schema)||' '||count(x) FROM t"); ok != "t 2000" || err != nil {
			t.Errorf("%s, %v", ok, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
