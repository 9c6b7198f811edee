package server_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb/server"
)

// TestSQLTransactionsAreFair lets eight clients run interactive transactions on
// one database, each of two requests, one after the other without a pause. They
// queue: nobody gets a second turn while another waits for its first.
func TestSQLTransactionsAreFair(t *testing.T) {
	const clients = 8
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(client, n)")
	counts := make([]int, clients)
	end := time.Now().Add(time.Second)
	var wg sync.WaitGroup
	for i := range counts {
		wg.Go(func() {
			for time.Now().Before(end) {
				a := s.pipeline("", "BEGIN IMMEDIATE", "INSERT INTO t VALUES(1, 1)")
				if got := a.codes(); got != "ok ok" {
					t.Errorf("client %d: begin: %s", i, got)
					return
				}
				if got := s.pipeline(a.Baton, "INSERT INTO t VALUES(1, 2)", "COMMIT", `{"type":"close"}`).codes(); got != "ok ok ok" {
					t.Errorf("client %d: commit: %s", i, got)
					return
				}
				counts[i]++
			}
		})
	}
	wg.Wait()
	least, most := slices.Min(counts), slices.Max(counts)
	t.Logf("transactions by client: %v", counts)
	if least < 5 || most > least+least/4+4 {
		t.Errorf("%d transactions for one client, %d for another", least, most)
	}
}
