package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/wire"
)

// late sends a request but for the last byte of its body, calls between, and sends
// that.
func (c *cloud) late(t *testing.T, token, path, contentType, body string, between func()) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	last := len(body) - 1
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		path, token, contentType, len(body), body[:last])
	time.Sleep(50 * time.Millisecond) // for the server to have begun with it
	between()
	if _, err := io.WriteString(conn, body[last:]); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

const lateInsert = `"requests":[{"type":"execute","stmt":{"sql":"INSERT INTO t VALUES ('late')"}},{"type":"execute","stmt":{"sql":"COMMIT"}},{"type":"close"}]}`

// TestVoidedWhileSending: a token that is voided while its request is still
// arriving is good for nothing any more.
func TestVoidedWhileSending(t *testing.T) {
	sends := map[string]struct{ path, kind, body string }{
		"sync":        {"/db/a/sync", wire.ContentType, string((&wire.Request{Mode: wire.ModePull}).Append(nil))},
		"snapshot":    {"/db/a/sync", wire.ContentType, string((&wire.Request{Mode: wire.ModePull | wire.ModeSnapshot}).Append(nil))},
		"pages":       {"/db/a/pull-updates", "application/protobuf", "\x20\x00"}, // long_poll_timeout 0
		"pipeline":    {"/db/a/v2/pipeline", "application/json", "{" + lateInsert},
		"read":        {"/db/a/v3/pipeline", "application/json", `{"requests":[{"type":"execute","stmt":{"sql":"SELECT * FROM t"}}]}`},
		"cursor":      {"/db/a/v3/cursor", "application/json", `{"batch":{"steps":[{"stmt":{"sql":"SELECT * FROM t"}}]}}`},
		"transaction": {"/db/a/v2/pipeline", "application/json", `{"baton":"BATON",` + lateInsert},
	}
	for what, v := range voids {
		for how, p := range sends {
			t.Run(what+"/"+how, func(t *testing.T) {
				c := newCloud(t, Config{Limits: Limits{TransactionIdle: time.Second}})
				token := c.create(t, "a")
				first := []string{"CREATE TABLE t(x)", "INSERT INTO t VALUES ('secret')"}
				if how == "transaction" {
					first = append(first, "BEGIN")
				}
				_, begun := c.sql(t, token, "a", "", first...)
				if how == "transaction" {
					var a struct{ Baton string }
					if err := json.Unmarshal([]byte(begun), &a); err != nil || a.Baton == "" {
						t.Fatalf("%s", begun)
					}
					p.body = strings.ReplaceAll(p.body, "BATON", a.Baton)
				}
				status, body := c.late(t, token, p.path, p.kind, p.body, func() { c.api(t, v.method, v.path, v.body) })
				if status != 401 && status != 403 && status != 404 && !strings.Contains(body, "void") {
					t.Errorf("%d %.200q", status, body)
				}
				if what != "rotate" {
					return
				}
				token = c.api(t, "POST", "/v1/databases/a/auth/tokens", "")["jwt"].(string)
				if status, body := c.sql(t, token, "a", "", "SELECT count(*) FROM t"); status != 200 || !strings.Contains(body, `"value":"1"`) {
					t.Errorf("%d %s", status, body)
				}
			})
		}
	}
}

// TestLateForAnother: a request that is still arriving when its database is deleted
// is not for another organization's that then takes the name.
func TestLateForAnother(t *testing.T) {
	for how, p := range map[string]struct{ path, kind, body string }{
		"pipeline": {"/db/a/v2/pipeline", "application/json", `{"requests":[{"type":"execute","stmt":{"sql":"INSERT INTO t VALUES ('late')"}},{"type":"execute","stmt":{"sql":"SELECT * FROM t"}}]}`},
		"sync":     {"/db/a/sync", wire.ContentType, string((&wire.Request{Mode: wire.ModePull | wire.ModeSnapshot}).Append(nil))},
		"pages":    {"/db/a/pull-updates", "application/protobuf", "\x20\x00"},
	} {
		t.Run(how, func(t *testing.T) {
			c := newCloud(t, Config{})
			token := c.create(t, "a")
			c.api(t, "POST", "/v1/organizations", `{"name":"other"}`)
			const theirs = "/v1/organizations/other/databases"
			status, body := c.late(t, token, p.path, p.kind, p.body, func() {
				c.api(t, "DELETE", "/v1/databases/a", "")
				c.api(t, "POST", "/v1/organizations/other/groups", `{"name":"g"}`)
				c.api(t, "POST", theirs, `{"name":"a","group":"g"}`)
				other := c.api(t, "POST", theirs+"/a/auth/tokens", "")["jwt"].(string)
				if status, body := c.sql(t, other, "a", "", "CREATE TABLE t(x)", "INSERT INTO t VALUES ('canary')"); status != 200 || strings.Contains(body, `"error"`) {
					t.Fatalf("%d %s", status, body)
				}
			})
			if strings.Contains(body, "canary") || status == 200 {
				t.Errorf("%d %.200q", status, body)
			}
		})
	}
}

// TestRevokedWhileSending: the same for tokens of the Platform API.
func TestRevokedWhileSending(t *testing.T) {
	c := newCloud(t, Config{})
	c.create(t, "a")
	for _, p := range []struct{ path, body string }{
		{"/v1/databases", `{"name":"b"}`},
		{"/v1/databases/a/seed", "not a database"},
		{"/v1/databases/a/auth/tokens", `{ }`},
	} {
		short := c.api(t, "POST", "/v1/auth/api-tokens/short", "")["token"].(string)
		status, body := c.late(t, short, p.path, "", p.body, func() { c.api(t, "DELETE", "/v1/auth/api-tokens/short", "") })
		if status != 401 {
			t.Errorf("%s: %d %s", p.path, status, body)
		}
	}
}

// TestRefusedBeforeItsBody: a client that waits to be told to go on with its body
// (Expect: 100-continue), as curl does, is refused without it.
func TestRefusedBeforeItsBody(t *testing.T) {
	c := newCloud(t, Config{})
	for _, path := range []string{"/v1/databases", "/v1/databases/dumps", "/db/a/v2/pipeline", "/db/a/sync", "/v1/nothing"} {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\nContent-Type: %s\r\nExpect: 100-continue\r\nContent-Length: 90000000\r\n\r\n", path, wire.ContentType)
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		res.Body.Close()
		if res.StatusCode < 400 {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

// TestGoneIsNoError: a client that leaves in the middle of a download is no error
// of the server's.
func TestGoneIsNoError(t *testing.T) {
	var logged syncWriter
	c := newCloud(t, Config{Logger: logTo(&logged, slog.LevelInfo)})
	token := c.create(t, "a")
	if status, body := c.sql(t, token, "a", "", "CREATE TABLE t(x)", "INSERT INTO t VALUES (randomblob(40000000))"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	for path, token := range map[string]string{"/v1/databases/a/export": c.token, "/db/a/export": token} {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", path, token)
		if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			l := logged.String()
			if strings.Contains(l, "path="+path) {
				if strings.Contains(l, "level=ERROR") {
					t.Errorf("%s", l)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is not in the log:\n%s", path, l)
			}
		}
	}
	// Nor does it keep the server from being closed.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}
