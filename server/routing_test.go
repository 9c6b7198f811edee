package server_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentdb/agentdb/internal/wire"
	"github.com/agentdb/agentdb/server"
)

// mix is one way to name a database: the first of path, namespace, host and
// token that names one counts.
type mix struct {
	host, path, namespace, token string
}

// Hosts of a server with the domain db.test and the organization acme, and the
// databases that they name.
var mixHosts = map[string]string{
	"127.0.0.1:80": "", "db.test": "", "elsewhere.test": "",
	"a.db.test": "a", "B.DB.test.": "b", "a-acme.db.test": "a", "b--g--acme.db.test:8080": "b",
	"a--g--other.db.test": "a--g--other", "a-acme-acme.db.test": "a-acme",
}

// mixes returns all of them, with the database that each names.
func mixes(tokens []string) map[mix]string {
	out := map[mix]string{}
	for host, named := range mixHosts {
		for _, path := range []string{"", "a", "b"} {
			for _, namespace := range []string{"", "a", "b"} {
				for _, token := range tokens {
					m := mix{host, path, namespace, token}
					out[m] = cmp.Or(path, namespace, named, strings.Trim(strings.TrimSuffix(token, "/read"), "*!"), "default")
				}
			}
		}
	}
	return out
}

// opens reports whether the token is good for a database.
func (m mix) opens(db string) bool {
	of, _, _ := strings.Cut(m.token, "/")
	return of == "*" || of == db
}

func canary(db string) string { return "canary of " + db + "." }

// routingServer has a canary in each of some databases, and tokens.
func routingServer(t *testing.T) (s *sqlServer, tokens map[string]string) {
	s = newSQL(t, server.Config{Domain: "db.test", Organization: "acme"})
	tokens = map[string]string{"!": "forged"}
	for _, name := range []string{"*", "a", "b", "a-acme", "default", "a/read"} {
		db, access, _ := strings.Cut(name, "/")
		token, err := server.CreateToken(s.dir, server.TokenSpec{Database: db, Access: access})
		if err != nil {
			t.Fatal(err)
		}
		tokens[name] = token
	}
	for _, db := range []string{"a", "b", "a-acme", "a--g--other", "default"} {
		body := fmt.Sprintf(`{"requests":[{"type":"sequence","sql":"CREATE TABLE t(x); INSERT INTO t VALUES ('%s')"}]}`, canary(db))
		if status, text := s.post("/db/"+db+"/v2/pipeline", tokens["*"], body); status != 200 || strings.Contains(text, "error") {
			t.Fatal(status, text)
		}
	}
	return s, tokens
}

// readers are requests that answer with everything a database has.
var readers = map[string]func() *http.Request{
	"/v2/pipeline":          postSQL(`{"requests":[{"type":"execute","stmt":{"sql":"SELECT x FROM t"}}]}`),
	"/v3/cursor":            postSQL(`{"batch":{"steps":[{"stmt":{"sql":"SELECT x FROM t"}}]}}`),
	"/v3-protobuf/pipeline": postSQL("\x12\x15\x12\x13\x0a\x11\x0a\x0fSELECT x FROM t"),
	"/pull-updates":         postSQL(""),
	"/export":               getSQL,
	"/dump":                 getSQL,
	"/sync": func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader((&wire.Request{Mode: wire.ModePull}).Append(nil)))
		r.Header.Set("Content-Type", wire.ContentType)
		return r
	},
}

func postSQL(body string) func() *http.Request {
	return func() *http.Request { return httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)) }
}

func getSQL() *http.Request { return httptest.NewRequest(http.MethodGet, "/", nil) }

// A token opens its database and no other, whatever a request says beside.
func TestRoutingMixes(t *testing.T) {
	s, tokens := routingServer(t)
	all := mixes([]string{"*", "a", "b", "a-acme", "default", "a/read", "!"})
	heads := map[wire.Revision]string{}
	for path, makeRequest := range readers {
		t.Run(path, func(t *testing.T) {
			for m, db := range all {
				r := makeRequest()
				r.Host, r.URL.Path = m.host, path
				if m.path != "" {
					r.URL.Path = "/db/" + m.path + path
				}
				if m.namespace != "" {
					r.Header.Set("X-Namespace", m.namespace)
				}
				r.Header.Set("Authorization", "Bearer "+tokens[m.token])
				w := httptest.NewRecorder()
				s.srv.ServeHTTP(w, r)
				body := w.Body.String()
				switch want := statusOf(m, db); {
				case w.Code != want:
					t.Errorf("%+v: %d %q, want %d of %s", m, w.Code, body, want, db)
				case want == 200 && path == "/sync":
					if head := headOf(t, body); heads[head] != "" && heads[head] != db {
						t.Errorf("%+v: the head of %s is that of %s", m, db, heads[head])
					} else {
						heads[head] = db
					}
				case strings.Count(body, "canary of ") != strings.Count(body, canary(db)), want == 200 != strings.Contains(body, canary(db)):
					t.Errorf("%+v: not the canary of %s, or one more: %q", m, db, body)
				}
			}
		})
	}
	if len(heads) != 5 {
		t.Errorf("%d databases were synced", len(heads))
	}
}

func statusOf(m mix, db string) int {
	switch {
	case m.token == "!":
		return 401
	case !m.opens(db):
		return 403
	}
	return 200
}

func headOf(t *testing.T, body string) wire.Revision {
	t.Helper()
	msg, err := wire.ReadFrame(bufio.NewReader(strings.NewReader(body)), nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := wire.DecodeResponse(msg, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Head
}

func TestRoutingMixesOverWebSocket(t *testing.T) {
	s, tokens := routingServer(t)
	addr, _ := serveSQL(t, s)
	for m, db := range mixes([]string{"*", "a", "a/read", "!"}) {
		path := "/"
		if m.path != "" {
			path = "/db/" + m.path
		}
		header := http.Header{}
		if m.namespace != "" {
			header.Set("X-Namespace", m.namespace)
		}
		answer := socketAnswer(t, "ws://"+addr+path, &websocket.DialOptions{Host: m.host, HTTPHeader: header, Subprotocols: []string{"hrana3"}}, tokens[m.token])
		if good := statusOf(m, db) == 200; good != strings.Contains(answer, canary(db)) || strings.Count(answer, "canary of ") > strings.Count(answer, canary(db)) {
			t.Errorf("%+v, which is %s: %s", m, db, answer)
		}
	}
}

// socketAnswer reads the canary of the database behind a WebSocket.
func socketAnswer(t *testing.T, url string, o *websocket.DialOptions, token string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body != nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	defer func() { _ = ws.CloseNow() }()
	hello, _ := json.Marshal(map[string]string{"type": "hello", "jwt": token})
	for _, msg := range []string{string(hello), request(1, `"type":"open_stream","stream_id":1`), execute(2, 1, "SELECT x FROM t")} {
		if err := ws.Write(ctx, websocket.MessageText, []byte(msg)); err != nil {
			break // it was refused
		}
	}
	var answers strings.Builder
	for range 3 {
		_, b, err := ws.Read(ctx)
		if err != nil {
			break
		}
		answers.Write(b)
	}
	return answers.String()
}
