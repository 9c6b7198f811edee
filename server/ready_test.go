package server

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"
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
