package server_test

import (
	"strings"
	"testing"

	"github.com/agentdb/agentdb/server"
)

// TestNoNameForRowid: a table whose columns hide all names of its rowid, which clients could not sync, is refused.
func TestNoNameForRowid(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	const create = "CREATE TABLE h(rowid, oid, _rowid_)"
	a := s.pipeline("", create, "CREATE TABLE t(a, rowid AS (a))", "INSERT INTO t(a) VALUES(1)", "BEGIN", create, "INSERT INTO t(a) VALUES(2)", "COMMIT")
	if got := a.codes(); got != "SQLITE_AUTH ok ok ok SQLITE_AUTH ok ok" || !strings.Contains(a.Results[0].Error.Message, "rowid") {
		t.Errorf("%s: %s", got, a.Results[0].Error.Message)
	}
	if a := s.pipeline("", "SELECT count(*) FROM sqlite_schema WHERE name='h'", "SELECT sum(a) FROM t"); a.text(0) != "0" || a.text(1) != "3" {
		t.Errorf("%s tables, sum %s", a.text(0), a.text(1))
	}
}
