package turso

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// remains leaves secrets behind in pages of tables and of indexes, and has rows
// on overflow pages whose bytes are like those pages' headers.
const remains = `PRAGMA secure_delete=OFF;
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX i ON t(substr(v,-8), v);
CREATE TABLE w(k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID;
CREATE TABLE big(id INTEGER PRIMARY KEY, b BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<9000)
  INSERT INTO t SELECT i, CASE WHEN i%7=0 THEN 'a secret ' ELSE 'public ' END||hex(randomblob(20)) FROM n;
INSERT INTO w SELECT substr(v,-8)||v, 'x' FROM t;
INSERT INTO big SELECT i, CAST(replace(hex(zeroblob(20000)), '00', unhex('0D0000'||'000' || i)) AS BLOB) FROM (SELECT 1 AS i UNION SELECT 2);
DELETE FROM t WHERE v LIKE 'a secret%' OR id IN (10,20,30);
DELETE FROM w WHERE k LIKE '%a secret%';`

// content returns everything in a file, or what is wrong with it.
func content(t *testing.T, file []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out string
	for _, sql := range []string{
		"PRAGMA integrity_check",
		"SELECT group_concat(id||v) FROM (SELECT * FROM t ORDER BY id)",
		"SELECT group_concat(v) FROM (SELECT v FROM t ORDER BY substr(v,-8))",
		"SELECT group_concat(k||v) FROM w",
		"SELECT group_concat(id||hex(b)) FROM big",
	} {
		text, err := c.QueryText(sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		out += fmt.Sprintf("%.60s %x\n", text, sha256.Sum256([]byte(text)))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// freePages returns the numbers of the pages in a file's freelist, see
// https://www.sqlite.org/fileformat2.html#the_freelist. They are as they were when
// they were last used.
func freePages(file []byte) map[uint32]bool {
	free := map[uint32]bool{}
	for trunk := binary.BigEndian.Uint32(file[32:]); trunk != 0; {
		free[trunk] = true
		page := file[(trunk-1)*PageSize:]
		for i := range binary.BigEndian.Uint32(page[4:]) {
			free[binary.BigEndian.Uint32(page[8+4*i:])] = true
		}
		trunk = binary.BigEndian.Uint32(page)
	}
	return free
}

func TestClearUnused(t *testing.T) {
	m := file(t, remains)
	var before []byte
	for no := uint32(1); ; no++ {
		p, err := m.Page(no)
		if errors.Is(err, ErrCorrupt) {
			break
		}
		before = append(before, p...)
	}
	after := bytes.Clone(before)
	size := uint32(len(after) / PageSize)
	secret := []byte("a secret ")
	cleared, free := 0, freePages(before)
	for no := range size {
		page := after[no*PageSize : (no+1)*PageSize]
		n := bytes.Count(page, secret)
		ClearUnused(page, no+1, size)
		if left := bytes.Count(page, secret); left > 0 && !free[no+1] {
			t.Errorf("page %d, of kind %d: %d secrets remain, of %d", no+1, page[0], left, n)
		}
		cleared += n
	}
	if cleared < 100 {
		t.Fatal("the test has nothing to clear")
	}
	if got, want := content(t, after), content(t, before); got != want || got[:2] != "ok" {
		t.Errorf("the database is\n%swas\n%s", got, want)
	}
}

func FuzzClearUnused(f *testing.F) {
	f.Add(EmptyPage(), uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, no uint32) {
		page := append(b, make([]byte, PageSize)...)[:PageSize]
		ClearUnused(page, no, 10)
		again := bytes.Clone(page)
		if ClearUnused(again, no, 10); !bytes.Equal(page, again) {
			t.Error("a second time changes more")
		}
	})
}
