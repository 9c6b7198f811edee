package server_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/server"
)

func (s *sqlServer) get(path string) (int, string) {
	w := httptest.NewRecorder()
	s.srv.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// TestDumpAndExport makes files of what the server hands out, and compares them
// with what it has.
func TestDumpAndExport(t *testing.T) {
	sqlite3, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("there is no sqlite3")
	}
	s := newSQL(t, server.Config{Dev: true})
	a := s.pipeline("",
		`CREATE TABLE "a ""b"(id INTEGER PRIMARY KEY AUTOINCREMENT, x, g AS (x || '!'))`,
		`INSERT INTO "a ""b"(x) VALUES('it''s'), (NULL), (1.5), (x'00ff'), ('a'||char(0)||'b'), (9e999), (9223372036854775807), ('é
two')`,
		`DELETE FROM "a ""b" WHERE id = 8`,
		"CREATE INDEX i ON \"a \"\"b\"(x)", "CREATE VIEW v AS SELECT * FROM \"a \"\"b\"",
		"CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID", "INSERT INTO w VALUES('k', 1)",
		"CREATE TRIGGER tr AFTER INSERT ON w BEGIN DELETE FROM w; END",
		"CREATE VIRTUAL TABLE f USING fts5(body)", "INSERT INTO f VALUES('quick brown fox')")
	if got := a.codes(); strings.Contains(got, "SQL") {
		t.Fatal(got)
	}
	status, dump := s.get("/db/t/dump")
	if status != 200 || !strings.HasSuffix(dump, "\nCOMMIT;\n") {
		t.Fatalf("%d %s", status, dump)
	}
	status, file := s.get("/db/t/export")
	if status != 200 {
		t.Fatalf("%d %s", status, file)
	}
	dir := t.TempDir()
	exported, restored := filepath.Join(dir, "exported.db"), filepath.Join(dir, "restored.db")
	if err := os.WriteFile(exported, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), sqlite3, restored)
	cmd.Stdin = strings.NewReader(dump)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, dump)
	}
	const query = `SELECT id||':'||typeof(x)||':'||hex(x)||':'||coalesce(g,'') FROM "a ""b" ORDER BY id; SELECT * FROM w; SELECT body FROM f WHERE f MATCH 'brown'; ` +
		`SELECT type||name FROM sqlite_schema WHERE name IN ('i','v','tr') ORDER BY 1; SELECT * FROM sqlite_sequence; PRAGMA integrity_check`
	var want []byte
	for _, path := range []string{exported, restored} {
		got, err := exec.CommandContext(t.Context(), sqlite3, path, query).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		if want == nil {
			want = got
		}
		if string(got) != string(want) || !strings.Contains(string(got), "quick brown fox") || !strings.HasSuffix(string(got), "ok\n") {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestDumpsAreGuarded(t *testing.T) {
	s := newSQL(t, server.Config{})
	for _, path := range []string{"/dump", "/info", "/export/1", "/db/t/export"} {
		if status, body := s.get(path); status != 401 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	dev := newSQL(t, server.Config{Dev: true})
	if status, body := dev.get("/db/t/export"); status != 404 {
		t.Errorf("export of nothing: %d %s", status, body)
	}
	if status, body := dev.get("/health"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}
