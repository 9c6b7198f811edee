package server_test

import (
	"strings"
	"testing"
)

// TestTursoMarksAreOutOfReach: who writes there makes clients push twice, or not
// at all.
func TestTursoMarksAreOutOfReach(t *testing.T) {
	s := newTurso(t)
	a := s.turso("a")
	a.insert(2, "two")
	a.push()
	for _, sql := range []string{
		"DELETE FROM turso_sync_last_change_id", "UPDATE Turso_Sync_Last_Change_ID SET change_id = 0", "INSERT INTO turso_sync_last_change_id VALUES('x', 1, 1)",
		"DROP TABLE turso_sync_last_change_id", "ALTER TABLE turso_sync_last_change_id ADD COLUMN x", "ALTER TABLE t RENAME TO turso_sync_mine", "DROP TRIGGER turso_sync_stamp_insert",
		"CREATE TABLE turso_sync_mine(x)", "CREATE INDEX i ON turso_sync_last_change_id(change_id)", "CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM turso_sync_last_change_id; END",
	} {
		if got := s.pipeline("", sql).codes(); got == "ok" {
			t.Errorf("%s: %s", sql, got)
		}
	}
	if got := s.pipeline("", "SELECT count(*), max(change_id) FROM turso_sync_last_change_id").text(0); got != "2,1" {
		t.Errorf("the marks are %s", got)
	}
	a.insert(3, "three")
	a.push()
	s.expect("1=one 2=two 3=three")
	if status, text := s.get("/db/t/dump"); status != 200 || strings.Contains(text, "turso") || !strings.Contains(text, "CREATE TABLE t") {
		t.Errorf("dump: %d %s", status, text)
	}
}
