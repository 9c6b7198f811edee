package agentdbtest_test

import (
	"errors"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// TestTwoAgents is the package comment's example, with the server away for a while.
func TestTwoAgents(t *testing.T) {
	ctx := t.Context()
	srv := agentdbtest.NewServer(t)
	alice, bob := agentdbtest.Open(t, srv.Options("tasks")), agentdbtest.Open(t, srv.Options("tasks"))
	for _, db := range []*agentdb.DB{alice, bob} {
		if _, err := db.Exec(ctx, "CREATE TABLE IF NOT EXISTS tasks(id INTEGER PRIMARY KEY, what TEXT); INSERT INTO tasks(what) VALUES('x')"); err != nil {
			t.Fatal(err)
		}
	}
	srv.Stop()
	if _, err := alice.Sync(ctx); !errors.Is(err, agentdb.ErrOffline) {
		t.Errorf("offline: %v", err)
	}
	srv.Start()
	for _, db := range []*agentdb.DB{alice, bob, alice} {
		if _, err := db.Sync(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, db := range []*agentdb.DB{alice, bob} {
		if n, err := agentdb.Get[int](ctx, db, "SELECT count(*) FROM tasks"); n != 2 || err != nil {
			t.Errorf("%d rows, %v", n, err)
		}
	}
}
