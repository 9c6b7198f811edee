package agentdb_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// platform calls the Platform API of a server and decodes its answer into out,
// which may be nil. It returns the status.
func platform(t *testing.T, srv *agentdbtest.Server, token, method, path string, in, out any) int {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if raw, ok := in.([]byte); ok {
		body = raw
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+srv.Host()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	switch out := out.(type) {
	case nil:
	case *[]byte:
		*out = b
	default:
		if err := json.Unmarshal(b, out); err != nil {
			t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, b)
		}
	}
	return res.StatusCode
}

const restored = "SELECT id, v FROM tasks ORDER BY id"

// TestRestore takes a database back while agents have it: they follow at their
// next sync, what they had not sent is applied to what is there then, and the
// restore itself can be undone.
func TestRestore(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	api := srv.APIToken("test")
	a, b, p := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncPull)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('one'), ('two')")
	good := mustSync(t, a).Revision
	mustSync(t, b)
	mustSync(t, p)
	runSQL(t, a, "DELETE FROM tasks WHERE id = 1; UPDATE tasks SET v = 'spoilt'; CREATE TABLE junk (x)")
	bad := mustSync(t, a).Revision
	mustSync(t, p)
	runSQL(t, b, "INSERT INTO tasks(v) VALUES('offline')")

	var ans struct{ Revision uint64 }
	if status := platform(t, srv, api, "POST", "/v1/databases/shared/restore", map[string]any{"revision": good}, &ans); status != 200 || ans.Revision != bad+1 {
		t.Fatalf("%d %+v", status, ans)
	}
	for range 2 {
		mustSync(t, b)
		mustSync(t, a)
		mustSync(t, p)
	}
	for _, db := range []*agentdb.DB{a, b, p} {
		want(t, db, restored, "[[1 one] [2 two] [3 offline]]")
		want(t, db, "SELECT count(*) FROM sqlite_schema WHERE name = 'junk'", "[[0]]")
		want(t, db, "PRAGMA integrity_check", "[[ok]]")
	}
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('after')")
	mustSync(t, a)
	mustSync(t, b)
	want(t, b, restored, "[[1 one] [2 two] [3 offline] [4 after]]")

	if status := platform(t, srv, api, "POST", "/v1/databases/shared/restore", map[string]any{"revision": bad}, nil); status != 200 {
		t.Fatal(status)
	}
	for _, db := range []*agentdb.DB{a, b, p} {
		mustSync(t, db)
		want(t, db, restored, "[[2 spoilt]]")
		want(t, db, "SELECT count(*) FROM sqlite_schema WHERE name = 'junk'", "[[1]]")
	}
	srv.Stop()
	srv.Start()
	c := agent(t, srv, agentdb.SyncFull)
	mustSync(t, c)
	want(t, c, restored, "[[2 spoilt]]")
	if status := platform(t, srv, api, "POST", "/v1/databases/shared/restore", map[string]any{"revision": 1000}, nil); status != 422 {
		t.Errorf("a revision of the future: %d", status)
	}
}

// TestRestoreToNothing: the revision before the first commit is one too.
func TestRestoreToNothing(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	api := srv.APIToken("test")
	a := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('one')")
	rev := mustSync(t, a).Revision
	if status := platform(t, srv, api, "POST", "/v1/databases/shared/restore", map[string]any{"revision": 0}, nil); status != 200 {
		t.Fatal(status)
	}
	mustSync(t, a)
	want(t, a, "SELECT count(*) FROM sqlite_schema WHERE name = 'tasks'", "[[0]]")
	runSQL(t, a, "CREATE TABLE fresh (x); INSERT INTO fresh VALUES (1)")
	mustSync(t, a)
	if status := platform(t, srv, api, "POST", "/v1/databases/shared/restore", map[string]any{"revision": rev}, nil); status != 200 {
		t.Fatal(status)
	}
	mustSync(t, a)
	want(t, a, restored, "[[1 one]]")
}

// TestForkIsItsOwn: a fork at a time has what was there then, and goes its own
// way; it outlives its parent.
func TestForkIsItsOwn(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	api := srv.APIToken("test")
	a := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('one')")
	mustSync(t, a)
	time.Sleep(20 * time.Millisecond)
	when := time.Now().UTC().Format(time.RFC3339Nano)
	time.Sleep(20 * time.Millisecond)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('two')")
	mustSync(t, a)
	seed := map[string]any{"type": "database", "name": "shared", "timestamp": when}
	if status := platform(t, srv, api, "POST", "/v1/databases", map[string]any{"name": "fork", "seed": seed}, nil); status != 200 {
		t.Fatal(status)
	}
	f := agentdbtest.Open(t, srv.Options("fork"))
	mustSync(t, f)
	want(t, f, restored, "[[1 one]]")
	if status := platform(t, srv, api, "DELETE", "/v1/databases/shared", nil, nil); status != 200 {
		t.Fatal(status)
	}
	runSQL(t, f, "INSERT INTO tasks(v) VALUES('mine')")
	mustSync(t, f)
	g := agentdbtest.Open(t, srv.Options("fork"))
	mustSync(t, g)
	want(t, g, restored, "[[1 one] [2 mine]]")
}

// TestLoadedDatabase: a database that is made from a SQLite file, whatever its
// form, and one from a dump, are databases like others.
func TestLoadedDatabase(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	api := srv.APIToken("test")
	local := agentdbtest.Open(t, nil)
	file := filepath.Join(t.TempDir(), "old.db")
	runSQL(t, local, fmt.Sprintf(`PRAGMA page_size = 1024; VACUUM INTO '%s'`, file))
	old := agentdbtest.OpenFile(t, file, nil)
	runSQL(t, old, tasks)
	runSQL(t, old, "INSERT INTO tasks(v) VALUES('one'); CREATE VIRTUAL TABLE words USING fts5(w); INSERT INTO words VALUES ('hello')")
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in     any
		path   string
		status int
	}{
		{map[string]any{"name": "up", "seed": map[string]any{"type": "database_upload"}}, "/v1/databases", 200},
		{b[:len(b)/2], "/v1/databases/up/seed", 422},
		{[]byte("no database at all, but a text of some length, so that it isn't taken for an empty one"), "/v1/databases/up/seed", 422},
		{b, "/v1/databases/up/seed", 200},
		{b, "/v1/databases/up/seed", 409},
	} {
		var ans []byte
		if status := platform(t, srv, api, "POST", c.path, c.in, &ans); status != c.status {
			t.Errorf("%s: %d, want %d: %s", c.path, status, c.status, ans)
		}
	}
	a := agentdbtest.Open(t, srv.Options("up"))
	mustSync(t, a)
	want(t, a, restored, "[[1 one]]")
	want(t, a, "SELECT w FROM words('hello')", "[[hello]]")
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('two'); INSERT INTO words VALUES ('world')")
	mustSync(t, a)
	var out []byte
	if status := platform(t, srv, api, "GET", "/v1/databases/up/export", nil, &out); status != 200 {
		t.Fatal(status)
	}
	exported := filepath.Join(t.TempDir(), "exported.db")
	if err := os.WriteFile(exported, out, 0o600); err != nil {
		t.Fatal(err)
	}
	e := agentdbtest.OpenFile(t, exported, nil)
	want(t, e, restored, "[[1 one] [2 two]]")
	want(t, e, "SELECT count(*) FROM words('world')", "[[1]]")

	var dump struct {
		URL string `json:"dump_url"`
	}
	platform(t, srv, api, "POST", "/v1/databases/dumps", []byte("PRAGMA foreign_keys=OFF; BEGIN; CREATE TABLE z(x); INSERT INTO z VALUES(7); COMMIT;"), &dump)
	make := map[string]any{"name": "dumped", "seed": map[string]any{"type": "dump", "url": dump.URL}}
	if status := platform(t, srv, api, "POST", "/v1/databases", make, nil); status != 200 {
		t.Fatal(status)
	}
	d := agentdbtest.Open(t, srv.Options("dumped"))
	mustSync(t, d)
	want(t, d, "SELECT x FROM z", "[[7]]")
	for _, bad := range []string{"ATTACH '/tmp/x' AS x", "CREATE TABLE t(", "BEGIN; CREATE TABLE t(x)", "PRAGMA writable_schema=ON", "SELECT load_extension('x')"} {
		platform(t, srv, api, "POST", "/v1/databases/dumps", []byte(bad), &dump)
		make := map[string]any{"name": "bad", "seed": map[string]any{"type": "dump", "url": dump.URL}}
		var ans []byte
		if status := platform(t, srv, api, "POST", "/v1/databases", make, &ans); status != 422 {
			t.Errorf("%s: %d %s", bad, status, ans)
		}
		if status := platform(t, srv, api, "GET", "/v1/databases/bad", nil, nil); status != 404 {
			t.Errorf("%s: something is left behind: %d", bad, status)
		}
	}
}
