package agentdb_test

import (
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// watched collects the values of column v that a watcher yields, until one is
// "last".
func watched(t *testing.T, db *agentdb.DB) (result func() string) {
	t.Helper()
	ch := make(chan agentdb.Change, 100)
	next := db.Watch(t.Context())
	go func() {
		defer close(ch)
		for c, err := range next {
			if err != nil {
				return
			}
			ch <- c
		}
	}()
	return func() string {
		got := ""
		for c := range ch {
			v, _ := c.New["v"].(string)
			if got += v + " "; v == "last" {
				break
			}
		}
		return got
	}
}

// TestWatchStrictWithPending: a strict transaction that the server puts into
// one commit with the replica's unsent changes is yielded, and those once.
func TestWatchStrictWithPending(t *testing.T) {
	for _, lost := range []int32{0, 1} {
		srv := agentdbtest.NewServer(t)
		f := &transport{}
		a := agentAt(t, srv, tmp(t), agentdb.SyncFull, f)
		b := agent(t, srv, agentdb.SyncFull)
		runSQL(t, a, tasks)
		both(t, a, b)
		here, there := watched(t, a), watched(t, b)
		runSQL(t, a, "INSERT INTO tasks(v) VALUES('pending')")
		f.drop.Store(lost)
		if err := a.UpdateOnServer(t.Context(), func(tx *agentdb.Tx) error {
			_, err := tx.Exec(t.Context(), "INSERT INTO tasks(v) VALUES('strict')")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		runSQL(t, a, "INSERT INTO tasks(v) VALUES('last')")
		both(t, a, b)
		for where, got := range map[string]string{"here": here(), "there": there()} {
			if got != "pending strict last " {
				t.Errorf("%d answers lost, %s: %s", lost, where, got)
			}
		}
	}
}
