package server_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/agentdb/agentdb/server"
)

// TestSQLUsage: statements say how many rows they visited and changed.
func TestSQLUsage(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, k, v)", "CREATE INDEX t_k ON t(k)", "CREATE TABLE log(v)",
		"CREATE TRIGGER tr AFTER DELETE ON t BEGIN INSERT INTO log VALUES (old.v); END")
	for _, c := range []struct {
		sql           string
		read, written int
	}{
		{"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i+1 FROM n WHERE i < 100) INSERT INTO t SELECT i, i % 10, i FROM n", -1, 100},
		{"SELECT * FROM t", 100, 0},
		{"SELECT v FROM t WHERE v = 7", 100, 0},
		{"SELECT v FROM t WHERE v = 'nothing'", 100, 0},
		{"SELECT sum(v) FROM t", 100, 0},
		{"SELECT v FROM t WHERE k = 3", 10, 0},
		{"SELECT v FROM t WHERE id = 3", 1, 0},
		{"SELECT v FROM t LIMIT 5", 5, 0},
		{"SELECT v FROM t WHERE id = 1000", 0, 0},
		{"UPDATE t SET v = 0 WHERE k = 3", -1, 10},
		{"DELETE FROM t WHERE id = 1", 0, 2},
		{"SELECT v FROM t", 99, 0}, // a statement that was prepared before
		{"SELECT v FROM t", 99, 0},
	} {
		status, body := s.post("/db/t/v3/pipeline", "", fmt.Sprintf(`{"requests":[{"type":"execute","stmt":{"sql":%q}}]}`, c.sql))
		var a struct {
			Results []struct {
				Response struct {
					Result struct {
						Read    int `json:"rows_read"`
						Written int `json:"rows_written"`
					}
				}
			}
		}
		if err := json.Unmarshal([]byte(body), &a); err != nil || status != 200 {
			t.Fatalf("%s: %d %s", c.sql, status, body)
		}
		r := a.Results[0].Response.Result
		if c.read >= 0 && r.Read != c.read || r.Written != c.written {
			t.Errorf("%s: read %d, wrote %d, want %d and %d", c.sql, r.Read, r.Written, c.read, c.written)
		}
	}
}
