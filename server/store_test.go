package server

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/wire"
)

// post syncs with a real server and returns the answer.
func post(t *testing.T, addr, database string, m *wire.Request) (*wire.Response, int) {
	t.Helper()
	res, err := http.Post("http://"+addr+"/db/"+database+"/sync", wire.ContentType, bytes.NewReader(m.Append(nil)))
	if err != nil {
		t.Error(err)
		return nil, 0
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, res.StatusCode
	}
	msg, err := wire.ReadFrame(bufio.NewReader(res.Body), nil, 1<<20)
	if err != nil {
		t.Error(err)
		return nil, 0
	}
	ans, err := wire.DecodeResponse(msg, 1<<20)
	if err != nil {
		t.Error(err)
	}
	return ans, res.StatusCode
}

func newStored(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return s
}

func TestStoredDatabases(t *testing.T) {
	dir := t.TempDir()
	s := newStored(t, Config{DataDir: dir, Dev: true})
	addr, stop := start(t, s)
	if ans, status := post(t, addr, "a", &wire.Request{Mode: wire.ModePull}); ans == nil || ans.Head.Seq != 0 {
		t.Fatalf("%d %+v", status, ans)
	}
	if other, err := New(Config{DataDir: dir, Dev: true}); err == nil {
		t.Error("two servers on one directory", other.Close(t.Context()))
	}
	polled := make(chan *wire.Response)
	go func() {
		ans, _ := post(t, addr, "a", &wire.Request{Mode: wire.ModePull, WaitMS: 40_000})
		polled <- ans
	}()
	for s.dbs.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	begin := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if ans := <-polled; ans == nil || ans.Status != wire.StatusOK {
		t.Errorf("the poll at shutdown: %+v", ans)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("shutdown took %v", took)
	}
	again := newStored(t, Config{DataDir: dir, Dev: true})
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
