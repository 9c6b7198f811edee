package server

import (
	"bytes"
	"net/http/httptest"
	"testing"

	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// FuzzSync sends any body: the answer is an error of the client's or comes
// from the databases, and nothing of the memory budget is lost.
func FuzzSync(f *testing.F) {
	f.Add([]byte(nil))
	f.Add((&wire.Request{}).Append(nil))
	f.Add(change(300, zeros).Append(nil))
	f.Add(change(300, noise).Append(nil))
	f.Add((&wire.Request{Mode: wire.ModePull, Strict: &wire.Strict{Body: []byte("x")}}).Append(nil))
	cfg, err := Config{DataDir: f.TempDir(), Dev: true, Limits: Limits{MaxBody: 1 << 16, MaxDecoded: 1 << 18}}.defaults()
	if err != nil {
		f.Fatal(err)
	}
	s, err := newServer(cfg, &fakeDatabases{drained: make(chan struct{}), closed: make(chan struct{}), quiet: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/sync", bytes.NewReader(body))
		r.Header.Set("Content-Type", wire.ContentType)
		if status, _, text := do(s, r); status != 200 && status != 400 && status != 413 {
			t.Errorf("%d %s", status, text)
		}
		if used := s.memory.used.Load(); used != 0 {
			t.Errorf("%d bytes of the memory budget are lost", used)
		}
	})
}

// FuzzHostDatabase: whatever the host, the name is a good one or refused.
func FuzzHostDatabase(f *testing.F) {
	for _, host := range []string{"", "localhost:1", "a.localhost", "[::1]:80", "1.2.3.4", "a.b.example.com.", ":", "a..b", "[", "x.example.com:x"} {
		f.Add(host, "")
		f.Add(host, "example.com")
	}
	f.Fuzz(func(t *testing.T, host, domain string) {
		name, err := tenant.ParseName(hostDatabase(host, domain))
		if err == nil && (name == "" || len(name) > 64) {
			t.Errorf("host %q is database %q", host, name)
		}
		_ = isLoopback(host) // doesn't panic
	})
}

func BenchmarkSync(b *testing.B) {
	cfg, err := Config{DataDir: b.TempDir()}.defaults()
	if err != nil {
		b.Fatal(err)
	}
	s, err := newServer(cfg, &fakeDatabases{drained: make(chan struct{}), closed: make(chan struct{}), quiet: true})
	if err != nil {
		b.Fatal(err)
	}
	tok, err := CreateToken(cfg.DataDir, TokenSpec{Database: "x"})
	if err != nil {
		b.Fatal(err)
	}
	body := change(96, noise).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/db/x/sync", bytes.NewReader(body))
		r.Header.Set("Content-Type", wire.ContentType)
		r.Header.Set("Authorization", "Bearer "+tok)
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}
