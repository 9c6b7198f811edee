package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
)

// values collects the first column of a result.
type values []string

func (v *values) Columns([]tenant.Column) error { return nil }

func (v *values) Row(vals []sqlite.Value) error {
	if len(vals) > 0 {
		*v = append(*v, fmt.Sprint(vals[0].Any()))
	}
	return nil
}

// must runs statements and returns the values of the last one.
func must(t *testing.T, s *tenant.Session, statements ...string) (v values) {
	t.Helper()
	for _, sql := range statements {
		v = nil
		if _, err := s.Run(t.Context(), &tenant.Query{SQL: sql}, &v); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if err := s.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	return v
}

// TestSessionsUnderPressure counts in more databases than may be open, which
// are closed as soon as nobody uses them.
func TestSessionsUnderPressure(t *testing.T) {
	const dbs, clients, rounds = 5, 4, 15
	m := newManager(t, tenant.Config{MaxOpen: 2, IdleClose: 4 * time.Millisecond})
	session := func(db int) *tenant.Session {
		return m.Session(fmt.Sprint("db", db), tenant.SessionConfig{Write: true, Create: true, Author: "test"})
	}
	for db := range dbs {
		must(t, session(db), "CREATE TABLE n(v)", "INSERT INTO n VALUES(0)")
	}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range rounds {
				s := session((c + i) % dbs)
				before := must(t, s, "SELECT v FROM n")
				must(t, s, "UPDATE n SET v = v + 1")
				must(t, s, "BEGIN", "UPDATE n SET v = v + 1", "SELECT v FROM n")
				if i%3 == 0 {
					time.Sleep(2 * time.Millisecond)
				}
				if i%5 == 0 {
					s.Close() // which rolls back
				} else {
					must(t, s, "COMMIT")
				}
				must(t, s, "BEGIN TRANSACTION READONLY")
				first := must(t, s, "SELECT v FROM n")
				if again := must(t, s, "SELECT v FROM n"); fmt.Sprint(first) != fmt.Sprint(again) || len(before) != 1 {
					t.Errorf("one transaction reads %s, then %s", first, again)
				}
				must(t, s, "ROLLBACK")
			}
		})
	}
	wg.Wait()
	total := 0
	for db := range dbs {
		var n int
		if _, err := fmt.Sscan(must(t, session(db), "SELECT v FROM n")[0], &n); err != nil {
			t.Error(err)
		}
		total += n
	}
	if want := clients * rounds * 9 / 5; total != want {
		t.Errorf("counted to %d, want %d", total, want)
	}
}

// TestSessionOfDeletedDatabase: a transaction ends with its database, which can
// be made anew.
func TestSessionOfDeletedDatabase(t *testing.T) {
	m := newManager(t, tenant.Config{})
	cfg := tenant.SessionConfig{Write: true, Create: true, Author: "test"}
	s := m.Session("db", cfg)
	must(t, s, "CREATE TABLE t(x)", "BEGIN", "INSERT INTO t VALUES(1)")
	if err := m.Delete(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context(), &tenant.Query{SQL: "COMMIT"}, nil); !errors.Is(err, tenant.ErrLost) {
		t.Errorf("COMMIT: %v", err)
	}
	must(t, m.Session("db", cfg), "CREATE TABLE t(y)", "SELECT y FROM t")
	read := m.Session("none", tenant.SessionConfig{})
	if _, err := read.Run(t.Context(), &tenant.Query{SQL: "SELECT 1"}, nil); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("no such database: %v", err)
	}
}

// TestSessionIsCancelled: who leaves neither holds the database nor leaves half
// of a statement behind.
func TestSessionIsCancelled(t *testing.T) {
	m := newManager(t, tenant.Config{})
	s := m.Session("db", tenant.SessionConfig{Write: true, Create: true, Author: "test"})
	must(t, s, "CREATE TABLE t(x)")
	const endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) "
	for _, sql := range []string{endless + "SELECT count(*) FROM c", endless + "INSERT INTO t SELECT n FROM c WHERE n < 1000 OR n > 1e15"} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if _, err := s.Run(ctx, &tenant.Query{SQL: sql}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", sql, err)
		}
		cancel()
	}
	if got := must(t, s, "SELECT count(*) FROM t"); got[0] != "0" {
		t.Errorf("%s rows", got)
	}
}

// TestDeletedDatabaseIsClosed: a database that is deleted gives back its memory
// and its files at once.
func TestDeletedDatabaseIsClosed(t *testing.T) {
	m := newManager(t, tenant.Config{})
	for i := range 5 {
		name := fmt.Sprint("d", i)
		must(t, m.Session(name, tenant.SessionConfig{Write: true, Create: true}), "CREATE TABLE t(x)")
		if err := m.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for start := time.Now(); m.Stats().Open > 0; time.Sleep(time.Millisecond) {
		if time.Since(start) > 2*time.Second {
			t.Fatalf("%d databases are open", m.Stats().Open)
		}
	}
}
