package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentdb/agentdb/server"
)

// serveSQL serves on a loopback port until the test ends, or stop is called.
func serveSQL(t *testing.T, s *sqlServer) (addr string, stop func()) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.srv.Serve(ctx, ln) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

// socket is a client's end of a WebSocket.
type socket struct {
	t  *testing.T
	ws *websocket.Conn
}

func dial(t *testing.T, url string, protocols ...string) *socket {
	t.Helper()
	ws, resp, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: protocols})
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	ws.SetReadLimit(1 << 24)
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &socket{t, ws}
}

func (s *socket) send(msgs ...string) {
	s.t.Helper()
	for _, m := range msgs {
		if err := s.ws.Write(s.t.Context(), websocket.MessageText, []byte(m)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// receive returns the next message.
func (s *socket) receive() string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	_, b, err := s.ws.Read(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// expect receives the answers to requests, by their ids.
func (s *socket) expect(want map[int]string) {
	s.t.Helper()
	for range want {
		msg := s.receive()
		var m struct {
			RequestID int `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(msg), &m); err != nil {
			s.t.Fatal(err)
		}
		if part, ok := want[m.RequestID]; !ok || !strings.Contains(msg, part) {
			s.t.Errorf("request %d: %s, want %s", m.RequestID, msg, part)
		}
	}
}

func request(id int, body string) string {
	return fmt.Sprintf(`{"type":"request","request_id":%d,"request":{%s}}`, id, body)
}

func execute(id, stream int, sql string) string {
	return request(id, fmt.Sprintf(`"type":"execute","stream_id":%d,"stmt":{"sql":%q}`, stream, sql))
}

func TestSocket(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	addr, _ := serveSQL(t, s)
	k := dial(t, "ws://"+addr+"/db/t", "hrana2", "hrana3", "x")
	if got := k.ws.Subprotocol(); got != "hrana3" {
		t.Errorf("subprotocol %q", got)
	}
	k.send(`{"type":"hello","jwt":null}`, // requests follow before the answer
		request(0, `"type":"open_stream","stream_id":1`), request(1, `"type":"open_stream","stream_id":2`),
		execute(2, 1, "CREATE TABLE t(x)"), execute(3, 1, "BEGIN"), execute(4, 1, "INSERT INTO t VALUES(1)"))
	if got := k.receive(); got != `{"type":"hello_ok"}` {
		t.Fatal(got)
	}
	k.expect(map[int]string{0: `"open_stream"`, 1: `"open_stream"`, 2: `"rows":[]`, 3: `"response_ok"`, 4: `"affected_row_count":1`})
	// Stream 2 waits for stream 1, which the socket goes on to serve.
	k.send(execute(5, 2, "INSERT INTO t VALUES(0) RETURNING (SELECT count(*) FROM t)"), request(6, `"type":"get_autocommit","stream_id":1`), execute(7, 1, "COMMIT"))
	k.expect(map[int]string{5: `"value":"2"`, 6: `"is_autocommit":false`, 7: `"response_ok"`})
	k.send(request(8, `"type":"store_sql","sql_id":1,"sql":"SELECT 42"`),
		request(9, `"type":"execute","stream_id":2,"stmt":{"sql_id":1}`),
		request(10, `"type":"close_sql","sql_id":1`),
		request(11, `"type":"execute","stream_id":2,"stmt":{"sql_id":1}`),
		request(12, `"type":"describe","stream_id":2,"sql":"SELECT x FROM t"`),
		request(13, `"type":"sequence","stream_id":2,"sql":"INSERT INTO t VALUES(2); SELECT 1"`),
		request(14, `"type":"batch","stream_id":2,"batch":{"steps":[{"stmt":{"sql":"SELECT sum(x) FROM t"}}]}`),
		request(15, `"type":"close_stream","stream_id":2`),
		execute(16, 2, "SELECT 1"), execute(17, 9, "SELECT 1"), request(18, `"type":"open_stream","stream_id":1`),
		request(19, `"type":"close_cursor","cursor_id":3`))
	k.expect(map[int]string{
		8: `"store_sql"`, 9: `"value":"42"`, 10: `"close_sql"`, 11: `SQL_STORE`, 12: `"is_readonly":true`, 13: `{"type":"sequence"}`, 14: `"value":"3"`,
		15: `{"type":"close_stream"}`, 16: "STREAM_NOT_FOUND", 17: "STREAM_NOT_FOUND", 18: "STREAM_EXISTS", 19: "CURSOR_NOT_FOUND",
	})
}

func TestSocketCursor(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	addr, _ := serveSQL(t, s)
	k := dial(t, "ws://"+addr+"/db/t", "hrana3")
	k.send(`{"type":"hello"}`, request(0, `"type":"open_stream","stream_id":1`),
		request(1, `"type":"open_cursor","stream_id":1,"cursor_id":7,"batch":{"steps":[{"stmt":{"sql":"SELECT 1 UNION SELECT 2"}}]}`),
		request(2, `"type":"fetch_cursor","cursor_id":7,"max_count":2`), request(3, `"type":"fetch_cursor","cursor_id":7,"max_count":100`),
		request(4, `"type":"fetch_cursor","cursor_id":7,"max_count":100`), request(5, `"type":"close_cursor","cursor_id":7`))
	k.receive()
	k.expect(map[int]string{
		0: "open_stream", 1: `{"type":"open_cursor"}`,
		2: `{"type":"fetch_cursor","entries":[{"type":"step_begin","step":0,"cols":[{"name":"1","decltype":null}]},{"type":"row","row":[{"type":"integer","value":"1"}]}],"done":false}`,
		3: `{"type":"step_end","affected_row_count":0,"last_insert_rowid":null}],"done":true}`,
		4: `"entries":[],"done":true`, 5: `{"type":"close_cursor"}`,
	})
}

func TestSocketRollsBack(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true, Limits: server.Limits{TransactionIdle: 500 * time.Millisecond}})
	addr, _ := serveSQL(t, s)
	s.pipeline("", "CREATE TABLE t(x)")
	begin := []string{`{"type":"hello"}`, request(0, `"type":"open_stream","stream_id":1`), execute(1, 1, "BEGIN"), execute(2, 1, "INSERT INTO t VALUES(1)")}
	silent, gone := dial(t, "ws://"+addr+"/db/t"), dial(t, "ws://"+addr+"/db/t")
	for _, k := range []*socket{silent, gone} {
		k.send(begin...)
		k.receive()
		k.expect(map[int]string{0: "", 1: "response_ok", 2: "response_ok"})
		if k == gone {
			_ = k.ws.CloseNow()
		}
	}
	if got := s.pipeline("", "SELECT count(*) FROM t").text(0); got != "0" {
		t.Errorf("%s rows", got)
	}
	silent.send(execute(3, 1, "COMMIT"), request(4, `"type":"open_stream","stream_id":2`), execute(5, 2, "SELECT 1"))
	silent.expect(map[int]string{3: "STREAM_EXPIRED", 4: "open_stream", 5: "response_ok"})
}

func TestSocketRefuses(t *testing.T) {
	s := newSQL(t, server.Config{})
	addr, stop := serveSQL(t, s)
	token, err := server.CreateToken(s.dir, server.TokenSpec{Database: "t"})
	if err != nil {
		t.Fatal(err)
	}
	closed := func(k *socket) websocket.StatusCode {
		_, _, err := k.ws.Read(t.Context())
		return websocket.CloseStatus(err)
	}
	for _, hello := range []string{`{"type":"hello"}`, `{"type":"hello","jwt":""}`, `{"type":"hello","jwt":"nonsense"}`} {
		k := dial(t, "ws://"+addr+"/")
		k.send(hello)
		if got := k.receive(); !strings.Contains(got, `"hello_error"`) || !strings.Contains(got, `"UNAUTHORIZED"`) {
			t.Errorf("%s: %s", hello, got)
		}
		if code := closed(k); code != websocket.StatusPolicyViolation {
			t.Errorf("%s: closed with %d", hello, code)
		}
	}
	for _, bad := range []string{`{`, `{"type":"nope"}`, request(1, `"type":"open_stream"`), request(1, `"type":"execute","stream_id":1,"stmt":{}`), `{"type":"request","request":{"type":"open_stream","stream_id":2}}`} {
		k := dial(t, "ws://"+addr+"/", "hrana3")
		k.send(`{"type":"hello","jwt":"`+token+`"}`, request(0, `"type":"open_stream","stream_id":1`), bad)
		k.receive()
		k.receive()
		if code := closed(k); code != websocket.StatusProtocolError {
			t.Errorf("%s: closed with %d", bad, code)
		}
	}
	early := dial(t, "ws://"+addr+"/")
	early.send(request(0, `"type":"open_stream","stream_id":1`))
	if code := closed(early); code != websocket.StatusProtocolError {
		t.Errorf("before the hello: closed with %d", code)
	}
	if _, resp, err := websocket.Dial(t.Context(), "ws://"+addr+"/nowhere", nil); err == nil || resp.StatusCode != http.StatusNotFound { //nolint:bodyclose // Dial has read it
		t.Errorf("another path: %v", err)
	}
	waits := dial(t, "ws://"+addr+"/")
	waits.send(`{"type":"hello","jwt":"` + token + `"}`)
	waits.receive()
	time.AfterFunc(50*time.Millisecond, stop)
	if _, _, err := waits.ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway && !errors.Is(err, net.ErrClosed) {
		t.Errorf("at the server's end: %v", err)
	}
}
