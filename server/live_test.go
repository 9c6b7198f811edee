package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentdb/agentdb/internal/wire"
)

// cloud is a real server and an API token of its first owner.
type cloud struct {
	*Server
	addr, token string
}

func newCloud(t *testing.T, cfg Config) *cloud {
	t.Helper()
	cfg.DataDir = t.TempDir()
	token, err := CreateAPIToken(t.Context(), cfg.DataDir, APITokenSpec{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{Server: newStored(t, cfg), token: token}
	c.addr, _ = start(t, c.Server)
	return c
}

// do makes a request of any kind and returns its status and body.
func (c *cloud) do(t *testing.T, token, method, path, contentType string, body []byte) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+c.addr+path, bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", contentType)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// api calls the Platform API, which must answer 200.
func (c *cloud) api(t *testing.T, method, path, body string) map[string]any {
	t.Helper()
	status, b := c.do(t, c.token, method, path, "", []byte(body))
	out := map[string]any{}
	if err := json.Unmarshal([]byte(b), &out); err != nil || status != 200 {
		t.Fatalf("%s %s: %d %s", method, path, status, b)
	}
	return out
}

func (c *cloud) create(t *testing.T, name string) (token string) {
	t.Helper()
	c.api(t, "POST", "/v1/databases", fmt.Sprintf(`{"name":%q}`, name))
	return c.api(t, "POST", "/v1/databases/"+name+"/auth/tokens", "")["jwt"].(string)
}

// sql runs statements by Hrana and returns the status and the answer.
func (c *cloud) sql(t *testing.T, token, name, baton string, statements ...string) (int, string) {
	t.Helper()
	var requests []any
	for _, s := range statements {
		requests = append(requests, map[string]any{"type": "execute", "stmt": map[string]any{"sql": s}})
	}
	q := map[string]any{"requests": requests}
	if baton != "" {
		q["baton"] = baton
	}
	b, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	return c.do(t, token, "POST", "/db/"+name+"/v2/pipeline", "application/json", b)
}

// voids is what takes a token's rights away.
var voids = map[string]struct{ method, path, body string }{
	"rotate":       {"POST", "/v1/databases/a/auth/rotate", ""},
	"rotate group": {"POST", "/v1/groups/default/auth/rotate", ""},
	"block":        {"PATCH", "/v1/databases/a/configuration", `{"block_reads":true,"block_writes":true}`},
	"delete":       {"DELETE", "/v1/databases/a", ""},
}

// TestVoidedWhileWaiting: who waits for news with a token that is voided is sent
// away at once.
func TestVoidedWhileWaiting(t *testing.T) {
	pull := &wire.Request{Mode: wire.ModePull, WaitMS: 40_000}
	polls := map[string]struct {
		path, kind string
		body       []byte
	}{
		"sync":  {"/db/a/sync", wire.ContentType, pull.Append(nil)},
		"pages": {"/db/a/pull-updates", "application/protobuf", nil},
	}
	for what, v := range voids {
		for how, p := range polls {
			t.Run(what+"/"+how, func(t *testing.T) {
				c := newCloud(t, Config{})
				token := c.create(t, "a")
				if how == "pages" {
					_, first := c.do(t, token, "POST", p.path, p.kind, nil)
					rev := revisionIn(t, first)
					p.body = append(append([]byte{0x1a, byte(len(rev))}, rev...), 0x20, 0xc0, 0xb8, 0x02) // client_revision, long_poll_timeout
				}
				type outcome struct {
					status int
					body   string
				}
				done := make(chan outcome)
				go func() {
					status, body := c.do(t, token, "POST", p.path, p.kind, p.body)
					done <- outcome{status, body}
				}()
				for c.dbs.Stats().Waiting == 0 {
					select {
					case o := <-done:
						t.Fatalf("it didn't wait: %d %q", o.status, o.body)
					case <-time.After(time.Millisecond):
					}
				}
				c.api(t, v.method, v.path, v.body)
				select {
				case o := <-done:
					if o.status != 401 && o.status != 403 && o.status != 404 {
						t.Errorf("%d %s", o.status, o.body)
					}
				case <-time.After(10 * time.Second):
					t.Error("it waits on")
				}
			})
		}
	}
}

// revisionIn returns the revision in the header of an answer with pages.
func revisionIn(t *testing.T, body string) string {
	t.Helper()
	if len(body) < 3 || body[1] != 0x0a || len(body) < 3+int(body[2]) {
		t.Fatalf("no answer with pages: %q", body)
	}
	return body[3 : 3+int(body[2])]
}

// TestVoidedSocket: a WebSocket whose token is voided is closed, and what it had
// begun is rolled back; the same for a transaction over HTTP.
func TestVoidedSocket(t *testing.T) {
	for what, v := range voids {
		t.Run(what, func(t *testing.T) {
			c := newCloud(t, Config{})
			token := c.create(t, "a")
			if status, body := c.sql(t, token, "a", "", "CREATE TABLE t(x)"); status != 200 {
				t.Fatalf("%d %s", status, body)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			ws, _, err := websocket.Dial(ctx, "ws://"+c.addr+"/db/a", &websocket.DialOptions{Subprotocols: []string{"hrana3"}})
			if err != nil {
				t.Fatal(err)
			}
			defer ws.CloseNow()
			ask := func(msg string) (string, error) {
				if err := ws.Write(ctx, websocket.MessageText, []byte(msg)); err != nil {
					return "", err
				}
				_, b, err := ws.Read(ctx)
				return string(b), err
			}
			execute := func(sql string) string {
				return fmt.Sprintf(`{"type":"request","request_id":2,"request":{"type":"execute","stream_id":1,"stmt":{"sql":%q}}}`, sql)
			}
			for _, msg := range []string{
				fmt.Sprintf(`{"type":"hello","jwt":%q}`, token), `{"type":"request","request_id":1,"request":{"type":"open_stream","stream_id":1}}`,
				execute("BEGIN IMMEDIATE"), execute("INSERT INTO t VALUES ('half')"),
			} {
				if answer, err := ask(msg); err != nil || strings.Contains(answer, "error") {
					t.Fatalf("%s: %s, %v", msg, answer, err)
				}
			}
			c.api(t, v.method, v.path, v.body)
			if answer, err := ask(execute("SELECT 1")); err == nil && !strings.Contains(answer, "error") {
				t.Errorf("a statement is answered: %s", answer)
			}
			for err == nil { // until it is closed
				_, _, err = ws.Read(ctx)
			}
			if ctx.Err() != nil {
				t.Error("it stays open")
			}
			if what == "rotate" || what == "rotate group" {
				token = c.api(t, "POST", "/v1/databases/a/auth/tokens", "")["jwt"].(string)
				if status, body := c.sql(t, token, "a", "", "INSERT INTO t VALUES ('whole')", "SELECT group_concat(x) FROM t"); status != 200 || !strings.Contains(body, `"whole"`) {
					t.Errorf("what was begun is still there: %d %s", status, body)
				}
			}
		})
	}
}

// TestVoidedTransaction: the next request of a transaction over HTTP is refused.
func TestVoidedTransaction(t *testing.T) {
	c := newCloud(t, Config{Limits: Limits{TransactionIdle: time.Second}})
	token := c.create(t, "a")
	_, body := c.sql(t, token, "a", "", "CREATE TABLE t(x)", "BEGIN IMMEDIATE", "INSERT INTO t VALUES ('half')")
	var first struct{ Baton string }
	if err := json.Unmarshal([]byte(body), &first); err != nil || first.Baton == "" {
		t.Fatalf("%s", body)
	}
	c.api(t, "POST", "/v1/databases/a/auth/rotate", "")
	if status, body := c.sql(t, token, "a", first.Baton, "COMMIT"); status != 401 {
		t.Errorf("%d %s", status, body)
	}
	token = c.api(t, "POST", "/v1/databases/a/auth/tokens", "")["jwt"].(string)
	if status, body := c.sql(t, token, "a", "", "SELECT count(*) FROM t"); status != 200 || !strings.Contains(body, `"value":"0"`) {
		t.Errorf("%d %s", status, body)
	}
}
