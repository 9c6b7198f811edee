package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/server"
)

// sqlServer is a server for SQL clients, and requests to it.
type sqlServer struct {
	t   *testing.T
	srv *server.Server
	dir string
	cfg server.Config
}

func newSQL(t *testing.T, cfg server.Config) *sqlServer {
	t.Helper()
	cfg.DataDir = t.TempDir()
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	s := &sqlServer{t: t, dir: cfg.DataDir, cfg: cfg}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *sqlServer) start() {
	s.t.Helper()
	var err error
	if s.srv, err = server.New(s.cfg); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sqlServer) stop() {
	if err := s.srv.Close(context.Background()); err != nil { // the test's own has ended
		s.t.Error(err)
	}
}

// post sends a body and returns the answer.
func (s *sqlServer) post(path, token, body string) (int, string) {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	s.srv.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return w.Code, string(b)
}

// pipelineAnswer is the JSON of an answer, as far as tests look at it.
type pipelineAnswer struct {
	Baton   string
	Results []struct {
		Type     string
		Error    sqlError
		Response struct {
			Type         string
			IsAutocommit bool `json:"is_autocommit"`
			Result       struct {
				stmtResult
				StepResults []*stmtResult `json:"step_results"`
				StepErrors  []*sqlError   `json:"step_errors"`
			}
		}
	}
}

type sqlError struct{ Code, Message string }

type stmtResult struct {
	Rows     [][]struct{ Type, Value, Base64 any }
	Affected int64   `json:"affected_row_count"`
	LastID   *string `json:"last_insert_rowid"`
}

// pipeline sends requests, each the JSON of one or a SQL text to execute, on
// the stream of a baton.
func (s *sqlServer) pipeline(baton string, requests ...string) *pipelineAnswer {
	s.t.Helper()
	for i, r := range requests {
		if !strings.HasPrefix(r, "{") {
			requests[i] = fmt.Sprintf(`{"type":"execute","stmt":{"sql":%q}}`, r)
		}
	}
	body := fmt.Sprintf(`{"requests":[%s]}`, strings.Join(requests, ","))
	if baton != "" {
		body = fmt.Sprintf(`{"baton":%q,"requests":[%s]}`, baton, strings.Join(requests, ","))
	}
	status, text := s.post("/db/t/v3/pipeline", "", body)
	if status != 200 {
		s.t.Fatalf("%d %s", status, text)
	}
	a := &pipelineAnswer{}
	if err := json.Unmarshal([]byte(text), a); err != nil {
		s.t.Fatalf("%v: %s", err, text)
	}
	if len(a.Results) != len(requests) {
		s.t.Fatalf("%d results for %d requests: %s", len(a.Results), len(requests), text)
	}
	return a
}

// codes returns what became of each request: ok, or the error's code.
func (a *pipelineAnswer) codes() string {
	var out []string
	for _, r := range a.Results {
		out = append(out, r.Type)
		if r.Type == "error" {
			out[len(out)-1] = r.Error.Code
		}
	}
	return strings.Join(out, " ")
}

// text returns the rows of a result in one string.
func (a *pipelineAnswer) text(i int) string {
	var b strings.Builder
	for n, row := range a.Results[i].Response.Result.Rows {
		if n > 0 {
			b.WriteString("|")
		}
		for k, v := range row {
			if k > 0 {
				b.WriteString(",")
			}
			if v.Base64 != nil {
				v.Value = v.Base64
			}
			fmt.Fprint(&b, v.Value)
		}
	}
	return b.String()
}

func TestSQLValues(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	const args = `[{"type":"null"},{"type":"integer","value":"-9223372036854775808"},{"type":"integer","value":7},{"type":"float","value":0.1},
		{"type":"float","value":1e999},{"type":"text","value":"a\u0000é\ud83d\ude00\"\\\n"},{"type":"blob","base64":"AP8"},{"type":"blob","base64":"AP8="},{"type":"blob","base64":""}]`
	status, body := s.post("/db/t/v2/pipeline", "", `{"requests":[{"type":"execute","stmt":{"sql":"SELECT ?,?,?,?,?,?,?,?,?","args":`+args+`}}]}`)
	const want = `[[{"type":"null"},{"type":"integer","value":"-9223372036854775808"},{"type":"integer","value":"7"},{"type":"float","value":0.1},` +
		`{"type":"float","value":1e999},{"type":"text","value":"a\u0000é😀\"\\\n"},{"type":"blob","base64":"AP8"},{"type":"blob","base64":"AP8"},{"type":"blob","base64":""}]]`
	if status != 200 || !strings.Contains(body, `"rows":`+want) {
		t.Errorf("%d %s", status, body)
	}
	named := s.pipeline("", `{"type":"execute","stmt":{"sql":"SELECT :a, @b, $c, ?4","args":[{"type":"integer","value":"1"},{"type":"integer","value":"2"},{"type":"integer","value":"3"},{"type":"integer","value":"4"}],
		"named_args":[{"name":"b","value":{"type":"text","value":"B"}},{"name":"$c","value":{"type":"text","value":"C"}},{"name":"unused","value":{"type":"null"}}]}}`)
	if got := named.text(0); got != "1,B,C,4" {
		t.Errorf("named: %s", got)
	}
	wrong := s.pipeline("",
		`{"type":"execute","stmt":{"sql":"SELECT ?"}}`,
		`{"type":"execute","stmt":{"sql":"SELECT 1","args":[{"type":"null"}]}}`,
		"SELECT 1; SELECT 2", "SELECT 1; -- no more", " /* nothing */ ;", `{"type":"execute","stmt":{"sql":"SELECT 1\u0000"}}`, `{"type":"sequence","sql":"SELECT 1;\u0000"}`)
	if got := wrong.codes(); got != "ARGS_INVALID ARGS_INVALID SQL_MANY_STATEMENTS ok SQL_NO_STATEMENT SQLITE_ERROR SQLITE_ERROR" {
		t.Errorf("wrong: %s", got)
	}
}

func TestSQLResults(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	a := s.pipeline("",
		"CREATE TABLE t(id INTEGER PRIMARY KEY, x UNIQUE)",
		"CREATE TRIGGER tr AFTER INSERT ON t WHEN new.x < 10 BEGIN INSERT INTO t(x) VALUES(new.x + 100); END",
		"INSERT INTO t(x) VALUES (1)",
		"INSERT INTO t(x) VALUES (1)",
		"UPDATE t SET x = x + 1000",
		"CREATE TABLE u AS SELECT * FROM t",
		"INSERT INTO u VALUES (8, 'a'), (9, 'b') RETURNING id, x",
		"SELECT last_insert_rowid()",
		"WITH a AS (SELECT 1) DELETE FROM u WHERE id = 8")
	if got := a.codes(); got != "ok ok ok SQLITE_CONSTRAINT_UNIQUE ok ok ok ok ok" {
		t.Fatal(got)
	}
	for i, want := range map[int]string{0: "0 0", 2: "1 1", 4: "2 1", 5: "0 1", 6: "2 4", 8: "1 4"} {
		r := a.Results[i].Response.Result
		if got := fmt.Sprint(r.Affected, " ", *r.LastID); got != want {
			t.Errorf("statement %d: affected and last row id are %s, want %s", i, got, want)
		}
	}
	if a.text(6) != "8,a|9,b" || a.text(7) != "4" || a.Results[7].Response.Result.LastID != nil {
		t.Errorf("returning %s, last id %s", a.text(6), a.text(7))
	}
	if a.Baton != "" {
		t.Error("a baton, although nothing is open")
	}
}

func TestSQLBatchConditions(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	a := s.pipeline("", "CREATE TABLE t(x UNIQUE)", `{"type":"batch","batch":{"steps":[
		{"stmt":{"sql":"BEGIN"}},
		{"stmt":{"sql":"INSERT INTO t VALUES(1)"},"condition":{"type":"not","cond":{"type":"is_autocommit"}}},
		{"stmt":{"sql":"INSERT INTO t VALUES(1)"},"condition":{"type":"ok","step":1}},
		{"stmt":{"sql":"SELECT 'never'"},"condition":{"type":"and","conds":[{"type":"ok","step":1},{"type":"ok","step":2}]}},
		{"stmt":{"sql":"SELECT 'yes'"},"condition":{"type":"or","conds":[{"type":"error","step":1},{"type":"error","step":2}]}},
		{"stmt":{"sql":"COMMIT"},"condition":{"type":"error","step":2}},
		{"stmt":{"sql":"ROLLBACK"},"condition":{"type":"not","cond":{"type":"ok","step":5}}}]}}`,
		"SELECT * FROM t")
	r := a.Results[1].Response.Result
	var got []string
	for i := range r.StepResults {
		switch {
		case r.StepResults[i] != nil:
			got = append(got, "ok")
		case r.StepErrors[i] != nil:
			got = append(got, r.StepErrors[i].Code)
		default:
			got = append(got, "skipped")
		}
	}
	if s := strings.Join(got, " "); s != "ok ok SQLITE_CONSTRAINT_UNIQUE skipped ok ok skipped" || a.text(2) != "1" {
		t.Errorf("%s; rows %s", s, a.text(2))
	}
	for _, bad := range []string{
		`{"steps":[{"stmt":{"sql":"SELECT 1"},"condition":{"type":"ok","step":0}}]}`,
		`{"steps":[{"stmt":{"sql":"SELECT 1"},"condition":{"type":"ok"}}]}`,
		`{"steps":[{"stmt":{"sql":"SELECT 1"},"condition":{"type":"what"}}]}`,
		`{"steps":[{"stmt":{"sql":"SELECT 1"},"condition":` + strings.Repeat(`{"type":"not","cond":`, 40) + `{"type":"is_autocommit"}` + strings.Repeat("}", 40) + `}]}`,
		`{"steps":[{"stmt":{}}]}`,
	} {
		if status, body := s.post("/db/t/v3/pipeline", "", `{"requests":[{"type":"batch","batch":`+bad+`}]}`); status != 400 || !strings.Contains(body, `"code":"MALFORMED"`) {
			t.Errorf("%.60s: %d %s", bad, status, body)
		}
	}
}

func TestSQLTransactionOverRequests(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true, Limits: server.Limits{BusyTimeout: 50 * time.Millisecond}})
	s.pipeline("", "CREATE TABLE t(x)")
	a := s.pipeline("", "BEGIN IMMEDIATE", "INSERT INTO t VALUES(1)", `{"type":"get_autocommit"}`)
	if a.Baton == "" || a.Results[2].Response.IsAutocommit {
		t.Fatalf("%+v", a)
	}
	if got := s.pipeline("", "INSERT INTO t VALUES(0)", "BEGIN IMMEDIATE", "SELECT count(*) FROM t"); got.codes() != "SQLITE_BUSY SQLITE_BUSY ok" || got.text(2) != "0" {
		t.Errorf("beside a transaction: %s, %s rows", got.codes(), got.text(2))
	}
	b := s.pipeline(a.Baton, "SELECT count(*) FROM t", "SAVEPOINT a", "INSERT INTO t VALUES(2)", "ROLLBACK TO a", "RELEASE a")
	if b.text(0) != "1" || b.Baton == "" || b.Baton == a.Baton {
		t.Errorf("%s, baton %s after %s", b.text(0), b.Baton, a.Baton)
	}
	for _, bad := range []string{a.Baton, "x", strings.Repeat("A", 43)} {
		if status, body := s.post("/db/t/v3/pipeline", "", `{"baton":"`+bad+`","requests":[]}`); status != 400 || !strings.Contains(body, `"STREAM_EXPIRED"`) {
			t.Errorf("used baton: %d %s", status, body)
		}
	}
	if status, body := s.post("/db/other/v3/pipeline", "", `{"baton":"`+b.Baton+`","requests":[]}`); status != 400 {
		t.Errorf("baton of another database: %d %s", status, body)
	}
	c := s.pipeline(b.Baton, "COMMIT", "SELECT group_concat(x) FROM t", "COMMIT", "ROLLBACK")
	if c.codes() != "ok ok SQLITE_ERROR SQLITE_ERROR" || c.text(1) != "1" || c.Baton != "" {
		t.Errorf("%s %s %s", c.codes(), c.text(1), c.Baton)
	}
}

func TestSQLAbandonedTransaction(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true, Limits: server.Limits{TransactionIdle: 100 * time.Millisecond}})
	s.pipeline("", "CREATE TABLE t(x)")
	a := s.pipeline("", "BEGIN CONCURRENT;", "INSERT INTO t VALUES(1)")
	start := time.Now()
	if got := s.pipeline("", "INSERT INTO t VALUES(2)", "SELECT group_concat(x) FROM t").text(1); got != "2" {
		t.Errorf("rows %s after an abandoned transaction", got)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it blocked others for %v", took)
	}
	if status, body := s.post("/db/t/v3/pipeline", "", `{"baton":"`+a.Baton+`","requests":[]}`); status != 400 || !strings.Contains(body, "STREAM_EXPIRED") {
		t.Errorf("%d %s", status, body)
	}
}

func TestSQLTransactionTooLong(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true, Limits: server.Limits{TransactionTime: 50 * time.Millisecond}})
	s.pipeline("", "CREATE TABLE t(x)")
	wait := "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 1000000) SELECT count(*) FROM c"
	a := s.pipeline("", "BEGIN", "INSERT INTO t VALUES(1)", wait, wait, "INSERT INTO t VALUES(2)", "COMMIT")
	if got := a.codes(); !strings.HasSuffix(got, "TRANSACTION_TIMEOUT TRANSACTION_TIMEOUT") || a.Baton != "" {
		t.Error(got)
	}
	if got := s.pipeline("", "SELECT count(*) FROM t").text(0); got != "0" {
		t.Errorf("%s rows", got)
	}
}

func TestSQLStoredDescribeSequence(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	a := s.pipeline("",
		`{"type":"store_sql","sql_id":1,"sql":"SELECT 42"}`,
		`{"type":"store_sql","sql_id":1,"sql":"SELECT 43"}`,
		`{"type":"execute","stmt":{"sql_id":1}}`,
		`{"type":"sequence","sql":"PRAGMA foreign_keys=off; -- ;\n CREATE TABLE t(x); INSERT INTO t VALUES(';'); ; INSERT INTO nope VALUES(1); INSERT INTO t VALUES(2)"}`,
		`{"type":"describe","sql":"SELECT x AS y FROM t WHERE x = :x"}`,
		`{"type":"describe","sql":"EXPLAIN DELETE FROM t"}`)
	if got := a.codes(); got != "ok SQL_STORE ok SQLITE_ERROR ok ok" || a.text(2) != "42" || a.Baton == "" {
		t.Errorf("%s %s", got, a.text(2))
	}
	b := s.pipeline(a.Baton, `{"type":"execute","stmt":{"sql_id":1}}`, `{"type":"close_sql","sql_id":1}`, `{"type":"execute","stmt":{"sql_id":1}}`,
		"PRAGMA foreign_keys", "SELECT count(*) FROM t", `{"type":"close"}`, "SELECT 1")
	if got := b.codes(); got != "ok ok SQL_STORE ok ok ok STREAM_EXPIRED" || b.text(3) != "0" || b.text(4) != "1" || b.Baton != "" {
		t.Errorf("%s %s %s", got, b.text(3), b.text(4))
	}
	if got := s.pipeline("", "PRAGMA foreign_keys").text(0); got != "1" {
		t.Errorf("another stream has foreign_keys=%s", got)
	}
}

func TestSQLForeignKeys(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	a := s.pipeline("", `{"type":"sequence","sql":"CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED)"}`,
		"INSERT INTO c VALUES(1)", "BEGIN", "INSERT INTO c VALUES(1)", "COMMIT", "INSERT INTO p VALUES(1)", "COMMIT",
		"PRAGMA foreign_keys=OFF", "INSERT INTO c VALUES(2)")
	if got := a.codes(); got != "ok SQLITE_CONSTRAINT_FOREIGNKEY ok ok SQLITE_CONSTRAINT_FOREIGNKEY ok ok ok ok" {
		t.Error(got)
	}
	if got := s.pipeline("", "SELECT group_concat(p) FROM c", "INSERT INTO c VALUES(3)"); got.text(0) != "1,2" || got.Results[1].Type != "error" {
		t.Errorf("%s, then %s", got.text(0), got.codes())
	}
}

func TestSQLStaysInside(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(x)")
	for _, sql := range []string{
		"ATTACH '/etc/passwd' AS x", "ATTACH ':memory:' AS x", "DETACH main", "VACUUM", "VACUUM INTO '/tmp/x'",
		"PRAGMA writable_schema=1", "PRAGMA main.writable_schema=ON", "PRAGMA journal_mode=DELETE", "PRAGMA locking_mode=NORMAL", "PRAGMA temp_store_directory='/tmp'",
		"PRAGMA database_list", "SELECT * FROM pragma_database_list", "PRAGMA trusted_schema=1", "PRAGMA wal_checkpoint", "PRAGMA max_page_count=1",
		"PRAGMA page_size=512", "PRAGMA encoding='UTF-16'", "PRAGMA auto_vacuum=1", "PRAGMA hard_heap_limit=1", "PRAGMA query_only=1", "PRAGMA schema_version=9",
		"CREATE TEMP TABLE x(y)", "CREATE TABLE temp.x(y)", "CREATE VIEW temp.x AS SELECT 1", "CREATE TEMP VIEW x AS SELECT 1", "CREATE TEMPORARY TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
		"SELECT load_extension('/tmp/x')", "SELECT fts3_tokenizer('x')",
		"INSERT INTO sqlite_schema VALUES('table','x','x',2,'')", "UPDATE sqlite_dbpage SET data = zeroblob(4096)",
		"CREATE TABLE agentdb_x(y)", "DROP TABLE agentdb_conflicts", "ALTER TABLE t RENAME TO agentdb_t",
		"SELECT readfile('/etc/passwd')", "SELECT writefile('/tmp/x', 'y')",
	} {
		if a := s.pipeline("", sql); a.Results[0].Type == "ok" && a.text(0) != "" || a.Results[0].Type == "ok" && !strings.Contains(sql, "journal_mode") {
			t.Errorf("%s: %s %s", sql, a.codes(), a.text(0))
		}
	}
	for _, sql := range []string{
		"PRAGMA table_info(t)", "SELECT * FROM pragma_table_info('t')", "PRAGMA journal_mode=WAL", "PRAGMA busy_timeout=5000", "PRAGMA synchronous=OFF",
		"PRAGMA read_uncommitted", "PRAGMA read_uncommitted=1",
		"PRAGMA user_version=7", "PRAGMA integrity_check", "ANALYZE", "REINDEX", "PRAGMA optimize", "SELECT * FROM agentdb_conflicts",
	} {
		if got := s.pipeline("", sql).codes(); got != "ok" {
			t.Errorf("%s: %s", sql, got)
		}
	}
	if a := s.pipeline("", "PRAGMA journal_mode", "PRAGMA user_version", "PRAGMA synchronous=0"); a.text(0) != "wal" || a.text(1) != "7" {
		t.Errorf("%s %s", a.text(0), a.text(1))
	}
}

func TestSQLLimits(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true, Limits: server.Limits{MaxAnswer: 100_000, StatementTimeout: time.Second}})
	a := s.pipeline("", "CREATE TABLE t(x)", "INSERT INTO t VALUES(1)",
		"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 100000) SELECT n FROM c",
		"INSERT INTO t SELECT printf('%020000d', value) FROM json_each('[1,2,3,4,5,6,7,8,9]') RETURNING x",
		"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT count(*) FROM c",
		"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) INSERT INTO t SELECT count(*) FROM c",
		"SELECT count(*) FROM t")
	want := "ok ok RESPONSE_TOO_LARGE RESPONSE_TOO_LARGE SQLITE_INTERRUPT SQLITE_INTERRUPT ok"
	if got := a.codes(); got != want || a.text(6) != "1" {
		t.Errorf("%s, %s rows; want %s and 1", got, a.text(6), want)
	}
}

// TestSQLLargeRow makes a row of 40 GB.
func TestSQLLargeRow(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	row := "SELECT " + strings.Repeat("hex(zeroblob(100000000)),", 199) + "1"
	a := s.pipeline("", row, "CREATE TABLE t(x)", "INSERT INTO t VALUES(zeroblob(20000000))",
		"SELECT length(x) FROM t")
	if got := a.codes(); got != "SQLITE_TOOBIG ok ok ok" || a.text(3) != "20000000" {
		t.Errorf("%s, %s bytes", got, a.text(3))
	}
}

func TestSQLMemory(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true, Limits: server.Limits{MaxMemory: 1 << 20, MaxDecoded: 1 << 20}})
	status, body := s.post("/db/t/v2/pipeline", "", `{"requests":[`+strings.Repeat("{},", 10_000)+`{}]}`)
	if status != 413 {
		t.Errorf("many parts: %d %s", status, body)
	}
	a := s.pipeline("", "SELECT hex(zeroblob(300000)) UNION ALL SELECT hex(zeroblob(300001))", "SELECT hex(zeroblob(10000))")
	if got := a.codes(); got != "SERVER_BUSY ok" {
		t.Errorf("a large answer: %s", got)
	}
	for range 20 { // all of it is given back
		if got := s.pipeline("", "SELECT hex(zeroblob(200000))").codes(); got != "ok" {
			t.Fatal(got)
		}
	}
}

func TestSQLCursor(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	status, body := s.post("/db/t/v3/cursor", "", `{"batch":{"steps":[{"stmt":{"sql":"SELECT 1 AS a UNION SELECT 2"}},{"stmt":{"sql":"SELECT * FROM nope"}},
		{"stmt":{"sql":"SELECT 3"},"condition":{"type":"ok","step":1}},{"stmt":{"sql":"SELECT 4","want_rows":false},"condition":{"type":"is_autocommit"}}]}}`)
	const want = `{"baton":null,"base_url":null}
{"type":"step_begin","step":0,"cols":[{"name":"a","decltype":null}]}
{"type":"row","row":[{"type":"integer","value":"1"}]}
{"type":"row","row":[{"type":"integer","value":"2"}]}
{"type":"step_end","affected_row_count":0,"last_insert_rowid":null}
{"type":"step_error","step":1,"error":{"message":"SQLite error: no such table: nope","code":"SQLITE_ERROR"}}
{"type":"step_begin","step":3,"cols":[{"name":"4","decltype":null}]}
{"type":"step_end","affected_row_count":0,"last_insert_rowid":null}
`
	if status != 200 || body != want {
		t.Errorf("%d\n%s", status, body)
	}
}

func TestSQLTokens(t *testing.T) {
	s := newSQL(t, server.Config{Domain: "db.example.com"})
	token := func(db, access string) string {
		tok, err := server.CreateToken(s.dir, server.TokenSpec{Database: db, Access: access})
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	const write = `{"requests":[{"type":"execute","stmt":{"sql":"CREATE TABLE IF NOT EXISTS t(x)"}},{"type":"execute","stmt":{"sql":"SELECT count(*) FROM t"}}]}`
	for _, c := range []struct {
		url, token string
		status     int
		want       string
	}{
		{"/db/a/v2/pipeline", "", 401, `"UNAUTHORIZED"`},
		{"/db/a/v2/pipeline", "x", 401, `"UNAUTHORIZED"`},
		{"/db/a/v2/pipeline", token("a", "read"), 404, `"NOT_FOUND"`},
		{"/db/a/v2/pipeline", token("a", "full"), 200, `"value":"0"`},
		{"/db/a/v2/pipeline", token("*", "full"), 200, `"value":"0"`},
		{"/db/a/v2/pipeline", token("b", "full"), 403, `"FORBIDDEN"`},
		{"/db/a/v2/pipeline", token("a", "push"), 403, `"FORBIDDEN"`},
		{"/db/a/v2/pipeline", token("a", "pull"), 403, `"FORBIDDEN"`},
		{"/db/a/v2/pipeline", token("a", "read"), 200, `"SQLITE_READONLY"`},
		{"http://a.db.example.com/v2/pipeline", token("a", "full"), 200, `"value":"0"`},
		{"http://b.db.example.com/v2/pipeline", token("a", "full"), 403, `"FORBIDDEN"`},
		{"http://127.0.0.1/v2/pipeline", token("a", "full"), 200, `"value":"0"`},
		{"http://127.0.0.1/db/v2/pipeline", token("a", "full"), 200, `"value":"0"`}, // where @libsql/client ends up with /db/a
		{"http://127.0.0.1/v2/pipeline", token("*", "read"), 404, `"NOT_FOUND"`},
	} {
		if status, body := s.post(c.url, c.token, write); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s; want %d with %s", c.url, status, body, c.status, c.want)
		}
	}
}

func TestSQLFromWebPages(t *testing.T) {
	for _, c := range []struct {
		dev            bool
		origin, method string
		status         int
		allow          string
	}{
		{true, "http://localhost:3000", "OPTIONS", 204, "http://localhost:3000"},
		{true, "http://localhost:3000", "POST", 200, "http://localhost:3000"},
		{true, "https://evil.example", "OPTIONS", 204, ""},
		{true, "https://evil.example", "POST", 403, ""},
		{false, "https://app.example", "OPTIONS", 204, "*"},
		{false, "https://app.example", "POST", 401, "*"},
	} {
		s := newSQL(t, server.Config{Dev: c.dev})
		r := httptest.NewRequest(c.method, "/db/t/v2/pipeline", strings.NewReader(`{"requests":[]}`))
		r.Header.Set("Origin", c.origin)
		r.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
		w := httptest.NewRecorder()
		s.srv.ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != c.status || got != c.allow {
			t.Errorf("%+v: %d, allows %q", c, w.Code, got)
		}
		// The last two are for the Platform API.
		if got := w.Header().Get("Access-Control-Allow-Methods"); c.method == "OPTIONS" && c.allow != "" && got != "GET, POST, PATCH, DELETE" {
			t.Errorf("%+v: allows the methods %q", c, got)
		}
	}
}
