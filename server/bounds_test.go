package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/server"
)

// A statement that sorts or gathers more than there is temporary space for fails,
// and nothing else does.
func TestSQLTempSpace(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true, Limits: server.Limits{MaxTemp: 4 << 20}})
	s.pipeline("", "CREATE TABLE t(x)")
	rows := "SELECT n, hex(randomblob(500)) AS x FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT n FROM c LIMIT %d)"
	const sorted = "SELECT count(*) FROM (SELECT x FROM (" + "%s" + ") ORDER BY x LIMIT -1 OFFSET 1)"
	for range 5 { // on the writer and on each reader
		for _, sql := range []string{
			fmt.Sprintf(sorted, fmt.Sprintf(rows, 20000)),
			"WITH RECURSIVE c(n, x) AS (SELECT 1, hex(zeroblob(500)) UNION SELECT n+1, x FROM c) SELECT count(*) FROM c",
			"INSERT INTO t " + strings.Replace(fmt.Sprintf(rows, 20000), "n, ", "", 1) + " ORDER BY x",
		} {
			a := s.pipeline("", sql)
			if a.codes() != "SQLITE_FULL" || !strings.Contains(a.Results[0].Error.Message, "4 MiB of temporary space") {
				t.Fatalf("%s: %s %s", sql, a.codes(), a.Results[0].Error.Message)
			}
		}
		if a := s.pipeline("", fmt.Sprintf(sorted, fmt.Sprintf(rows, 1000)), "INSERT INTO t VALUES (1)", "SELECT count(*) FROM t", "DELETE FROM t"); a.codes() != "ok ok ok ok" || a.text(2) != "1" {
			t.Fatal(a.codes(), a.text(2))
		}
	}
	if _, status, body := s.pull("x", "", str(7, fmt.Sprintf(sorted, fmt.Sprintf(rows, 20000)))); status != 400 || !strings.Contains(body, "temporary space") {
		t.Errorf("%d %s", status, body)
	}
}

// What triggers hold within one another counts as the statement's.
func TestSQLTriggersHoldNoMemory(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	const deep, wide = 60, 20
	var values []string
	for range wide {
		values = append(values, "hex(randomblob(1500000))")
	}
	// 60 rows of 60 MB, all of them held while the last one is made.
	names := make([]string, wide)
	for k := range names {
		names[k] = fmt.Sprint("c", k)
	}
	var script []string
	for i := range deep + 1 {
		script = append(script, fmt.Sprintf("CREATE TABLE t%d(%s)", i, strings.Join(names, ",")))
	}
	for i := range deep {
		script = append(script, fmt.Sprintf("CREATE TRIGGER r%d BEFORE INSERT ON t%d BEGIN INSERT INTO t%d VALUES (%s); END", i, i, i+1, strings.Join(values, ",")))
	}
	for _, sql := range script {
		if a := s.pipeline("", sql); a.codes() != "ok" {
			t.Fatal(a.codes(), sql)
		}
	}
	if a := s.pipeline("", "INSERT INTO t0(c0) VALUES (1)"); a.codes() != "SQLITE_TOOBIG" {
		t.Error(a.codes())
	}
	if a := s.pipeline("", "INSERT INTO t50(c0) VALUES (1)", "SELECT count(*) FROM t60"); a.codes() != "SQLITE_TOOBIG ok" {
		t.Error(a.codes())
	}
	// A trigger beside others is no reason to refuse a large value.
	for i := range 5 {
		s.pipeline("", fmt.Sprintf("CREATE TRIGGER s%d AFTER INSERT ON t60 BEGIN UPDATE t60 SET c1 = %d WHERE rowid = new.rowid; END", i, i))
	}
	if a := s.pipeline("", "INSERT INTO t60(c0) VALUES (hex(randomblob(2000000)))", "SELECT length(c0), c1 FROM t60"); a.codes() != "ok ok" {
		t.Error(a.codes())
	}
}
