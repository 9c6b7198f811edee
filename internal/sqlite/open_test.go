package sqlite_test

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

func TestOpenOptions(t *testing.T) {
	dir := t.TempDir()
	if _, err := sqlite.Open(filepath.Join(dir, "none.db"), sqlite.Options{NoCreate: true}); err == nil || !strings.Contains(err.Error(), "SQLITE_CANTOPEN") {
		t.Error(err)
	}
	if _, err := sqlite.Open(filepath.Join(dir, "none.db"), sqlite.Options{ReadOnly: true}); err == nil {
		t.Error("read-only open created a file")
	}
	if _, err := sqlite.Open(filepath.Join(dir, "no", "dir.db"), sqlite.Options{}); err == nil {
		t.Error("opened in a missing directory")
	}
	if _, err := sqlite.Open(dir, sqlite.Options{}); err == nil {
		t.Error("opened a directory")
	}
	if _, err := sqlite.Open("a\x00b", sqlite.Options{}); err == nil {
		t.Error("NUL in path")
	}
	if _, err := sqlite.Open(":memory:", sqlite.Options{Synchronous: "full"}); err == nil {
		t.Error("bad synchronous")
	}
	path := filepath.Join(dir, "odd name?x=1#%41.db")
	c := openPath(t, path, sqlite.Options{Synchronous: "NORMAL", CacheKB: 500, NoCheckpoint: true, NoForeignKeys: true})
	if c.Filename() != path {
		t.Errorf("file is %q", c.Filename())
	}
	for pragma, want := range map[string]string{"synchronous": "1", "cache_size": "-500", "wal_autocheckpoint": "0", "foreign_keys": "0", "journal_mode": "wal"} {
		if got := queryText(t, c, "PRAGMA "+pragma); got != want {
			t.Errorf("%s = %s", pragma, got)
		}
	}
	rollback := openPath(t, filepath.Join(dir, "r.db"), sqlite.Options{NoWAL: true}, "CREATE TABLE t(a)")
	if got := queryText(t, rollback, "PRAGMA journal_mode"); got != "delete" {
		t.Error(got)
	}
	mem := openPath(t, ":memory:", sqlite.Options{}, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
	if mem.Filename() != "" || queryText(t, mem, "PRAGMA journal_mode") != "memory" {
		t.Error("in memory")
	}
	openPath(t, "", sqlite.Options{}, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
}

func TestNotADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	must(t, os.WriteFile(path, []byte(strings.Repeat("this is no database ", 500)), 0o600))
	for _, o := range []sqlite.Options{{}, {ReadOnly: true}, {NoWAL: true}} {
		_, err := sqlite.Open(path, o)
		wantCode(t, err, "SQLITE_NOTADB")
		if !sqlite.IsCorrupt(err) {
			t.Error(err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	w := openPath(t, path, sqlite.Options{}, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
	r := openPath(t, path, sqlite.Options{ReadOnly: true})
	if queryInt(t, r, "SELECT a FROM t") != 1 {
		t.Error("read")
	}
	for _, sql := range []string{"INSERT INTO t VALUES(2)", "CREATE TABLE x(a)", "DELETE FROM t", "PRAGMA user_version=3"} {
		if err := r.Exec(sql); !sqlite.IsReadOnly(err) {
			t.Errorf("%s: %v", sql, err)
		}
	}
	must(t, w.Exec("INSERT INTO t VALUES(5)"))
	if queryInt(t, r, "SELECT sum(a) FROM t") != 6 {
		t.Error("reader does not follow the writer")
	}
}

// TestNoLeak opens and closes many connections and wants the process to stay
// as large as it was after the first few.
func TestNoLeak(t *testing.T) {
	dir := t.TempDir()
	cycle := func(n int) {
		for i := range n {
			c, err := sqlite.Open(filepath.Join(dir, strconv.Itoa(i%3)+".db"), sqlite.Options{Synchronous: "OFF"})
			must(t, err)
			c.PreUpdate(func(*sqlite.PreUpdate) {})
			c.Authorize(func(sqlite.Action) sqlite.Verdict { return sqlite.Allow })
			must(t, c.CreateFunction("f", 1, false, func(a []sqlite.Value) (sqlite.Value, error) { return a[0], nil }))
			must(t, c.Exec("CREATE TABLE IF NOT EXISTS t(a); DELETE FROM t"))
			must(t, c.ExecArgs("INSERT INTO t VALUES(f(?))", sqlite.Blob(make([]byte, 20_000))))
			must(t, c.ExecArgs("INSERT INTO t VALUES(?)", sqlite.Text("small")))
			s, err := c.Cached("SELECT a, f(?1) FROM t")
			must(t, err)
			must(t, s.BindText(1, strings.Repeat("x", 3000)))
			if _, err := s.Step(); err != nil { // left open on purpose
				t.Fatal(err)
			}
			_ = c.Exec("SELECT nonsense FROM nowhere")
			must(t, c.Close())
		}
	}
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	cycle(rounds / 4)
	before := residentKB(t)
	cycle(rounds)
	if grown := residentKB(t) - before; grown > 8<<10 {
		t.Errorf("%d cycles grew the process by %d KB", rounds, grown)
	}
}

func residentKB(t *testing.T) int {
	t.Helper()
	runtime.GC()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc")
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	kb, err := strconv.Atoi(string(m[1]))
	must(t, err)
	return kb
}

// TestLibcVersion: the translated SQLite only works with the exact libc it was
// made for, which module resolution does not ensure.
func TestLibcVersion(t *testing.T) {
	list := func(args ...string) string {
		out, err := osexec.Command("go", append([]string{"list", "-m", "-f"}, args...)...).Output()
		if err != nil {
			t.Skipf("go list: %v", err)
		}
		return strings.TrimSpace(string(out))
	}
	got := list("{{.Version}}", "modernc.org/libc")
	mod, err := os.ReadFile(list("{{.GoMod}}", "modernc.org/sqlite"))
	must(t, err)
	m := regexp.MustCompile(`modernc\.org/libc (v\S+)`).FindSubmatch(mod)
	if m == nil || string(m[1]) != got {
		t.Errorf("modernc.org/sqlite wants libc %s, go.mod has %s", m[1], got)
	}
}
