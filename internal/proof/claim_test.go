package proof

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

const tasks = "CREATE TABLE tasks (id INTEGER PRIMARY KEY, owner TEXT, done INT DEFAULT 0)"

var errNoTask = errors.New("nothing to claim")

// claim takes the first free task.
func claim(ctx context.Context, db *agentdb.DB, owner string) (id int64, err error) {
	err = db.UpdateOnServer(ctx, func(tx *agentdb.Tx) error {
		id, err = agentdb.Get[int64](ctx, tx, "SELECT id FROM tasks WHERE owner IS NULL ORDER BY id LIMIT 1")
		if errors.Is(err, agentdb.ErrNoRows) {
			return errNoTask
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE tasks SET owner = ? WHERE id = ?", owner, id)
		return err
	})
	return id, err
}

// TestClaim lets ten agents claim a hundred tasks, over a network that loses
// answers, each task exactly once.
func TestClaim(t *testing.T) {
	for _, faults := range []bool{false, true} {
		t.Run(fmt.Sprint(faults), func(t *testing.T) { testClaim(t, faults) })
	}
}

func testClaim(t *testing.T, faults bool) {
	l := newLab(t)
	as := l.full(10)
	as[0].exec(tasks)
	as[0].exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) INSERT INTO tasks (id) SELECT i FROM n")
	for _, a := range as {
		a.sync()
	}
	var mu sync.Mutex
	owners := map[int64]string{}
	var wg sync.WaitGroup
	for i, a := range as {
		if faults {
			n := 0
			a.proxy.chaos(func() fault {
				if n++; n%3 == 0 {
					return fault{kind: []faultKind{faultDropAnswer, faultRefuse, faultTwice, faultReplay}[n/3%4]}
				}
				return fault{}
			})
		}
		wg.Go(func() {
			me := fmt.Sprint("agent", i)
			for {
				id, err := claim(bg(t), a.DB, me)
				switch {
				case errors.Is(err, errNoTask):
					return
				case errors.Is(err, agentdb.ErrOffline) && faults:
					continue
				case err != nil:
					t.Errorf("claim: %v", err)
					return
				}
				mu.Lock()
				if owners[id] != "" {
					t.Errorf("task %d claimed by %s and %s", id, owners[id], me)
				}
				owners[id] = me
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, a := range as {
		a.proxy.chaos(nil)
	}
	settle(as...)
	if !faults {
		want(t, "claimed", len(owners), 100)
	}
	for _, r := range all[[]any](t, as[0].DB, "SELECT id, owner FROM tasks") {
		if o := owners[r[0].(int64)]; o != "" && o != r[1] {
			t.Errorf("task %v belongs to %v, but %s was told that it had it", r[0], r[1], o)
		}
		if r[1] == nil {
			t.Errorf("task %v was never claimed", r[0])
		}
	}
	want(t, "conflicts", len(as[0].conflicts("tasks")), 0)
}

// TestClaimIsUndone looks at what a rejected or failed transaction leaves.
func TestClaimIsUndone(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec(tasks)
	as[0].exec("INSERT INTO tasks (id) VALUES (1), (2)")
	settle(as...)
	as[0].exec("UPDATE tasks SET owner = 'a' WHERE id = 1")
	as[0].sync()
	as[1].exec("UPDATE tasks SET done = 1 WHERE id = 2") // unsent, and has nothing to do with it
	tries := 0
	err := as[1].UpdateOnServer(bg(t), func(tx *agentdb.Tx) error {
		tries++
		owner, err := agentdb.Get[*string](bg(t), tx, "SELECT owner FROM tasks WHERE id = 1")
		if err != nil {
			return err
		}
		if owner != nil {
			return errNoTask
		}
		_, err = tx.Exec(bg(t), "UPDATE tasks SET owner = 'b' WHERE id = 1")
		return err
	})
	if !errors.Is(err, errNoTask) || tries != 2 {
		t.Errorf("%v after %d tries", err, tries)
	}
	want(t, "owner", get[string](t, as[1].DB, "SELECT owner FROM tasks WHERE id = 1"), "a")
	settle(as...)
	want(t, "owner", get[string](t, as[0].DB, "SELECT owner FROM tasks WHERE id = 1"), "a")
	want(t, "done", get[int](t, as[0].DB, "SELECT done FROM tasks WHERE id = 2"), 1)

	boom := errors.New("boom")
	err = as[1].UpdateOnServer(bg(t), func(tx *agentdb.Tx) error {
		if _, err := tx.Exec(bg(t), "DELETE FROM tasks"); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Error(err)
	}
	want(t, "tasks", get[int](t, as[1].DB, "SELECT count(*) FROM tasks"), 2)
	settle(as...)

	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	err = as[1].UpdateOnServer(ctx, func(tx *agentdb.Tx) error { // never gets through
		as[0].exec("UPDATE tasks SET owner = owner || '+' WHERE id = 1")
		as[0].sync()
		_, err := tx.Exec(ctx, "UPDATE tasks SET owner = 'b' WHERE id = 1")
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hopeless claim: %v", err)
	}
	settle(as...)
	if owner := get[string](t, as[0].DB, "SELECT owner FROM tasks WHERE id = 1"); owner == "b" || as[1].Status().Pending != 0 {
		t.Errorf("owner %s", owner)
	}
}

// TestCounter adds on the server, which loses nothing where plain updates would.
func TestCounter(t *testing.T) {
	l := newLab(t)
	as := l.full(4)
	as[0].exec("CREATE TABLE counter (k TEXT PRIMARY KEY, n INT)")
	as[0].exec("INSERT INTO counter VALUES ('x', 0)")
	for _, a := range as {
		a.sync()
	}
	var wg sync.WaitGroup
	for _, a := range as {
		wg.Go(func() {
			for range 15 {
				err := a.UpdateOnServer(bg(t), func(tx *agentdb.Tx) error {
					_, err := tx.Exec(bg(t), "UPDATE counter SET n = n + 1")
					return err
				})
				if err != nil {
					t.Errorf("count: %v", err)
				}
			}
		})
	}
	wg.Wait()
	settle(as...)
	want(t, "count", get[int](t, as[0].DB, "SELECT n FROM counter"), 60)
}
