package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/agentdb/agentdb/server"
)

// endless is a statement whose rows, of some 1,000 bytes, have no end.
const endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT n, hex(zeroblob(500)) FROM c"

// firstOf is the same with an end.
func firstOf(n int) string { return fmt.Sprintf("%s LIMIT %d", endless, n) }

// stream sends a batch of these statements to the cursor of a database t.
func stream(t *testing.T, addr, baton string, sql ...string) (*http.Response, *bufio.Reader, string) {
	t.Helper()
	return streamTo(t, "http://"+addr+"/db/t/v3/cursor", baton, sql...)
}

func streamTo(t *testing.T, url, baton string, sql ...string) (*http.Response, *bufio.Reader, string) {
	t.Helper()
	steps := []any{}
	for _, text := range sql {
		steps = append(steps, map[string]any{"stmt": map[string]any{"sql": text}})
	}
	body := map[string]any{"batch": map[string]any{"steps": steps}}
	if baton != "" {
		body["baton"] = baton
	}
	b, _ := json.Marshal(body)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = resp.Body.Close() })
	in := bufio.NewReaderSize(resp.Body, 1<<16)
	var head struct{ Baton string }
	line, err := in.ReadString('\n')
	if err != nil || json.Unmarshal([]byte(line), &head) != nil {
		t.Fatalf("%q %v", line, err)
	}
	return resp, in, head.Baton
}

func rest(t *testing.T, in *bufio.Reader) []string {
	t.Helper()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

func cursorServer(t *testing.T, limits server.Limits) (*sqlServer, string) {
	t.Helper()
	s := newSQL(t, server.Config{Dev: true, Limits: limits})
	addr, _ := serveSQL(t, s)
	s.pipeline("", "CREATE TABLE t(x)")
	return s, addr
}

// Rows arrive while their statement runs, far more of them than an answer may
// hold, and in little memory.
func TestCursorStreams(t *testing.T) {
	_, addr := cursorServer(t, server.Limits{MaxAnswer: 1 << 20})
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	resp, in, baton := stream(t, addr, "", "SELECT 'first'", strings.ReplaceAll(firstOf(3000), "500", "10000"))
	if resp.ContentLength >= 0 || baton != "" {
		t.Errorf("length %d, baton %q", resp.ContentLength, baton)
	}
	rows, size := 0, 0
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		size += len(line)
		if strings.HasPrefix(line, `{"type":"row"`) {
			rows++
		}
		if rows%500 == 0 {
			if runtime.ReadMemStats(&now); now.HeapAlloc > before.HeapAlloc+32<<20 { // unless it is rubbish
				runtime.GC()
				runtime.ReadMemStats(&now)
			}
			if now.HeapAlloc > before.HeapAlloc+32<<20 {
				t.Fatalf("%d MiB of memory after %d of the answer", (now.HeapAlloc-before.HeapAlloc)>>20, size>>20)
			}
		}
	}
	if rows != 3001 || size < 50<<20 {
		t.Errorf("%d rows, %d bytes", rows, size)
	}
}

// The first rows don't wait for later ones.
func TestCursorDoesNotHoldRowsBack(t *testing.T) {
	_, addr := cursorServer(t, server.Limits{})
	// Some rows at once, and then no other, nor an end.
	const slow = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT n FROM c WHERE n < 4"
	_, in, _ := stream(t, addr, "", slow)
	for range 4 {
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}

// A client that leaves ends its statement, by any protocol.
func TestCursorEndsWithItsClient(t *testing.T) {
	s, addr := cursorServer(t, server.Limits{})
	for i := range 10 { // more than there are readers
		switch i % 3 {
		case 0:
			resp, in, _ := stream(t, addr, "", endless)
			_, _ = in.ReadString('\n')
			_ = resp.Body.Close()
		case 1:
			k := dial(t, "ws://"+addr+"/db/t", "hrana3")
			k.send(`{"type":"hello"}`, request(0, `"type":"open_stream","stream_id":1`),
				request(1, fmt.Sprintf(`"type":"open_cursor","stream_id":1,"cursor_id":7,"batch":{"steps":[{"stmt":{"sql":%q}}]}`, endless)),
				request(2, `"type":"fetch_cursor","cursor_id":7,"max_count":10`))
			for range 4 {
				k.receive()
			}
			_ = k.ws.CloseNow()
		case 2:
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			batch := protowire.AppendBytes([]byte{0x0a}, []byte(endless)) // Stmt.sql
			batch = protowire.AppendBytes([]byte{0x12}, batch)            // BatchStep.stmt
			batch = protowire.AppendBytes([]byte{0x0a}, batch)            // Batch.steps
			batch = protowire.AppendBytes([]byte{0x12}, batch)            // CursorReqBody.batch
			fmt.Fprintf(conn, "POST /db/t/v3-protobuf/cursor HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(batch), batch)
			if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "200") {
				t.Fatal(line, err)
			}
			_ = conn.Close()
		}
	}
	begin := time.Now()
	if got := s.pipeline("", "SELECT count(*) FROM t", "INSERT INTO t VALUES (1)").codes(); got != "ok ok" || time.Since(begin) > 5*time.Second {
		t.Errorf("%s after %v", got, time.Since(begin))
	}
}

// A client that doesn't take its rows keeps no writer waiting, and is cut off.
func TestCursorOfASlowClient(t *testing.T) {
	const idle = 500 * time.Millisecond
	s, addr := cursorServer(t, server.Limits{TransactionIdle: idle})
	_, in, _ := stream(t, addr, "", endless)
	begin := time.Now()
	if got := s.pipeline("", "INSERT INTO t VALUES (1)").codes(); got != "ok" || time.Since(begin) > idle {
		t.Errorf("a write beside: %s after %v", got, time.Since(begin))
	}
	time.Sleep(4 * idle) // what is in the network's buffers is taken meanwhile
	if _, err := io.Copy(io.Discard, in); err == nil {
		t.Error("an answer without an end")
	}
}

func TestCursorOfASlowClientInATransaction(t *testing.T) {
	const idle = 500 * time.Millisecond
	s, addr := cursorServer(t, server.Limits{TransactionIdle: idle})
	baton := s.pipeline("", "BEGIN IMMEDIATE", "INSERT INTO t VALUES ('lost')").Baton
	stream(t, addr, baton, endless)
	begin := time.Now()
	a := s.pipeline("", "INSERT INTO t VALUES ('kept')", "SELECT x FROM t")
	if a.codes() != "ok ok" || a.text(1) != "kept" || time.Since(begin) > 10*idle {
		t.Errorf("%s %s after %v", a.codes(), a.text(1), time.Since(begin))
	}
}

func TestCursorTakesTooLong(t *testing.T) {
	const most = 500 * time.Millisecond
	_, addr := cursorServer(t, server.Limits{TransactionTime: most})
	begin := time.Now()
	_, in, _ := stream(t, addr, "", endless)
	lines := rest(t, in)
	if last := lines[len(lines)-1]; !strings.Contains(last, `"step_error"`) || !strings.Contains(last, "TRANSACTION_TIMEOUT") || time.Since(begin) > 20*most {
		t.Errorf("%s after %v", last, time.Since(begin))
	}
}

func TestCursorFailsHalfWay(t *testing.T) {
	_, addr := cursorServer(t, server.Limits{})
	_, in, _ := stream(t, addr, "", strings.Replace(firstOf(9999), "SELECT n,", "SELECT CASE n WHEN 5000 THEN abs(-9223372036854775807 - 1) END,", 1), "SELECT 'next'")
	lines := rest(t, in)
	if n := len(lines); n != 1+4999+1+3 || !strings.Contains(lines[n-4], `"step_error","step":0`) || !strings.Contains(lines[n-2], "next") {
		t.Errorf("%d lines, the last ones: %.600s", n, lines[max(0, n-4):])
	}
}

// What a write returns is nobody's until it is committed.
func TestCursorOfAWrite(t *testing.T) {
	s, addr := cursorServer(t, server.Limits{MaxAnswer: 1 << 20})
	insert := "INSERT INTO t SELECT hex(zeroblob(500)) FROM (" + firstOf(2000) + ") RETURNING x"
	_, in, _ := stream(t, addr, "", insert)
	if lines := rest(t, in); len(lines) != 1 || !strings.Contains(lines[0], "RESPONSE_TOO_LARGE") {
		t.Errorf("%d lines, %.200s", len(lines), lines[0])
	}
	_, in, _ = stream(t, addr, "", strings.Replace(insert, "2000", "500", 1))
	if lines := rest(t, in); len(lines) != 502 || !strings.Contains(lines[501], `"affected_row_count":500`) {
		t.Errorf("%d lines, %.200s", len(lines), lines[len(lines)-1])
	}
	if got := s.pipeline("", "SELECT count(*) FROM t").text(0); got != "500" {
		t.Error(got)
	}
}

// The baton comes before the rows, and is good after them.
func TestCursorBatons(t *testing.T) {
	s, addr := cursorServer(t, server.Limits{})
	_, in, baton := stream(t, addr, "", "BEGIN", "INSERT INTO t VALUES (1)", firstOf(1000))
	rest(t, in)
	if got := s.pipeline(baton, "SELECT x FROM t", "COMMIT"); baton == "" || got.codes() != "ok ok" || got.text(0) != "1" {
		t.Errorf("baton %q: %s", baton, got.codes())
	}
	_, in, baton = stream(t, addr, "", "BEGIN", "INSERT INTO t VALUES (2)", firstOf(1000), "COMMIT")
	rest(t, in)
	if got := s.pipeline(baton, "SELECT count(*) FROM t"); baton == "" || got.codes() != "ok" || got.text(0) != "2" || got.Baton != "" {
		t.Errorf("baton %q: %s, then %q", baton, got.codes(), got.Baton)
	}
	if _, in, baton = stream(t, addr, "", firstOf(1000), "SELECT 1"); baton != "" {
		t.Errorf("a baton for nothing: %q", baton)
	}
	rest(t, in)
}

// Over a WebSocket, other requests on the stream may come before the last fetch.
func TestSocketCursorStreams(t *testing.T) {
	_, addr := cursorServer(t, server.Limits{TransactionIdle: 500 * time.Millisecond})
	for _, between := range []bool{false, true} {
		k := dial(t, "ws://"+addr+"/db/t", "hrana3")
		k.send(`{"type":"hello"}`, request(0, `"type":"open_stream","stream_id":1`), execute(1, 1, "BEGIN"),
			request(2, fmt.Sprintf(`"type":"open_cursor","stream_id":1,"cursor_id":7,"batch":{"steps":[{"stmt":{"sql":%q}}]}`, firstOf(3000))))
		for range 4 {
			k.receive()
		}
		if between {
			k.send(execute(3, 1, "INSERT INTO t VALUES (1)"))
			k.expect(map[int]string{3: `"affected_row_count":1`})
		}
		rows := k.fetch(7)
		k.send(execute(4, 1, "COMMIT"))
		k.expect(map[int]string{4: `"response_ok"`})
		if rows != 3000 {
			t.Errorf("%d rows", rows)
		}
	}
	k := dial(t, "ws://"+addr+"/db/t", "hrana3")
	k.send(`{"type":"hello"}`, request(0, `"type":"open_stream","stream_id":1`),
		request(1, fmt.Sprintf(`"type":"open_cursor","stream_id":1,"cursor_id":7,"batch":{"steps":[{"stmt":{"sql":%q}}]}`, endless)),
		request(2, `"type":"close_cursor","cursor_id":7`), execute(3, 1, "SELECT 'after'"))
	k.receive()
	k.expect(map[int]string{0: "ok", 1: "ok", 2: "ok", 3: "after"})
	k.send(request(1, fmt.Sprintf(`"type":"open_cursor","stream_id":1,"cursor_id":7,"batch":{"steps":[{"stmt":{"sql":%q}}]}`, endless)))
	k.receive()
	time.Sleep(time.Second)
	if rows := k.fetch(7); rows == 0 || rows > 3000 {
		t.Errorf("%d rows for a client that was silent", rows)
	}
}

// fetch fetches until there are no more, and returns how many rows there were.
func (s *socket) fetch(cursor int) (rows int) {
	s.t.Helper()
	for {
		s.send(request(9, fmt.Sprintf(`"type":"fetch_cursor","cursor_id":%d,"max_count":100`, cursor)))
		msg := s.receive()
		if !strings.Contains(msg, "response_ok") {
			s.t.Fatal(msg)
		}
		rows += strings.Count(msg, `{"type":"row"`)
		if strings.HasSuffix(msg, `"done":true}}`) {
			return rows
		}
	}
}
