package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

func errorCode(body []byte) Code {
	var e errorBody
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	return e.Error.Code
}

func TestRoutes(t *testing.T) {
	f := newFake()
	for _, c := range []struct{ domain, url, want, org string }{
		{"", "http://127.0.0.1:8080/sync", "default", ""},
		{"", "http://[::1]:8080/sync", "default", ""},
		{"", "http://localhost/sync", "default", ""},
		{"", "http://localhost:8080/sync", "default", ""},
		{"", "http://box/sync", "default", ""},
		{"", "http://agent-7.localhost:8080/sync", "agent-7", ""},
		{"", "http://Agent-7.LOCALHOST./sync", "agent-7", ""},
		{"", "http://shared-tasks.example.com/sync", "shared-tasks", ""},
		{"", "http://a.example.com/db/b/sync", "b", ""}, // the path wins
		{"", "http://localhost/db/default/sync", "default", ""},
		{"", "http://localhost/db/a.b_c-1/sync", "a.b_c-1", ""},
		{"db.example.com", "http://db.example.com/sync", "default", ""},
		{"db.example.com", "http://a.db.example.com:443/sync", "a", ""},
		{"db.example.com", "http://a.b.db.example.com/sync", "a.b", ""},
		{"db.example.com", "http://a.example.com/sync", "default", ""},
		{"DB.example.com.", "http://a.DB.Example.com/sync", "a", ""},
		{"db.example.com", "http://xdb.example.com/sync", "default", ""},
		{"db.example.com", "http://a.db.example.com/db/b/sync", "b", ""},
		{"", "http://notes-acme.localhost/sync", "notes-acme", ""},
		{"", "http://notes--g--acme.localhost/sync", "notes--g--acme", ""},
		{"", "http://notes-acme.localhost/sync", "notes", "acme"},
		{"", "http://notes.localhost/sync", "notes", "acme"},
		{"", "http://notes--g--acme.localhost/sync", "notes", "acme"},
		{"", "http://my--notes--g--acme.localhost/sync", "my--notes", "acme"},
		{"", "http://notes--g--other.localhost/sync", "notes--g--other", "acme"}, // of nobody else
		{"", "http://notes-other.localhost/sync", "notes-other", "acme"},
		{"", "http://acme.localhost/sync", "acme", "acme"},
		{"", "http://notes-my-org.localhost/sync", "notes", "my-org"},
		{"db.example.com", "http://Notes-Acme.db.example.com/sync", "notes", "acme"},
		{"", "http://localhost/db/notes-acme/sync", "notes-acme", "acme"}, // a path says what it means
	} {
		s := newTest(t, f, Config{Dev: true, Domain: c.domain, Organization: c.org})
		if status, _, body := do(s, syncRequest(c.url, &wire.Request{})); status != 200 {
			t.Errorf("%s (domain %q): %d %s", c.url, c.domain, status, body)
			continue
		}
		if got := f.last(t).name; got != c.want {
			t.Errorf("%s (domain %q) is database %q, want %q", c.url, c.domain, got, c.want)
		}
		f = newFake()
	}
}

func TestBadNames(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{Dev: true})
	for _, url := range []string{
		"http://localhost/db/UPPER/sync",
		"http://localhost/db/-a/sync",
		"http://localhost/db/%2e%2e/sync",
		"http://localhost/db/a%2Fb/sync",
		"http://localhost/db/" + strings.Repeat("x", 65) + "/sync",
		"http://-x.example.com/sync",
		"http://*.example.com/sync",
	} {
		if status, code, _ := do(s, syncRequest(url, &wire.Request{})); status != 400 || code != CodeMalformed {
			t.Errorf("%s: %d %s", url, status, code)
		}
	}
	if n := f.count(); n != 0 {
		t.Errorf("%d of them reached the databases", n)
	}
}

func TestPathsAndMethods(t *testing.T) {
	s := newTest(t, newFake(), Config{})
	for _, c := range []struct {
		method, path string
		status       int
		code         Code
	}{
		{"GET", "/healthz", 200, ""},
		{"GET", "/version", 200, ""},
		{"GET", "/metrics", 200, ""},
		{"POST", "/healthz", 405, CodeMethod},
		{"DELETE", "/metrics", 405, CodeMethod},
		{"GET", "/sync", 405, CodeMethod},
		{"GET", "/db/a/sync", 405, CodeMethod},
		{"GET", "/", 404, CodeNotFound},
		{"POST", "/db/a", 404, CodeNotFound},
		{"POST", "/db/a/b/sync", 404, CodeNotFound},
		{"GET", "/debug/pprof/", 404, CodeNotFound},
	} {
		if status, code, body := do(s, httptest.NewRequest(c.method, c.path, nil)); status != c.status || code != c.code {
			t.Errorf("%s %s: %d %s %s, want %d %s", c.method, c.path, status, code, body, c.status, c.code)
		}
	}
}

func TestAnswerIsFramedAndMeasured(t *testing.T) {
	f := newFake()
	want := &wire.Response{Head: wire.Revision{Seq: 7, Hash: [8]byte{1}}, Last: 3}
	f.answer = func(context.Context, call) (*tenant.Answer, error) { return &tenant.Answer{Response: want}, nil }
	s := newTest(t, f, Config{Dev: true})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, syncRequest("/sync", &wire.Request{Mode: wire.ModePull}))
	if got := w.Header().Get("Content-Length"); got != fmt.Sprint(w.Body.Len()) {
		t.Errorf("Content-Length %q of %d bytes", got, w.Body.Len())
	}
	msg, err := wire.ReadFrame(bufio.NewReader(w.Body), nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.DecodeResponse(msg, 1<<20)
	if err != nil || got.Head != want.Head || got.Last != want.Last {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestErrorsOfDatabases(t *testing.T) {
	f := newFake()
	var logged syncWriter
	s := newTest(t, f, Config{Dev: true, Logger: logTo(&logged, slog.LevelInfo)})
	const secret = "page 17 of /var/lib/agentdb"
	for _, c := range []struct {
		err    error
		status int
		code   Code
	}{
		{tenant.ErrNotFound, 404, CodeNotFound},
		{tenant.ErrForbidden, 403, CodeForbidden},
		{tenant.ErrMalformed, 400, CodeMalformed},
		{tenant.ErrTooLarge, 413, CodeTooLarge},
		{tenant.ErrTimeout, 413, CodeTooLarge},
		{tenant.ErrQuota, 507, CodeQuota},
		{tenant.ErrBusy, 503, CodeUnavailable},
		{tenant.ErrClosed, 503, CodeUnavailable},
		{tenant.ErrDiverged, 409, CodeConflict},
		{context.DeadlineExceeded, 503, CodeUnavailable},
		{&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, 507, CodeQuota},
		{&sqlite.Error{Code: sqlite.CodeFull}, 507, CodeQuota},
		{errors.New("anything"), 500, CodeInternal},
	} {
		f.answer = func(context.Context, call) (*tenant.Answer, error) {
			return nil, fmt.Errorf("%s: %w", secret, c.err)
		}
		status, code, body := do(s, syncRequest("/db/x/sync", &wire.Request{}))
		if status != c.status || code != c.code {
			t.Errorf("%v: %d %s, want %d %s", c.err, status, code, c.status, c.code)
		}
		if strings.Contains(body, secret) {
			t.Errorf("%v leaves the server: %s", c.err, body)
		}
	}
	if !strings.Contains(logged.String(), secret) {
		t.Error("the log lacks the details")
	}
}

func TestPanicIsContained(t *testing.T) {
	f := newFake()
	f.answer = func(context.Context, call) (*tenant.Answer, error) { panic("boom") }
	var logged syncWriter
	s := newTest(t, f, Config{Dev: true, Logger: logTo(&logged, slog.LevelInfo)})
	if status, code, body := do(s, syncRequest("/sync", &wire.Request{})); status != 500 || code != CodeInternal || strings.Contains(body, "boom") {
		t.Errorf("%d %s", status, body)
	}
	if l := logged.String(); !strings.Contains(l, "boom") || !strings.Contains(l, "level=ERROR") {
		t.Errorf("log: %s", l)
	}
	f.answer = nil
	if status, _, _ := do(s, syncRequest("/sync", &wire.Request{})); status != 200 {
		t.Errorf("after the panic: %d", status)
	}
}

func TestLogHasNoSecrets(t *testing.T) {
	var logged syncWriter
	s := newTest(t, newFake(), Config{Logger: logTo(&logged, slog.LevelDebug)})
	tok, err := CreateToken(s.cfg.DataDir, TokenSpec{Database: "tasks"})
	if err != nil {
		t.Fatal(err)
	}
	r := syncRequest("/db/tasks/sync?jwt="+tok, &wire.Request{})
	r.Header.Set("Authorization", "Bearer "+tok)
	if status, _, body := do(s, r); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	bad := syncRequest("/db/tasks/sync", &wire.Request{})
	bad.Header.Set("Authorization", "Bearer "+tok+"x")
	do(s, bad)
	l := logged.String()
	if strings.Contains(l, tok) || strings.Contains(l, "jwt=") {
		t.Errorf("a token is in the log: %s", l)
	}
	if n := strings.Count(l, "msg=request"); n != 2 {
		t.Errorf("%d lines for 2 requests: %s", n, l)
	}
	for _, want := range []string{"level=INFO", "method=POST", "path=/db/tasks/sync", "db=tasks", "status=200", "status=401", "in=", "out=", "took=", "id="} {
		if !strings.Contains(l, want) {
			t.Errorf("log lacks %s: %s", want, l)
		}
	}
}

func TestSnapshotStreamIsWholeOrCut(t *testing.T) {
	data := bytes.Repeat([]byte("agentdb!"), wire.PageSize/8)
	chunk := func(no uint32) []byte { return wire.AppendPages(nil, no, data) }
	f := newFake()
	s := newTest(t, f, Config{Dev: true})
	addr, _ := start(t, s)
	get := func(end error) (*http.Response, []byte, error) {
		f.answer = func(context.Context, call) (*tenant.Answer, error) {
			return &tenant.Answer{
				Response: &wire.Response{Status: wire.StatusSnapshot, Pages: 3},
				Pages:    pagesOf(end, chunk(1), chunk(2), chunk(3)),
			}, nil
		}
		res, err := http.Post("http://"+addr+"/sync", wire.ContentType, bytes.NewReader((&wire.Request{Mode: wire.ModeSnapshot}).Append(nil)))
		if err != nil {
			return nil, nil, err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return res, body, err
	}
	res, body, err := get(nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	r := bufio.NewReader(bytes.NewReader(body))
	if _, err := wire.ReadFrame(r, nil, 1<<20); err != nil {
		t.Fatal(err)
	}
	for no := uint32(1); no <= 3; no++ {
		msg, err := wire.ReadFrame(r, nil, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if first, got, err := wire.DecodePages(nil, msg); err != nil || first != no || !bytes.Equal(got, data) {
			t.Fatalf("chunk %d: %d, %v", no, first, err)
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("more than the chunks: %v", err)
	}
	if _, body, err := get(errors.New("disk on fire")); err == nil {
		t.Errorf("a snapshot that failed ended properly after %d bytes", len(body))
	} else if bytes.Contains(body, []byte("disk")) {
		t.Error("the reason leaves the server")
	}
}

func TestMetrics(t *testing.T) {
	s := newTest(t, newFake(), Config{Dev: true})
	do(s, syncRequest("/sync", &wire.Request{}))
	do(s, syncRequest("/sync", &wire.Request{WaitMS: 1}))
	do(s, httptest.NewRequest("GET", "/db/secret-name/nothing", nil))
	_, _, body := do(s, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`agentdb_requests_total{route="sync",status="200"} 1`,
		`agentdb_requests_total{route="poll",status="200"} 1`,
		`agentdb_requests_total{route="other",status="404"} 1`,
		"agentdb_commits_total 42", "agentdb_databases_open 3", "agentdb_request_seconds_bucket", "go_goroutines",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if strings.Contains(body, "secret-name") {
		t.Error("a database's name is in the metrics")
	}
	doc, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, _ = bytes.Cut(doc, []byte("## Metrics"))
	for _, line := range strings.Split(body, "\n") {
		if name, ok := strings.CutPrefix(line, "# TYPE agentdb_"); ok {
			name, _, _ = strings.Cut(name, " ")
			if !bytes.Contains(doc, []byte("`agentdb_"+name+"{")) && !bytes.Contains(doc, []byte("`agentdb_"+name+"`")) {
				t.Errorf("docs/operations.md doesn't have agentdb_%s", name)
			}
		}
	}
}

func TestWaitIsCapped(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{Dev: true, Limits: Limits{MaxWait: 30 * time.Millisecond}})
	f.answer = f.wait
	begin := time.Now()
	if status, _, _ := do(s, syncRequest("/sync", &wire.Request{Mode: wire.ModePull, WaitMS: 1 << 30})); status != 200 {
		t.Error(status)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("waited %v", took)
	}
	if got := f.last(t).req.WaitMS; got != 30 {
		t.Errorf("asked the databases to wait %d ms", got)
	}
}
