package sqlite_test

import (
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
)

func TestRandomblob(t *testing.T) {
	c := newConn(t)
	for arg, want := range map[string]int64{"16": 16, "0": 1, "-5": 1, "NULL": 1, "'8'": 8, "3.9": 3, "'x'": 1, "1000000": 1000000} {
		if n, err := c.QueryInt("SELECT length(randomblob(" + arg + ")) * (typeof(randomblob(" + arg + ")) = 'blob')"); err != nil || n != want {
			t.Errorf("randomblob(%s) has %d bytes, %v", arg, n, err)
		}
	}
	if n, err := c.QueryInt("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r WHERE n < 100) SELECT count(DISTINCT randomblob(16)) FROM r"); err != nil || n != 100 {
		t.Errorf("%d different of 100, %v", n, err)
	}
	c.Limit(sqlite.LimitLength, 1000)
	if err := c.Exec("SELECT randomblob(1001)"); err == nil || !strings.Contains(err.Error(), "too big") {
		t.Errorf("one above the limit: %v", err)
	}
	must(t, c.DBConfig(sqlite.ConfigTrustedSchema, false))
	must(t, c.Exec("CREATE TABLE t (id TEXT DEFAULT (hex(randomblob(16))), x CHECK (length(randomblob(2)) = 2)); INSERT INTO t (x) VALUES (1)"))
	if n, err := c.QueryInt("SELECT length(id) FROM t"); err != nil || n != 32 {
		t.Errorf("a default of %d characters, %v", n, err)
	}
}

// TestRandomblobAlone: who makes many random bytes keeps nobody from making a few.
func TestRandomblobAlone(t *testing.T) {
	c := newConn(t)
	done := make(chan error)
	go func() {
		many, err := sqlite.Open(":memory:", sqlite.Options{})
		for i := 0; i < 4 && err == nil; i++ {
			err = many.Exec("SELECT length(randomblob(100000000))")
		}
		if many != nil {
			many.Close()
		}
		done <- err
	}()
	var slowest time.Duration
	for {
		start := time.Now()
		must(t, c.Exec("SELECT random()"))
		slowest = max(slowest, time.Since(start))
		select {
		case err := <-done:
			must(t, err)
			if slowest > time.Second {
				t.Errorf("random() took %v", slowest)
			}
			return
		default:
		}
	}
}
