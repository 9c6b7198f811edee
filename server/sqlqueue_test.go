package server_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb/server"
)

func TestSQLReadsBesideWrites(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true, Limits: server.Limits{BusyTimeout: 10 * time.Second, TransactionIdle: 20 * time.Second}})
	s.pipeline("", "CREATE TABLE t(x)", "INSERT INTO t VALUES(1)")
	read := s.pipeline("", "BEGIN TRANSACTION READONLY", "SELECT count(*) FROM t", "INSERT INTO t VALUES(9)", "BEGIN", "SAVEPOINT a", "RELEASE a",
		"PRAGMA foreign_keys=OFF", `{"type":"describe","sql":"SELECT 1"}`, `{"type":"sequence","sql":"SELECT 1"}`, `{"type":"get_autocommit"}`)
	if got := read.codes(); got != "ok ok SQLITE_READONLY SQLITE_ERROR ok ok ok ok SQLITE_ERROR ok" || read.Baton == "" || read.Results[9].Response.IsAutocommit {
		t.Fatal(got)
	}
	write := s.pipeline("", "INSERT INTO t VALUES(2)", "BEGIN", "INSERT INTO t VALUES(3)", "SELECT count(*) FROM t")
	if write.codes() != "ok ok ok ok" || write.text(3) != "3" {
		t.Fatal(write.codes(), write.text(3))
	}
	start := time.Now()
	if got := s.pipeline("", "SELECT count(*) FROM t", "SELECT last_insert_rowid()"); got.text(0) != "2" || got.text(1) != "0" {
		t.Errorf("beside both: %s, %s", got.text(0), got.text(1))
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it waited for %v", took)
	}
	read = s.pipeline(read.Baton, "SELECT count(*) FROM t", "COMMIT", "SELECT count(*) FROM t")
	if read.text(0) != "1" || read.text(2) != "2" || read.Baton != "" {
		t.Errorf("a transaction that reads: %s, then %s", read.text(0), read.text(2))
	}
	write = s.pipeline(write.Baton, "COMMIT", "SELECT count(*) FROM t", "SELECT last_insert_rowid()", "DELETE FROM t", "SELECT changes()")
	if write.codes() != "ok ok ok ok ok" || write.text(1) != "3" || write.text(2) != "3" || write.text(4) != "3" {
		t.Errorf("%s: %s, %s, %s", write.codes(), write.text(1), write.text(2), write.text(4))
	}
}

func TestSQLLongReadBlocksNobody(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true, Limits: server.Limits{BusyTimeout: time.Second}})
	const forever = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < %d) SELECT count(*) FROM c"
	s.pipeline("", "CREATE TABLE t(x)", fmt.Sprintf(forever, 100_000)) // which shares the file
	long := 3_000_000
	if testing.Short() {
		long = 200_000
	}
	var wg sync.WaitGroup
	begun := make(chan struct{})
	wg.Go(func() {
		close(begun)
		if got := s.pipeline("", fmt.Sprintf(forever, long)).codes(); got != "ok" {
			t.Error(got)
		}
	})
	<-begun
	for range 50 {
		if got := s.pipeline("", "INSERT INTO t VALUES(1)", "SELECT count(*) FROM t").codes(); got != "ok ok" {
			t.Error(got)
		}
	}
	wg.Wait()
}

func TestSQLWritersQueue(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE n(v)", "INSERT INTO n VALUES(0)")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				a := s.pipeline("", "BEGIN IMMEDIATE", "SELECT v FROM n")
				b := s.pipeline(a.Baton, "UPDATE n SET v = v + 1", "COMMIT")
				if a.codes() != "ok ok" || b.codes() != "ok ok" {
					t.Errorf("%s, %s", a.codes(), b.codes())
				}
			}
		})
	}
	wg.Wait()
	if got := s.pipeline("", "SELECT v FROM n").text(0); got != "40" {
		t.Errorf("%s, want 40", got)
	}
}

// changes() and last_insert_rowid() speak of a stream's own statements only.
func TestSQLChangesOfOthers(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	const query = "SELECT changes() || ' ' || total_changes() || ' ' || last_insert_rowid()"
	s.pipeline("", "CREATE TABLE t(x)", "INSERT INTO t VALUES(1),(2),(3)")
	if got := s.pipeline("", query).text(0); got != "0 0 0" {
		t.Errorf("a new stream: %s", got)
	}
	kept := `{"type":"store_sql","sql_id":1,"sql":"SELECT 1"}` // it keeps the stream
	a := s.pipeline("", kept, "INSERT INTO t VALUES(4),(5)", query)
	if got := a.text(2); got != "2 2 5" {
		t.Errorf("after an insert: %s", got)
	}
	s.pipeline("", "UPDATE t SET x = x + 1", "INSERT INTO t VALUES(6)")
	a = s.pipeline(a.Baton, query, "BEGIN", "DELETE FROM t WHERE x < 4", query, "COMMIT", query)
	if got := []string{a.text(0), a.text(3), a.text(5)}; fmt.Sprint(got) != "[2 2 5 2 4 5 2 4 5]" {
		t.Errorf("after another's statements: %v", got)
	}
}
