package agentdb_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

// endless is a query that would run for hours.
const endless = "WITH RECURSIVE s(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM s) SELECT count(*) FROM s WHERE i < 0"

// endlessCalls are the ways to run it.
func endlessCalls(t *testing.T, db *agentdb.DB) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Exec": func(ctx context.Context) error { _, err := db.Exec(ctx, endless); return err },
		"Get":  func(ctx context.Context) error { _, err := agentdb.Get[int](ctx, db, endless); return err },
		"All":  func(ctx context.Context) error { _, err := agentdb.All[int](ctx, db, endless); return err },
		"Iter": func(ctx context.Context) error {
			for _, err := range agentdb.Iter[int](ctx, db, endless) {
				return err
			}
			return nil
		},
		"Insert": func(ctx context.Context) error { _, err := db.Exec(ctx, "INSERT INTO t "+endless); return err },
		"Update": func(ctx context.Context) error {
			return db.Update(ctx, func(tx *agentdb.Tx) error {
				mustExec(t, tx, "INSERT INTO t VALUES (1)")
				_, err := tx.Exec(ctx, "INSERT INTO t "+endless)
				return err
			})
		},
		"Update, another context": func(ctx context.Context) error {
			return db.Update(ctx, func(tx *agentdb.Tx) error {
				_, err := tx.Exec(context.Background(), endless)
				return err
			})
		},
		"View": func(ctx context.Context) error {
			return db.View(ctx, func(tx *agentdb.Tx) error {
				_, err := agentdb.Get[int](ctx, tx, endless)
				return err
			})
		},
		"database/sql": func(ctx context.Context) error {
			var n int
			return db.SQL().QueryRowContext(ctx, endless).Scan(&n)
		},
		"database/sql exec": func(ctx context.Context) error { _, err := db.SQL().ExecContext(ctx, endless); return err },
	}
}

func TestCancelInterruptsSQL(t *testing.T) {
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE t (a)")
	calls := endlessCalls(t, db)
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
			defer cancel()
			start := time.Now()
			err := call(ctx)
			if name == "Update, another context" {
				if err == nil {
					t.Error("no error")
				}
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, call := range calls {
		if err := call(cancelled); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that has ended: %v", name, err)
		}
	}
	if n := mustGet[int](t, db, "SELECT count(*) FROM t"); n != 0 {
		t.Errorf("%d rows", n)
	}
	mustExec(t, db, "INSERT INTO t VALUES (1)") // nothing is left interrupted
}

func TestCancelWhileQueued(t *testing.T) {
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE t (a)")
	err := db.Update(context.Background(), func(*agentdb.Tx) error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if _, err := db.Exec(ctx, "INSERT INTO t VALUES (1)"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("exec: %v", err)
		}
		if _, err := db.SQL().ExecContext(ctx, "INSERT INTO t VALUES (1)"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("database/sql: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	mustExec(t, db, "INSERT INTO t VALUES (1)")
}

// The cause of a cancelled context isn't lost.
func TestCancelCause(t *testing.T) {
	db := open(t, nil)
	why := errors.New("the agent was told to stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	if _, err := db.Exec(ctx, "SELECT 1"); !errors.Is(err, why) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestWritersQueueInOrder(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
	var wg sync.WaitGroup
	err := db.Update(ctx, func(*agentdb.Tx) error {
		for i := range 20 {
			wg.Go(func() {
				if _, err := db.Exec(ctx, "INSERT INTO t (a) VALUES (?)", i); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(3 * time.Millisecond) // it is in the queue by then
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	order, err := agentdb.All[int](ctx, db, "SELECT a FROM t ORDER BY id")
	if err != nil || len(order) != 20 {
		t.Fatalf("%v, %v", order, err)
	}
	for i, a := range order {
		if i != a {
			t.Fatalf("order: %v", order)
		}
	}
}

func TestManyGoroutines(t *testing.T) {
	ctx := context.Background()
	db := open(t, &agentdb.Options{Synchronous: "NORMAL", Readers: 2})
	mustExec(t, db, "CREATE TABLE acc (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO acc VALUES (1, 500), (2, 500)")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 40 {
				var err error
				switch g % 4 {
				case 0:
					err = db.Update(ctx, func(tx *agentdb.Tx) error { return transfer(ctx, tx, rand.N(100)) })
				case 1:
					err = transferSQL(ctx, db, rand.N(100))
				case 2:
					var sum int
					if sum, err = agentdb.Get[int](ctx, db, "SELECT sum(n) FROM acc"); sum != 1000 {
						t.Errorf("the sum is %d", sum)
					}
				case 3:
					err = db.View(ctx, func(tx *agentdb.Tx) error {
						a := mustGet[int](t, tx, "SELECT n FROM acc WHERE id = 1")
						b := mustGet[int](t, tx, "SELECT n FROM acc WHERE id = 2")
						if a+b != 1000 {
							t.Errorf("the sum is %d", a+b)
						}
						return nil
					})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func transfer(ctx context.Context, tx *agentdb.Tx, n int) error {
	if _, err := tx.Exec(ctx, "UPDATE acc SET n = n - ? WHERE id = 1", n); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "UPDATE acc SET n = n + ? WHERE id = 2", n)
	return err
}

func transferSQL(ctx context.Context, db *agentdb.DB, n int) error {
	tx, err := db.SQL().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "UPDATE acc SET n = n - ? WHERE id = 2", n); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE acc SET n = n + ? WHERE id = 1", n); err != nil {
		return err
	}
	return tx.Commit()
}

// A transaction may be used by several goroutines, also while rows are read from it.
func TestTxFromManyGoroutines(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE t (a)")
	err := db.Update(ctx, func(tx *agentdb.Tx) error {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					mustExec(t, tx, "INSERT INTO t VALUES (1)")
					for _, err := range agentdb.Iter[int](ctx, tx, "SELECT a FROM t LIMIT 3") {
						if err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		return nil
	})
	if n := mustGet[int](t, db, "SELECT count(*) FROM t"); err != nil || n != 200 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// Two handles on one file don't share a queue, like two processes.
func TestTwoHandles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	dbs := []*agentdb.DB{openAt(t, path, nil), openAt(t, path, nil)}
	mustExec(t, dbs[0], "CREATE TABLE t (a)")
	var wg sync.WaitGroup
	for _, db := range dbs {
		for range 2 {
			wg.Go(func() {
				for range 30 {
					mustExec(t, db, "INSERT INTO t VALUES (1)")
				}
			})
		}
	}
	wg.Wait()
	if n := mustGet[int](t, dbs[1], "SELECT count(*) FROM t"); n != 120 {
		t.Errorf("%d rows", n)
	}
}

func TestBusyTimeout(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "a.db")
	holder := openAt(t, path, nil)
	mustExec(t, holder, "CREATE TABLE t (a)")
	db := openAt(t, path, &agentdb.Options{BusyTimeout: 60 * time.Millisecond})
	patient := openAt(t, path, nil)
	err := holder.Update(ctx, func(tx *agentdb.Tx) error {
		start := time.Now()
		_, err := db.Exec(ctx, "INSERT INTO t VALUES (1)")
		var e *agentdb.Error
		if !errors.As(err, &e) || e.Name != "SQLITE_BUSY" {
			t.Errorf("exec: %v", err)
		}
		if d := time.Since(start); d < 50*time.Millisecond || d > 2*time.Second {
			t.Errorf("it took %v", d)
		}
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if _, err := patient.Exec(short, "INSERT INTO t VALUES (1)"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("exec: %v", err)
		}
		short, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := patient.Update(short, func(*agentdb.Tx) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("update: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// child is what TestManyProcesses starts: it inserts rows in every way there is.
const childEnv = "AGENTDB_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := child(path, os.Getenv(childEnv+"_N")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const childSchema = "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY AUTOINCREMENT, who INTEGER)"

func child(path, count string) error {
	ctx := context.Background()
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	db, err := agentdb.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	if _, err := db.Exec(ctx, childSchema); err != nil {
		return err
	}
	const ins = "INSERT INTO t (who) VALUES (?)"
	for range n {
		if _, err := db.Exec(ctx, ins, os.Getpid()); err != nil {
			return err
		}
		err := db.Update(ctx, func(tx *agentdb.Tx) error {
			if _, err := agentdb.Get[int](ctx, tx, "SELECT count(*) FROM t"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, ins, os.Getpid())
			return err
		})
		if err != nil {
			return err
		}
		if _, err := db.SQL().ExecContext(ctx, ins, os.Getpid()); err != nil {
			return err
		}
		if _, err := agentdb.Get[int](ctx, db, ins+" RETURNING id", os.Getpid()); err != nil {
			return err
		}
	}
	return db.Close()
}

func TestManyProcesses(t *testing.T) {
	const procs, each = 4, 25
	path := filepath.Join(t.TempDir(), "a.db")
	var wg sync.WaitGroup
	for range procs { // all of them try to be the one that creates the file
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childEnv+"="+path, childEnv+"_N="+strconv.Itoa(each))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, strings.TrimSpace(string(out)))
			}
		})
	}
	db := openAt(t, path, nil)
	mustExec(t, db, childSchema)
	for range each {
		mustExec(t, db, "INSERT INTO t (who) VALUES (0)")
	}
	wg.Wait()
	if n := mustGet[int](t, db, "SELECT count(*) FROM t"); n != procs*each*4+each {
		t.Errorf("%d rows", n)
	}
	if s := mustGet[string](t, db, "PRAGMA integrity_check"); s != "ok" {
		t.Error(s)
	}
}
