package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/tenant"
)

// TestReady: a server that was told to stop isn't ready, and serves on for as long
// as it is to.
func TestReady(t *testing.T) {
	s := newTest(t, newFake(), Config{Dev: true, Limits: Limits{DrainTime: 300 * time.Millisecond}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	status := func(path string) int {
		resp, err := http.Get("http://" + ln.Addr().String() + path)
		if err != nil {
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := status("/readyz"); got != http.StatusOK {
		t.Errorf("at first: %d", got)
	}
	stop()
	for start := time.Now(); status("/readyz") != http.StatusServiceUnavailable; {
		if time.Since(start) > time.Second {
			t.Fatal("it is still ready")
		}
	}
	if got := status("/healthz"); got != http.StatusOK {
		t.Errorf("what is served meanwhile: %d", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if got := status("/readyz"); got != 0 {
		t.Errorf("after the end: %d", got)
	}
}

// TestNotReadyWithoutDisk: a server whose disk has failed says so, and stops at
// once, however long it would go on after it was told to stop.
func TestNotReadyWithoutDisk(t *testing.T) {
	dbs := newFake()
	dbs.failed = make(chan struct{})
	s := newTest(t, dbs, Config{Dev: true, Limits: Limits{DrainTime: time.Hour}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context(), ln) }()
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if code, body := get("/readyz"); code != http.StatusOK {
		t.Errorf("at first: %d %s", code, body)
	}
	close(dbs.failed)
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "disk has failed") || !strings.Contains(body, "input/output error") {
		t.Errorf("it says %d %s", code, body)
	}
	if code, body := get("/healthz"); code != http.StatusOK {
		t.Errorf("of its health: %d %s", code, body)
	}
	select {
	case err := <-served:
		if !errors.Is(err, tenant.ErrFailed) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on")
	}
}
