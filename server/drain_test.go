package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestRefusedBodyIsAnswered sends all of a body before it reads the answer, as
// many clients do. Were the connection closed meanwhile, they would get an error
// of the network for an answer.
func TestRefusedBodyIsAnswered(t *testing.T) {
	s, err := New(Config{DataDir: t.TempDir(), Limits: Limits{MaxBody: 4 << 20, MaxUpload: 1 << 20, IOTimeout: 2 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := start(t, s)
	token, err := CreateToken(s.cfg.DataDir, TokenSpec{Database: "t"})
	if err != nil {
		t.Fatal(err)
	}
	api, err := CreateAPIToken(t.Context(), s.cfg.DataDir, APITokenSpec{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, token string
		chunked           bool
		status            int
	}{
		{"too large", "/db/t/v2/pipeline", token, false, 413},
		{"too large, in chunks", "/db/t/v2/pipeline", token, true, 413},
		{"a wrong token", "/db/t/v2/pipeline", "nonsense", false, 401},
		{"a wrong token, in chunks", "/db/t/v2/pipeline", "nonsense", true, 401},
		{"an upload", "/v1/databases/dumps", api, false, 413},
		{"an upload, in chunks", "/v1/databases/dumps", api, true, 413},
		{"an upload with a wrong token", "/v1/databases/dumps", "adb_x", false, 401},
		{"an upload with a wrong token, in chunks", "/v1/databases/dumps", "adb_x", true, 401},
		{"an upload to nothing", "/v1/databases/none/seed", api, false, 404},
		{"JSON", "/v1/databases", api, false, 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			body := bytes.Repeat([]byte("x"), 12<<20)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+c.path, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+c.token)
			if c.chunked {
				r.ContentLength = -1
			}
			if err := r.Write(conn); err != nil {
				t.Fatalf("the body can't be sent: %v", err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), r)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != c.status || !strings.Contains(string(text), "message") && !strings.Contains(string(text), `"error":`) {
				t.Errorf("%d %s, %v", res.StatusCode, text, err)
			}
		})
	}
}

// TestRefusedBodyThatNeverEnds: a client that sends for ever is cut off.
func TestRefusedBodyThatNeverEnds(t *testing.T) {
	s := newTest(t, newFake(), Config{Limits: Limits{MaxBody: 1 << 20, IOTimeout: 500 * time.Millisecond}})
	addr, _ := start(t, s)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(conn, "POST /db/t/v2/pipeline HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 1<<40); err != nil {
		t.Fatal(err)
	}
	sent, chunk := 0, make([]byte, 64<<10)
	for err == nil {
		var n int
		n, err = conn.Write(chunk)
		sent += n
	}
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		t.Errorf("the server took %d bytes, and is not done", sent)
	}
	t.Logf("%d MiB were taken", sent>>20)
}
