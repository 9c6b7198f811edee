package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

func change(n int, fill func([]byte)) *wire.Request {
	b := make([]byte, n)
	fill(b)
	return &wire.Request{First: 1, Changes: []wire.Change{{Nonce: 1, Body: b}}}
}

func zeros([]byte) {}

func noise(b []byte) {
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b) // never fails
}

func TestBodyLimits(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{Dev: true, Limits: Limits{MaxBody: 64 << 10, MaxDecoded: 256 << 10, MaxTransaction: 200 << 10}})
	for _, c := range []struct {
		name   string
		req    *wire.Request
		status int
	}{
		{"fits", change(60<<10, noise), 200},
		{"body too large", change(70<<10, noise), 413},
		{"zeros fit", change(190<<10, zeros), 200},
		{"transaction too large", change(210<<10, zeros), 413},
		{"bomb", change(64<<20, zeros), 413},
	} {
		for _, chunked := range []bool{false, true} {
			before := f.count()
			r := syncRequest("/sync", c.req)
			if chunked {
				r.ContentLength = -1
			}
			status, code, body := do(s, r)
			if status != c.status || status != 200 && code != CodeTooLarge {
				t.Errorf("%s, chunked %v: %d %s", c.name, chunked, status, body)
			}
			if status != 200 && f.count() != before {
				t.Errorf("%s reached the databases", c.name)
			}
		}
	}
	if used := s.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes of the memory budget are lost", used)
	}
}

func TestMalformedBodies(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{Dev: true})
	whole := change(300, noise).Append(nil)
	for n := range whole {
		r := httptest.NewRequest("POST", "/sync", bytes.NewReader(whole[:n]))
		r.Header.Set("Content-Type", wire.ContentType)
		if status, code, _ := do(s, r); status != 400 || code != CodeMalformed {
			t.Fatalf("cut at %d of %d: %d %s", n, len(whole), status, code)
		}
	}
	newer := bytes.Clone(whole)
	newer[2]++
	r := httptest.NewRequest("POST", "/sync", bytes.NewReader(newer))
	r.Header.Set("Content-Type", wire.ContentType)
	if status, code, _ := do(s, r); status != 400 || code != CodeVersion {
		t.Errorf("another version: %d %s", status, code)
	}
	if f.count() != 0 {
		t.Error("a malformed request reached the databases")
	}
}

func TestMemoryBudget(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{Dev: true, Limits: Limits{MaxMemory: 1 << 20}})
	started, release := make(chan struct{}), make(chan struct{})
	f.answer = func(context.Context, call) (*tenant.Answer, error) {
		started <- struct{}{}
		<-release
		return &tenant.Answer{Response: &wire.Response{}}, nil
	}
	first := make(chan int)
	go func() {
		status, _, _ := do(s, syncRequest("/sync", change(900<<10, zeros)))
		first <- status
	}()
	<-started
	if status, code, _ := do(s, syncRequest("/sync", change(900<<10, zeros))); status != 503 || code != CodeUnavailable {
		t.Errorf("above the budget: %d %s", status, code)
	}
	close(release)
	if status := <-first; status != 200 {
		t.Errorf("the first: %d", status)
	}
	go func() { <-started }()
	if status, _, _ := do(s, syncRequest("/sync", change(900<<10, zeros))); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

func TestConnectionLimit(t *testing.T) {
	s := newTest(t, newFake(), Config{Dev: true, Limits: Limits{MaxConnections: 2}})
	addr, _ := start(t, s)
	ask := func(c net.Conn) (*http.Response, string) {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(body)
	}
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	a, b := dial(), dial()
	for _, c := range []net.Conn{a, b} {
		if res, body := ask(c); res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, body)
		}
	}
	if res, body := ask(dial()); res.StatusCode != 503 || !res.Close || errorCode([]byte(body)) != CodeUnavailable {
		t.Errorf("above the limit: %d %s", res.StatusCode, body)
	}
	a.Close()
	for range 100 { // the server learns of it a moment later
		if res, _ := ask(dial()); res.StatusCode == 200 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a closed connection's place is not free")
}

func TestSlowBodyIsCutOffAndSlowPollIsNot(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{Dev: true, Limits: Limits{IOTimeout: 100 * time.Millisecond}})
	addr, _ := start(t, s)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /sync HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\nabc", wire.ContentType)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
		t.Errorf("a body that stops: %q, %v", answer, err)
	}
	f.answer = f.wait
	for _, wait := range []uint32{0, 400, 400} { // on one connection
		poll := &wire.Request{Mode: wire.ModePull, WaitMS: wait}
		res, err := http.Post("http://"+addr+"/sync", wire.ContentType, bytes.NewReader(poll.Append(nil)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 {
			t.Errorf("a poll of four timeouts: %d, %v", res.StatusCode, err)
		}
		res.Body.Close()
	}
}

func TestClientThatLeavesEndsItsPoll(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{Dev: true})
	addr, _ := start(t, s)
	left := make(chan error, 1)
	f.answer = func(ctx context.Context, c call) (*tenant.Answer, error) {
		a, err := f.wait(ctx, c)
		left <- err
		return a, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	poll := &wire.Request{Mode: wire.ModePull, WaitMS: 30_000}
	r, err := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/sync", bytes.NewReader(poll.Append(nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", wire.ContentType)
	if res, err := http.DefaultClient.Do(r); err == nil {
		res.Body.Close()
		t.Fatal("answered")
	}
	select {
	case err := <-left:
		if err == nil {
			t.Error("the poll ended well")
		}
	case <-time.After(5 * time.Second):
		t.Error("the poll goes on")
	}
}

func TestShutdownAnswersPollsAndFinishesRequests(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{Dev: true})
	addr, stop := start(t, s)
	started, finish := make(chan struct{}, 2), make(chan struct{})
	f.answer = func(ctx context.Context, c call) (*tenant.Answer, error) {
		started <- struct{}{}
		if c.req.WaitMS > 0 {
			return f.wait(ctx, c)
		}
		<-finish
		return &tenant.Answer{Response: &wire.Response{}}, nil
	}
	results := make(chan error, 2)
	for _, wait := range []uint32{0, 40_000} {
		go func() {
			m := &wire.Request{Mode: wire.ModePull, WaitMS: wait}
			res, err := http.Post("http://"+addr+"/sync", wire.ContentType, bytes.NewReader(m.Append(nil)))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != 200 && err == nil {
					err = fmt.Errorf("status %d", res.StatusCode)
				}
			}
			results <- err
		}()
	}
	<-started
	<-started
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	if err := <-results; err != nil { // the poll, since nothing else can end
		t.Error(err)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request under way: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("still accepting")
	}
	close(finish)
	if err := <-results; err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{Dev: true})
	started, finish := make(chan struct{}), make(chan struct{})
	f.answer = func(context.Context, call) (*tenant.Answer, error) {
		close(started)
		<-finish
		return &tenant.Answer{Response: &wire.Response{}}, nil
	}
	result := make(chan int)
	go func() {
		status, _, _ := do(s, syncRequest("/sync", &wire.Request{}))
		result <- status
	}()
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); err == nil {
		t.Fatal("closed with a request under way")
	}
	if status, code, _ := do(s, syncRequest("/sync", &wire.Request{})); status != 503 || code != CodeUnavailable {
		t.Errorf("while closing: %d %s", status, code)
	}
	close(finish)
	if status := <-result; status != 200 {
		t.Errorf("the request under way: %d", status)
	}
	for range 2 {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	select {
	case <-f.closed:
	default:
		t.Error("the databases are open")
	}
}

func TestDevServesLoopbackOnly(t *testing.T) {
	s := newTest(t, newFake(), Config{Dev: true})
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Skip(err)
	}
	if err := s.Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("%v", err)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("the listener is open")
	}
}

func TestAnswerIsSmallOnTheWire(t *testing.T) {
	s := newTest(t, newFake(), Config{Logger: logTo(t.Output(), slog.LevelInfo)})
	addr, _ := start(t, s)
	tok, err := CreateToken(s.cfg.DataDir, TokenSpec{Database: "agent-memory", Expires: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	body := change(96, noise).Append(nil)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := fmt.Sprintf("POST /db/agent-memory/sync HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		addr, tok, wire.ContentType, len(body), body)
	if _, err := io.WriteString(c, req); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 200") {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	t.Logf("sent %d, received %d bytes:\n%q", len(req), n, buf[:n])
	if len(req)+n > 900 { // of 1,071, less what a real answer has
		t.Errorf("%d bytes both ways", len(req)+n)
	}
}
