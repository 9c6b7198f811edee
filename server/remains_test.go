package server_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/server"
)

// TestFilesHaveNoRemains: whoever may read a database finds in its file what SQL
// shows, not what was deleted before.
func TestFilesHaveNoRemains(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	follower := s.replica(7)
	s.pipeline("", "BEGIN", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<60) INSERT INTO t(v) SELECT iif(i%9=0, 'gone', 'kept')||printf('%060d', i) FROM n",
		"DELETE FROM t WHERE v LIKE 'gone%'", "COMMIT")
	follower.sync()
	if bytes.Contains(follower.file, []byte("gone0")) {
		t.Error("a replica of libSQL has deleted rows")
	}
	if got := follower.query("SELECT count(*) FROM t WHERE v LIKE 'kept%'"); got != "ok 54" {
		t.Errorf("a replica of libSQL has %s", got)
	}
	s.pipeline("", "CREATE TABLE d AS SELECT 'gone'||v AS v FROM t", "DROP TABLE d")
	for _, path := range []string{"/db/t/export", "/v1/organizations/default/databases/t/export"} {
		_, file := s.get(path)
		if strings.Contains(file, "gone") || strings.Count(file, "kept0") != 54 {
			t.Errorf("%s has rows that were deleted, or not those that are there", path)
		}
		if got, err := s.file(path).QueryText("SELECT count(*) FROM t WHERE v LIKE 'kept%'"); got != "54" || err != nil {
			t.Errorf("%s: %s rows, %v", path, got, err)
		}
	}
}
