package sqlite_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
)

const endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

func TestInterrupt(t *testing.T) {
	c := newConn(t)
	c.Interrupt() // nothing runs: no effect
	exec(t, c, "SELECT 1")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				c.Interrupt()
			}
		}
	})
	for range 3 {
		_, err := c.QueryInt(endless)
		wantCode(t, err, "SQLITE_INTERRUPT")
		if !sqlite.IsInterrupt(err) {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	exec(t, c, "SELECT 1")
}

func TestInterruptAgainstClose(t *testing.T) {
	for range 50 {
		c, err := sqlite.Open(":memory:", sqlite.Options{})
		must(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 20 {
				c.Interrupt()
			}
		})
		_ = c.Exec("CREATE TABLE t(a)")
		must(t, c.Close())
		wg.Wait()
	}
}

func TestBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.db")
	a := openPath(t, path, sqlite.Options{}, "CREATE TABLE t(a); BEGIN IMMEDIATE")
	b := openPath(t, path, sqlite.Options{BusyTimeout: -1})
	err := b.Exec("INSERT INTO t VALUES(1)")
	wantCode(t, err, "SQLITE_BUSY")
	if !sqlite.IsBusy(err) || sqlite.IsInterrupt(err) {
		t.Error(err)
	}
	short := openPath(t, path, sqlite.Options{BusyTimeout: 60 * time.Millisecond})
	start := time.Now()
	wantCode(t, short.Exec("INSERT INTO t VALUES(1)"), "SQLITE_BUSY")
	if d := time.Since(start); d < 50*time.Millisecond || d > 2*time.Second {
		t.Errorf("waited %v", d)
	}
	if queryInt(t, b, "SELECT count(*) FROM t") != 0 { // readers never wait
		t.Error("count")
	}
	patient := openPath(t, path, sqlite.Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := patient.Exec("INSERT INTO t VALUES(1)"); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(30 * time.Millisecond)
	exec(t, a, "COMMIT")
	wg.Wait()
}

func TestBusySnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.db")
	a := openPath(t, path, sqlite.Options{}, "CREATE TABLE t(a)")
	b := openPath(t, path, sqlite.Options{}, "BEGIN; SELECT * FROM t")
	exec(t, a, "INSERT INTO t VALUES(1)")
	err := b.Exec("INSERT INTO t VALUES(2)")
	wantCode(t, err, "SQLITE_BUSY_SNAPSHOT")
	if !sqlite.IsBusy(err) {
		t.Error(err)
	}
	exec(t, b, "ROLLBACK; INSERT INTO t VALUES(2)")
}

func TestInterruptWhileWaitingForLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.db")
	openPath(t, path, sqlite.Options{}, "CREATE TABLE t(a); BEGIN IMMEDIATE")
	b := openPath(t, path, sqlite.Options{BusyTimeout: time.Minute})
	go func() {
		time.Sleep(30 * time.Millisecond)
		b.Interrupt()
	}()
	start := time.Now()
	wantCode(t, b.Exec("BEGIN IMMEDIATE"), "SQLITE_INTERRUPT")
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("waited %v", d)
	}
	exec(t, b, "SELECT * FROM t")
}

// TestParallel has several connections to one file and to files of their own
// at work at once; the race detector watches.
func TestParallel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shared.db")
	const workers, rounds = 6, 40
	openPath(t, path, sqlite.Options{}, "CREATE TABLE t(w, i)")
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			if err := work(path, filepath.Join(t.TempDir(), "own.db"), w, rounds); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c := openPath(t, path, sqlite.Options{ReadOnly: true})
	if n := queryInt(t, c, "SELECT count(*) FROM t"); n != workers*rounds {
		t.Errorf("%d rows", n)
	}
	if got := queryText(t, c, "PRAGMA integrity_check"); got != "ok" {
		t.Error(got)
	}
}

func work(shared, own string, w, rounds int) error {
	for _, path := range []string{shared, own} {
		c, err := sqlite.Open(path, sqlite.Options{BusyTimeout: time.Minute, Synchronous: "NORMAL"})
		if err != nil {
			return err
		}
		defer c.Close()
		hooked := 0
		c.PreUpdate(func(p *sqlite.PreUpdate) { hooked++ })
		if err := c.Exec("CREATE TABLE IF NOT EXISTS t(w, i)"); err != nil {
			return err
		}
		for i := range rounds {
			if err := c.ExecArgs("INSERT INTO t VALUES(?, ?)", sqlite.Int(int64(w)), sqlite.Int(int64(i))); err != nil {
				return err
			}
			if n, err := c.QueryInt("SELECT count(*) FROM t WHERE w = ?", sqlite.Int(int64(w))); err != nil || n != int64(i+1) {
				return fmt.Errorf("%d rows in round %d: %w", n, i, err)
			}
		}
		if hooked != rounds {
			return fmt.Errorf("hook ran %d times", hooked)
		}
	}
	return nil
}
