package sqlite_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// newConn opens an empty database file that is closed when the test ends.
func newConn(t testing.TB, script ...string) *sqlite.Conn {
	t.Helper()
	return openPath(t, filepath.Join(t.TempDir(), "test.db"), sqlite.Options{}, script...)
}

func openPath(t testing.TB, path string, o sqlite.Options, script ...string) *sqlite.Conn {
	t.Helper()
	c, err := sqlite.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, s := range script {
		exec(t, c, s)
	}
	return c
}

func exec(t testing.TB, c *sqlite.Conn, script string) {
	t.Helper()
	if err := c.Exec(script); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

func queryInt(t testing.TB, c *sqlite.Conn, sql string, args ...sqlite.Value) int64 {
	t.Helper()
	n, err := c.QueryInt(sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func queryText(t testing.TB, c *sqlite.Conn, sql string, args ...sqlite.Value) string {
	t.Helper()
	s, err := c.QueryText(sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}

func cached(t testing.TB, c *sqlite.Conn, sql string) *sqlite.Stmt {
	t.Helper()
	s, err := c.Cached(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}

// step wants a row.
func step(t testing.TB, s *sqlite.Stmt) {
	t.Helper()
	row, err := s.Step()
	if err != nil {
		t.Fatal(err)
	}
	if !row {
		t.Fatalf("%v: no row", s)
	}
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if err == nil || sqlite.CodeName(sqlite.Code(err)) != code {
		t.Fatalf("error is %v, want %s", err, code)
	}
}

func wantIs(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error is %v, want %v", err, target)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
