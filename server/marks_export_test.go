package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// file gets a database's file, and checks that it has its length, is sound, and
// has nothing of Turso's marks.
func (s *sqlServer) file(path string) *sqlite.Conn {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("User-Agent", "Go-http-client/1.1") // replicas name no agent
	w := httptest.NewRecorder()
	s.srv.ServeHTTP(w, r)
	if n := w.Header().Get("Content-Length"); w.Code != 200 || n != strconv.Itoa(w.Body.Len()) {
		s.t.Fatalf("%s: %d, %s of %d bytes", path, w.Code, n, w.Body.Len())
	}
	if strings.Contains(w.Body.String(), "turso_sync") || strings.Contains(w.Body.String(), "client-number") {
		s.t.Errorf("%s has marks", path)
	}
	name := filepath.Join(s.t.TempDir(), "x.db")
	if err := os.WriteFile(name, w.Body.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	c, err := sqlite.Open(name, sqlite.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if ok, err := c.QueryText("PRAGMA integrity_check"); ok != "ok" || err != nil {
		s.t.Errorf("%s: %s, %v", path, ok, err)
	}
	return c
}

// TestTursoMarksAreNotExported: a file is what its users made of it, as it is and
// as it was.
func TestTursoMarksAreNotExported(t *testing.T) {
	s := newTurso(t)
	want := func(path, want string) {
		t.Helper()
		if got, err := s.file(path).QueryText("SELECT count(*) || ' ' || (SELECT group_concat(name) FROM sqlite_schema) FROM t"); got != want || err != nil {
			t.Errorf("%s: %s, want %s, %v", path, got, want, err)
		}
	}
	early := s.replica(7)
	api := "/v1/organizations/default/databases/t/export"
	want("/db/t/export", "1 agentdb_conflicts,t")
	for i := range 200 { // the marks have many pages
		a := s.turso(fmt.Sprintf("client-number-%080d", i))
		a.insert(i+2, "x")
		a.push()
	}
	s.pipeline("", "CREATE INDEX by_v ON t(v)")
	for _, r := range []*replicaFile{early, s.replica(128)} {
		r.sync()
		if got := r.query("SELECT count(*), (SELECT group_concat(name) FROM sqlite_schema) FROM t"); got != "ok 201|agentdb_conflicts,t,by_v" {
			t.Errorf("a replica of libSQL has %s", got)
		}
	}
	for _, path := range []string{"/db/t/export", "/db/t/export/1", api} {
		want(path, "201 agentdb_conflicts,t,by_v")
	}
	want(api+"?revision=3", "2 agentdb_conflicts,t")
	s.pipeline("", "ANALYZE", "DROP TABLE t", "CREATE TABLE t(x)")
	want("/db/t/export", "0 agentdb_conflicts,sqlite_stat1,sqlite_stat4,t")
	ask := fmt.Sprintf(`{"type":"execute","stmt":{"sql":%q,"args":[{"type":"text","value":"client-number-%080d"}]}}`, readMark, 150)
	if got := s.pipeline("", ask).text(0); got != "0,1" {
		t.Errorf("the database lost the marks: %s", got)
	}
}
