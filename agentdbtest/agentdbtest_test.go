package agentdbtest_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
	"github.com/agentdb/agentdb/internal/wire"
)

func pull(t *testing.T, url, token string) (status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/sync", bytes.NewReader((&wire.Request{Mode: wire.ModePull}).Append(nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", wire.ContentType)
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

func TestServerStopsAndStarts(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	url, full := srv.URL("tasks"), srv.Token("tasks", "full")
	if got := pull(t, url, full); got != http.StatusOK {
		t.Errorf("status %d", got)
	}
	if got := pull(t, url, srv.Token("other", "full")); got != http.StatusForbidden {
		t.Errorf("another database's token: %d", got)
	}
	if got := pull(t, url, srv.Token("tasks", "push")); got != http.StatusForbidden {
		t.Errorf("a push token: %d", got)
	}
	srv.Stop()
	srv.Stop()
	if got := pull(t, url, full); got != 0 {
		t.Errorf("stopped, and answers %d", got)
	}
	srv.Start()
	srv.Start()
	if srv.URL("tasks") != url {
		t.Error("the address changed")
	}
	if got := pull(t, url, full); got != http.StatusOK {
		t.Errorf("started again: %d", got)
	}
}

func TestOpen(t *testing.T) {
	a, b := agentdbtest.Open(t, nil), agentdbtest.Open(t, nil)
	if _, err := a.Exec(t.Context(), "CREATE TABLE t(x); INSERT INTO t VALUES(1)"); err != nil {
		t.Fatal(err)
	}
	if _, err := agentdb.Get[int](t.Context(), b, "SELECT x FROM t"); err == nil {
		t.Error("two databases are one")
	}
	if err := a.Close(); err != nil { // and again when the test ends
		t.Error(err)
	}
}
