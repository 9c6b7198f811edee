package tenant_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/tenant"
)

// TestLoadHostile: a script that wants more than a database gets nothing, and
// the errors say nothing of where the server keeps its files.
func TestLoadHostile(t *testing.T) {
	m := newManager(t, tenant.Config{MaxLoad: 1 << 20, LoadTimeout: 2 * time.Second, Limit: func(name string) int64 {
		if name == "small" {
			return 8192
		}
		return 0
	}})
	dir := t.TempDir()
	const grow = "CREATE TABLE t(x); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) INSERT INTO t SELECT zeroblob(100000) FROM c LIMIT "
	for what, c := range map[string]struct {
		db, script string
		want       error
	}{
		"attach":           {"a", "ATTACH '" + dir + "/x.db' AS x", tenant.ErrNotADatabase},
		"vacuum into":      {"a", "CREATE TABLE t(x); VACUUM INTO '" + dir + "/x.db'", tenant.ErrNotADatabase},
		"limit":            {"a", "PRAGMA max_page_count=1000000; SELECT 1", tenant.ErrNotADatabase},
		"page size":        {"a", "PRAGMA page_size=65536; " + grow + "100", tenant.ErrNotADatabase},
		"temporary":        {"a", "CREATE TEMP TABLE t(x)", tenant.ErrNotADatabase},
		"temporary too":    {"a", "CREATE TABLE temp.t(x)", tenant.ErrNotADatabase},
		"temp directory":   {"a", "PRAGMA temp_store_directory='" + dir + "'", tenant.ErrNotADatabase},
		"schema":           {"a", "PRAGMA writable_schema=ON; CREATE TABLE t(x); UPDATE sqlite_schema SET sql='x'", tenant.ErrNotADatabase},
		"much":             {"a", grow + "100", tenant.ErrQuota},
		"more than it may": {"small", grow + "1", tenant.ErrQuota},
		"for ever":         {"a", "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT count(*) FROM c", tenant.ErrTimeout},
		"a large value":    {"a", "SELECT length(zeroblob(300000000))", tenant.ErrNotADatabase},
		"half":             {"a", "BEGIN; CREATE TABLE t(x)", tenant.ErrNotADatabase},
		"mistake":          {"a", "CREATE TABLE t(x); HALLO", tenant.ErrNotADatabase},
	} {
		t.Run(what, func(t *testing.T) {
			if err := m.Create(t.Context(), c.db); err != nil && !errors.Is(err, tenant.ErrExists) {
				t.Fatal(err)
			}
			_, err := m.LoadDump(t.Context(), c.db, strings.NewReader(c.script), "me")
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if errors.Is(err, tenant.ErrNotADatabase) && strings.Contains(err.Error(), ".load-") {
				t.Errorf("%v has a path of the server", err)
			}
			if f, err := m.Facts(t.Context(), c.db); err != nil || f.Revision != 0 {
				t.Errorf("%+v, %v", f, err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%v, %v", left, err)
			}
		})
	}
	for what, content := range map[string]string{"noise": strings.Repeat("noise", 4000), "header": "SQLite format 3\x00" + strings.Repeat("x", 5000)} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := m.LoadFile(t.Context(), "a", path, "me")
		if !errors.Is(err, tenant.ErrNotADatabase) || strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := m.LoadDump(t.Context(), "a", strings.NewReader("PRAGMA foreign_keys=OFF; BEGIN; CREATE TABLE t(x); INSERT INTO t VALUES(1); COMMIT;"), "me"); err != nil {
		t.Errorf("a good one after all that: %v", err)
	}
}
