package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/server"
)

// scoped returns a token for some tables of the database t.
func (s *sqlServer) scoped(access string, tables ...string) string {
	s.t.Helper()
	tok, err := server.CreateToken(s.dir, server.TokenSpec{Database: "t", Access: access, Tables: tables})
	if err != nil {
		s.t.Fatal(err)
	}
	return tok
}

// try runs a statement and returns its error's code, or "ok" and its rows.
func (s *sqlServer) try(token, sql string) string {
	s.t.Helper()
	status, body := s.post("/db/t/v3/pipeline", token, fmt.Sprintf(`{"requests":[{"type":"execute","stmt":{"sql":%q}}]}`, sql))
	var a pipelineAnswer
	if err := json.Unmarshal([]byte(body), &a); err != nil || status != 200 {
		return fmt.Sprint(status, " ", body)
	}
	if r := a.Results[0]; r.Type == "error" {
		return strings.TrimPrefix(r.Error.Code, "SQLITE_")
	}
	return strings.TrimSpace("ok " + a.text(0))
}

// office is a database with tables that not everybody may use.
func office(t *testing.T) (s *sqlServer, full string) {
	t.Helper()
	s = newSQL(t, server.Config{})
	full = s.token("t")
	for _, sql := range []string{
		"CREATE TABLE secret(id INTEGER PRIMARY KEY, v)",
		"CREATE TABLE tasks(id INTEGER PRIMARY KEY, v UNIQUE)",
		"CREATE TABLE results(id INTEGER PRIMARY KEY, task REFERENCES tasks(id) ON DELETE CASCADE, v)",
		"CREATE TABLE log(v)",
		"CREATE TABLE counted(v)",
		"CREATE TRIGGER trg AFTER INSERT ON counted BEGIN INSERT INTO log SELECT 'there are ' || count(*) FROM secret; END",
		"CREATE VIEW summary AS SELECT count(*) AS n FROM secret",
		"CREATE VIEW box AS SELECT v FROM log",
		"CREATE TRIGGER put INSTEAD OF INSERT ON box BEGIN INSERT INTO log VALUES (new.v); END",
		"CREATE VIRTUAL TABLE docs USING fts5(body)",
		"INSERT INTO secret VALUES (1, 'x')",
		"INSERT INTO tasks VALUES (1, 'a'), (2, 'b')",
		"INSERT INTO docs VALUES ('hello world')",
	} {
		if got := s.try(full, sql); got != "ok" {
			t.Fatalf("%s: %s", sql, got)
		}
	}
	return s, full
}

// readTasks may read one table.
var readTasks = []string{"tasks:data_read"}

// scopeCases are statements, run in this order, and what becomes of them with
// permissions for some tables.
var scopeCases = []struct {
	tables []string
	sql    string
	want   string
}{
	{readTasks, "SELECT v FROM tasks ORDER BY v", "ok a|b"},
	{readTasks, "SELECT v FROM Tasks WHERE id = 1", "ok a"},
	{readTasks, "SELECT v FROM secret", "AUTH"},
	{readTasks, "SELECT count(*) FROM secret", "AUTH"},
	{readTasks, "SELECT 1 FROM secret", "AUTH"},
	{readTasks, "SELECT rowid FROM secret", "AUTH"},
	{readTasks, "SELECT (SELECT v FROM secret) FROM tasks", "AUTH"},
	{readTasks, "SELECT v FROM tasks WHERE EXISTS (SELECT 1 FROM secret)", "AUTH"},
	{readTasks, "SELECT a.v FROM tasks a JOIN secret USING (id)", "AUTH"},
	{readTasks, "SELECT v FROM tasks UNION SELECT v FROM secret", "AUTH"},
	{readTasks, "EXPLAIN SELECT v FROM secret", "AUTH"},
	// A common table expression must not pass for a view, a trigger or a table.
	{readTasks, "WITH tasks AS (SELECT * FROM secret) SELECT * FROM tasks", "AUTH"},
	{readTasks, "WITH summary AS (SELECT * FROM secret) SELECT * FROM summary", "AUTH"},
	{readTasks, "WITH trg AS (SELECT * FROM secret) SELECT * FROM trg", "AUTH"},
	{readTasks, "WITH \"tr\"\"g\" AS (SELECT * FROM secret) SELECT * FROM \"tr\"\"g\"", "AUTH"},
	{readTasks, "wiTH TRG AS (SELECT * FROM secret) SELECT * FROM [TRG]", "AUTH"},
	{[]string{"push:counted"}, "WITH trg AS (SELECT v FROM secret) INSERT INTO counted SELECT v FROM trg", "AUTH"},
	{readTasks, "SELECT count(*) > 3 FROM sqlite_schema", "ok 1"},
	{readTasks, "SELECT * FROM sqlite_sequence", "ERROR"}, // there is none
	{readTasks, "SELECT * FROM sqlite_dbpage", "ERROR"},
	{readTasks, "SELECT * FROM sqlite_stat1", "ERROR"},
	{readTasks, "SELECT value FROM json_each('[5]')", "ok 5"},
	{readTasks, "SELECT name FROM pragma_table_info('secret') WHERE pk", "ok id"},
	{readTasks, "PRAGMA table_info(tasks)", "ok 0,id,INTEGER,0,<nil>,1|1,v,,0,<nil>,0"},
	{readTasks, "PRAGMA integrity_check", "AUTH"},
	{readTasks, "PRAGMA foreign_key_check", "AUTH"},
	{readTasks, "SELECT * FROM pragma_foreign_key_check", "AUTH"},
	{readTasks, "PRAGMA foreign_keys = off", "AUTH"},
	{readTasks, "PRAGMA user_version = 5", "AUTH"},
	{readTasks, "PRAGMA user_version", "ok 0"},
	{readTasks, "PRAGMA optimize", "AUTH"},
	{readTasks, "ATTACH ':memory:' AS x", "AUTH"},
	{readTasks, "VACUUM", "AUTH"},
	{readTasks, "VACUUM INTO 'x'", "AUTH"},
	{readTasks, "INSERT INTO tasks(v) VALUES ('c')", "AUTH"},
	{readTasks, "DELETE FROM tasks", "AUTH"},

	{[]string{"tasks:data_add"}, "INSERT INTO tasks VALUES (3, 'c')", "ok"},
	{[]string{"log:data_add"}, "INSERT INTO log VALUES ('d') RETURNING v", "AUTH"},
	{[]string{"log:data_add,data_read"}, "INSERT INTO log VALUES ('d') RETURNING v", "ok d"},
	{[]string{"tasks:data_add"}, "SELECT v FROM tasks", "AUTH"},
	{[]string{"tasks:data_add"}, "UPDATE tasks SET v = 'x'", "AUTH"},
	{[]string{"tasks:data_add"}, "REPLACE INTO tasks VALUES (3, 'x')", "AUTH"},
	{[]string{"tasks:data_add"}, "INSERT OR REPLACE INTO tasks(v) VALUES ('c')", "AUTH"},
	{[]string{"tasks:data_add", "read:tasks"}, "INSERT INTO tasks VALUES (3, 'x') ON CONFLICT DO UPDATE SET v = excluded.v", "AUTH"},
	{[]string{"tasks:data_add", "read:tasks"}, "INSERT INTO tasks VALUES (3, 'x') ON CONFLICT DO NOTHING", "ok"},
	{[]string{"tasks:data_add", "secret:data_add"}, "INSERT INTO tasks(v) SELECT v FROM secret", "AUTH"},
	{[]string{"tasks:data_update"}, "UPDATE tasks SET v = 'x' WHERE id = 1", "AUTH"}, // it reads id
	{[]string{"tasks:data_update,data_read"}, "UPDATE tasks SET v = 'x' WHERE id = 1", "ok"},
	{[]string{"tasks:data_update,data_read"}, "UPDATE tasks SET v = (SELECT v FROM secret)", "AUTH"},
	{[]string{"tasks:data_update,data_read"}, "UPDATE tasks SET v = secret.v FROM secret", "AUTH"},
	{[]string{"tasks:data_update,data_read"}, "UPDATE OR REPLACE tasks SET v = 'b' WHERE id = 1", "AUTH"},
	{[]string{"all:data_read", "log:data_add"}, "INSERT INTO log SELECT v FROM secret", "ok"},
	{[]string{"all:data_read", "log:data_add"}, "INSERT INTO tasks(v) VALUES ('e')", "AUTH"},

	// Triggers and views do what their maker allowed.
	{[]string{"push:counted"}, "INSERT INTO counted VALUES (1)", "ok"},
	{[]string{"push:counted"}, "INSERT INTO log VALUES (1)", "AUTH"},
	{[]string{"summary:data_read"}, "SELECT n FROM summary", "ok 1"},
	{[]string{"log:data_read"}, "SELECT n FROM summary", "AUTH"},
	{[]string{"secret:data_read"}, "SELECT n FROM summary", "AUTH"},
	{[]string{"box:data_add"}, "INSERT INTO box VALUES ('through the view')", "ok"},
	{[]string{"box:data_read"}, "INSERT INTO box VALUES (1)", "AUTH"},

	// Foreign keys reach other tables by what the statement does to them.
	{[]string{"results:data_add", "tasks:data_read"}, "INSERT INTO results VALUES (1, 2, 'r')", "ok"},
	{[]string{"results:data_add"}, "INSERT INTO results VALUES (2, 2, 'r')", "AUTH"},
	{[]string{"tasks:data_read,data_delete"}, "DELETE FROM tasks WHERE id = 2", "AUTH"},
	{[]string{"tasks:data_read,data_delete", "results:data_read,data_delete"}, "DELETE FROM tasks WHERE id = 2", "ok"},

	{[]string{"read:docs"}, "SELECT body FROM docs WHERE docs MATCH 'hello'", "ok hello world"},
	{readTasks, "SELECT body FROM docs WHERE docs MATCH 'hello'", "AUTH"},
	{readTasks, "SELECT * FROM docs_content", "AUTH"},
	{[]string{"read:docs"}, "INSERT INTO docs VALUES ('more')", "AUTH"},
	{[]string{"read:docs", "docs:data_add"}, "INSERT INTO docs(docs) VALUES ('rebuild')", "AUTH"},
	{[]string{"read:docs", "push:docs"}, "INSERT INTO docs VALUES ('more')", "ok"},
	{[]string{"push:docs"}, "SELECT * FROM docs", "AUTH"},
	{[]string{"push:docs"}, "SELECT * FROM docs_content", "AUTH"},
	{[]string{"push:docs"}, "INSERT INTO docs VALUES ('and more')", "ok"},
	{[]string{"push:all"}, "INSERT INTO sqlite_stat1 VALUES (1, 2, 3)", "ERROR"}, // there is none

	{[]string{"read:tasks", "push:tasks"}, "CREATE TABLE tasks2(x)", "AUTH"},
	{[]string{"read:tasks", "push:tasks"}, "CREATE VIEW w AS SELECT * FROM secret", "AUTH"},
	{[]string{"read:tasks", "push:tasks"}, "CREATE TRIGGER x AFTER INSERT ON tasks BEGIN DELETE FROM secret; END", "AUTH"},
	{[]string{"read:tasks", "push:tasks"}, "CREATE INDEX i ON tasks(v)", "AUTH"},
	{[]string{"read:tasks", "push:tasks"}, "ALTER TABLE tasks RENAME TO x", "AUTH"},
	{[]string{"read:tasks", "push:tasks"}, "DROP TABLE tasks", "AUTH"},
	{[]string{"all:data_read,data_add,data_update,data_delete"}, "UPDATE sqlite_schema SET sql = ''", "ERROR"},
	{[]string{"read:tasks", "push:tasks"}, "CREATE TEMP TABLE x(y)", "AUTH"},
	{[]string{"read:tasks", "push:tasks"}, "CREATE VIRTUAL TABLE x USING fts5(y, content='secret')", "AUTH"},
	{[]string{"read:tasks", "push:tasks"}, "ANALYZE", "AUTH"},
}

// TestScopeOfSQL: a token for some tables does with them what it says, and nothing
// with others, on whatever way.
func TestScopeOfSQL(t *testing.T) {
	s, full := office(t)
	for _, c := range scopeCases {
		if got := s.try(s.scoped("full", c.tables...), c.sql); got != c.want {
			t.Errorf("%v: %s: %s, want %s", c.tables, c.sql, got, c.want)
		}
	}
	if got := s.try(full, "SELECT v FROM log ORDER BY rowid"); got != "ok d|x|there are 1|through the view" {
		t.Errorf("what triggers wrote: %s", got)
	}
	if got := s.try(full, "SELECT id, v FROM tasks ORDER BY id"); got != "ok 1,x|3,c" {
		t.Errorf("the tasks: %s", got)
	}
	if got := s.try(s.scoped("read", "read:tasks", "push:tasks"), "INSERT INTO tasks(v) VALUES ('f')"); got != "READONLY" {
		t.Errorf("access read with permissions to write: %s", got)
	}
}

// TestScopeOfStatements: a statement that somebody else has prepared is not run
// for a token that does not allow it.
func TestScopeOfStatements(t *testing.T) {
	s, full := office(t)
	tok := s.scoped("full", "read:tasks")
	for range 3 {
		for _, sql := range []string{"SELECT v FROM secret", "INSERT INTO secret(v) VALUES ('y')"} {
			if got := s.try(full, sql); !strings.HasPrefix(got, "ok") {
				t.Fatal(got)
			}
			if got := s.try(tok, sql); got != "AUTH" {
				t.Errorf("%s after it was prepared: %s", sql, got)
			}
		}
	}
}

// TestScopeOfTransactions: nor is a transaction continued by another token.
func TestScopeOfTransactions(t *testing.T) {
	s, full := office(t)
	tok := s.scoped("full", "read:tasks")
	_, body := s.post("/db/t/v3/pipeline", full, `{"requests":[{"type":"execute","stmt":{"sql":"BEGIN"}}]}`)
	var a pipelineAnswer
	if err := json.Unmarshal([]byte(body), &a); err != nil || a.Baton == "" {
		t.Fatal(body)
	}
	status, body := s.post("/db/t/v3/pipeline", tok, fmt.Sprintf(`{"baton":%q,"requests":[{"type":"execute","stmt":{"sql":"SELECT v FROM secret"}}]}`, a.Baton))
	if status != 400 {
		t.Errorf("%d %s", status, body)
	}
}

// TestScopeOfWholes: what carries whole databases is refused, and says what to do.
func TestScopeOfWholes(t *testing.T) {
	s, _ := office(t)
	for _, path := range []string{"/db/t/dump", "/db/t/export", "/db/t/info", "/db/t/sync/1/0/1"} {
		for _, c := range []struct {
			tables string
			ok     bool
		}{{"read:tasks", false}, {"push:tasks", false}, {"all:data_read", true}} {
			r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
			r.Header.Set("Authorization", "Bearer "+s.scoped("full", c.tables))
			w := httptest.NewRecorder()
			s.srv.ServeHTTP(w, r)
			if refused := w.Code == http.StatusForbidden; refused == c.ok || refused && !strings.Contains(w.Body.String(), "SQL over HTTP") {
				t.Errorf("%s with %s: %d %.200s", path, c.tables, w.Code, w.Body)
			}
		}
	}
	if status, body := s.post("/db/t/pull-updates", s.scoped("full", "read:tasks"), ""); status != http.StatusForbidden {
		t.Errorf("pages: %d %s", status, body)
	}
}

// TestBadScopes: permissions that can't be kept are refused when the token is made.
func TestBadScopes(t *testing.T) {
	s := newSQL(t, server.Config{})
	for _, p := range []string{"tasks", "tasks:", ":data_read", "tasks:read_data", "tasks:data_read,", "all:schema_add", "sqlite_schema:data_update", "agentdb_pending:data_read"} {
		if _, err := server.CreateToken(s.dir, server.TokenSpec{Database: "t", Tables: []string{p}}); err == nil {
			t.Errorf("%s: no error", p)
		}
	}
}
