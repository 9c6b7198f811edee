package agentdb_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// TestAnswersCross: two syncs of one file, whose answers come in the other order.
func TestAnswersCross(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	path := tmp(t)
	g1 := &gate{hold: map[int]chan struct{}{1: make(chan struct{})}, got: make(chan int, 100)}
	a1 := agentAt(t, srv, path, agentdb.SyncFull, nil)
	runSQL(t, a1, tasks)
	runSQL(t, a1, "INSERT INTO tasks(v) VALUES('one')")
	mustSync(t, a1)
	a2 := agentAt(t, srv, path, agentdb.SyncFull, g1) // another process
	// a1 gathers a request, which reaches the server only after a2's.
	before := make(chan struct{})
	ready := make(chan struct{})
	var once sync.Once
	f := &transport{before: func() { once.Do(func() { close(ready); <-before }) }}
	a3 := agentAt(t, srv, path, agentdb.SyncFull, f)
	done := make(chan error, 2)
	go func() { _, err := a3.Pull(t.Context()); done <- err }()
	<-ready
	runSQL(t, a1, "INSERT INTO tasks(v) VALUES('two')")
	go func() { _, err := a2.Sync(t.Context()); done <- err }()
	<-g1.got // executed, the answer is held back
	close(before)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	close(g1.hold[1])
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustSync(t, a1)
	want(t, a1, "SELECT id,v FROM tasks", "[[1 one] [2 two]]")
	b := agent(t, srv, agentdb.SyncFull)
	mustSync(t, b)
	want(t, b, "SELECT id,v FROM tasks", "[[1 one] [2 two]]")
}

// TestUpdateOnServerSentTwice: a strict transaction that is sent again while the first is still under way.
func TestUpdateOnServerSentTwice(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	f := &doubler{}
	a := agentAt(t, srv, tmp(t), agentdb.SyncFull, f)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('one')")
	mustSync(t, a)
	for i := range 30 {
		f.on = true
		runs := 0
		err := a.UpdateOnServer(t.Context(), func(tx *agentdb.Tx) error {
			runs++
			_, err := tx.Exec(t.Context(), "INSERT INTO tasks(v) VALUES(?)", fmt.Sprint("claim ", i))
			return err
		})
		f.on = false
		if err != nil {
			t.Fatal(err)
		}
		if runs != 1 {
			t.Errorf("round %d: ran %d times", i, runs)
		}
	}
	want(t, a, "SELECT count(*) FROM tasks", "[[31]]")
}

// TestBackgroundSyncAndCalls: the background sync, calls and writers at the same time.
func TestBackgroundSyncAndCalls(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	o := srv.Options("shared")
	o.Interval = 50 * time.Millisecond
	o.Synchronous = "OFF"
	a, err := agentdb.Open(t.Context(), tmp(t), o)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	runSQL(t, b, tasks)
	var wg sync.WaitGroup
	for i, db := range []*agentdb.DB{a, b} {
		for j := range 2 {
			wg.Go(func() {
				for n := range 40 {
					if _, err := db.Exec(t.Context(), "INSERT INTO tasks(v) VALUES(?)", fmt.Sprint(i, j, n)); err != nil {
						t.Error(err)
					}
					if j == 0 {
						if _, err := db.Sync(t.Context()); err != nil {
							t.Error(err)
						}
					} else if n%5 == 0 {
						if _, err := db.Pull(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	mustSync(t, a)
	mustSync(t, b)
	mustSync(t, a)
	want(t, a, "SELECT count(*), count(DISTINCT v) FROM tasks", "[[160 160]]")
	want(t, b, "SELECT count(*), count(DISTINCT v) FROM tasks", "[[160 160]]")
}

// TestPartialStatements: statements that fail halfway, and rows of RETURNING that nobody reads.
func TestPartialStatements(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE u(id INTEGER PRIMARY KEY, v UNIQUE); CREATE TABLE log(v); CREATE TRIGGER tr BEFORE INSERT ON u BEGIN INSERT INTO log VALUES(new.v); END")
	if err := a.Update(t.Context(), func(tx *agentdb.Tx) error {
		_, _ = tx.Exec(t.Context(), "INSERT INTO u(v) VALUES(1)")
		_, _ = tx.Exec(t.Context(), "INSERT INTO u(v) VALUES(1)")
		_, _ = tx.Exec(t.Context(), "INSERT OR FAIL INTO u(v) VALUES(2),(1),(3)")
		_, _ = agentdb.Get[int](t.Context(), tx, "INSERT INTO u(v) VALUES(4),(5) RETURNING id")
		_, _ = agentdb.Get[time.Time](t.Context(), tx, "INSERT INTO u(v) VALUES('six'),('seven') RETURNING v")
		for range agentdb.Iter[int](t.Context(), tx, "INSERT INTO u(v) VALUES(8),(9) RETURNING id") {
			break
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	both(t, a, b)
	got := linesOf(t, a, "SELECT v FROM u ORDER BY id")
	want(t, b, "SELECT v FROM u ORDER BY id", got)
	want(t, b, "SELECT v FROM log", linesOf(t, a, "SELECT v FROM log"))
	want(t, b, "SELECT count(*) FROM agentdb_conflicts", "[[0]]")
}

// TestReturningThroughSQL: the same through database/sql.
func TestReturningThroughSQL(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE u(id INTEGER PRIMARY KEY, v UNIQUE)")
	s := a.SQL()
	rows, err := s.QueryContext(t.Context(), "INSERT INTO u(v) VALUES(1),(2),(3) RETURNING id")
	if err != nil {
		t.Fatal(err)
	}
	rows.Next()
	_ = rows.Close()
	tx, err := s.BeginTx(t.Context(), &sql.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rows, err = tx.QueryContext(t.Context(), "INSERT INTO u(v) VALUES(4),(5) RETURNING id")
	if err != nil {
		t.Fatal(err)
	}
	rows.Next()
	_ = rows.Close()
	ctx, cancel := context.WithCancel(t.Context())
	rows, err = tx.QueryContext(ctx, "INSERT INTO u(v) VALUES(6),(7) RETURNING id")
	if err == nil {
		rows.Next()
	}
	cancel()
	if err == nil {
		_ = rows.Close()
	}
	_ = tx.Commit() // the cancelled query may have ended it
	both(t, a, b)
	got := linesOf(t, a, "SELECT v FROM u ORDER BY id")
	want(t, b, "SELECT v FROM u ORDER BY id", got)
}

// TestInterruptedTransactions: transactions that are interrupted.
func TestInterruptedTransactions(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	a, b := agent(t, srv, agentdb.SyncFull), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, "CREATE TABLE u(id INTEGER PRIMARY KEY, v)")
	for i := range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*3*time.Millisecond)
		_ = a.Update(ctx, func(tx *agentdb.Tx) error {
			_, _ = tx.Exec(t.Context(), "INSERT INTO u(v) VALUES('a')")
			_, _ = tx.Exec(ctx, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 20000) INSERT INTO u(v) SELECT x FROM c")
			_, _ = tx.Exec(t.Context(), "INSERT INTO u(v) VALUES('b')")
			return nil
		})
		cancel()
	}
	both(t, a, b)
	want(t, b, "SELECT count(*) FROM u", linesOf(t, a, "SELECT count(*) FROM u"))
}
