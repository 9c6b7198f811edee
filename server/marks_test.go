package server_test

import (
	"fmt"
	"strings"
	"testing"
)

const marks = "turso_sync_last_change_id"

// readMark is how clients ask for their marks.
const readMark = "SELECT pull_gen, change_id FROM turso_sync_last_change_id WHERE client_id = ?"

// errors returns the messages of a pipeline's errors.
func (a *pipelineAnswer) errors() string {
	var out []string
	for _, r := range a.Results {
		if r.Type == "error" {
			out = append(out, r.Error.Message)
		}
	}
	return strings.Join(out, "|")
}

// TestTursoMarksAreOutOfReach: who writes there makes clients push twice, or not
// at all; and it is nobody's business what is there.
func TestTursoMarksAreOutOfReach(t *testing.T) {
	s := newTurso(t)
	a := s.turso("a")
	a.insert(2, "two")
	a.push()
	for _, shared := range []bool{false, true} { // beside readers, from some moment on
		if shared {
			s.pipeline("", `{"type":"sequence","sql":"BEGIN READONLY; COMMIT"}`)
		}
		for _, sql := range []string{
			"SELECT * FROM " + marks, "SELECT count(*) FROM " + marks, "SELECT 1 FROM " + marks, "SELECT client_id FROM main." + marks, `SELECT rowid FROM "Turso_Sync_Last_Change_ID" LIMIT 1`,
			"SELECT pull_gen, change_id FROM [" + marks + "] WHERE client_id = 'a'", "SELECT pull_gen, change_id FROM " + marks + " WHERE client_id = 'a'", " " + readMark, readMark + ";", readMark + " OR 1",
			"SELECT v FROM t WHERE id IN (SELECT change_id FROM " + marks + ")", "SELECT EXISTS(SELECT 1 FROM " + marks + ")", "WITH c AS (SELECT * FROM " + marks + ") SELECT max(change_id) FROM c",
			"EXPLAIN SELECT * FROM " + marks, "EXPLAIN QUERY PLAN SELECT * FROM " + marks, "INSERT INTO t SELECT change_id + 1000, client_id FROM " + marks,
			"CREATE TABLE mine AS SELECT * FROM " + marks, "UPDATE t SET v = (SELECT max(client_id) FROM " + marks + ")", "DELETE FROM t WHERE id IN (SELECT 1 FROM " + marks + ") RETURNING *",
			"DELETE FROM " + marks, "UPDATE Turso_Sync_Last_Change_ID SET change_id = 0", "INSERT INTO " + marks + " VALUES('x', 1, 1)", "INSERT OR REPLACE INTO main." + marks + " SELECT 'x', 1, 1",
			"DROP TABLE " + marks, "ALTER TABLE " + marks + " ADD COLUMN x", "ALTER TABLE " + marks + " RENAME TO mine", "CREATE INDEX i ON " + marks + "(change_id)",
			"CREATE TRIGGER g AFTER INSERT ON " + marks + " BEGIN DELETE FROM t; END",
			fmt.Sprintf(`{"type":"sequence","sql":"SELECT 1; %s"}`, readMark), fmt.Sprintf(`{"type":"describe","sql":"SELECT * FROM %s"}`, marks),
		} {
			if got := s.pipeline("", sql); got.codes() != "SQLITE_ERROR" || !strings.HasSuffix(got.errors(), "no such table: "+marks) {
				t.Errorf("%s: %s %s", sql, got.codes(), got.errors())
			}
		}
	}
	for _, sql := range []string{
		"ALTER TABLE t RENAME TO turso_sync_mine", "DROP TRIGGER turso_sync_stamp_insert", "CREATE TABLE turso_sync_mine(x)", "CREATE TABLE " + marks + "(x)", "CREATE VIEW " + marks + " AS SELECT 1",
		"CREATE VIEW mine AS SELECT * FROM " + marks, "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO t(v) SELECT client_id FROM " + marks + "; END",
		"CREATE VIRTUAL TABLE f USING fts5(client_id, content='" + marks + "')", "SELECT data FROM sqlite_dbpage",
	} {
		if got := s.pipeline("", sql); got.codes() == "ok" || strings.Contains(got.errors(), "exists") {
			t.Errorf("%s: %s", sql, got.errors())
		}
	}
	ask := func(args string) string {
		return s.pipeline("", fmt.Sprintf(`{"type":"execute","stmt":{"sql":%q,"args":[%s]}}`, readMark, args)).text(0)
	}
	if got := ask(`{"type":"text","value":"a"}`); got != "0,1" {
		t.Errorf("the client's mark is %s", got)
	}
	if got := ask(`{"type":"text","value":"b"}`); got != "" {
		t.Errorf("another client's mark is %s", got)
	}
	a.insert(3, "three")
	a.push()
	s.expect("1=one 2=two 3=three")
	if status, text := s.get("/db/t/dump"); status != 200 || strings.Contains(text, "turso") || !strings.Contains(text, "CREATE TABLE t") {
		t.Errorf("dump: %d %s", status, text)
	}
}

// TestSchemaOnReaders alters a table that others may read beside its writer.
func TestSchemaOnReaders(t *testing.T) {
	s := newTurso(t)
	for _, sql := range []string{
		"CREATE TABLE r(id INTEGER PRIMARY KEY)",
		"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 300000) SELECT max(n) FROM c", // slow: the database is shared from here on
		"SELECT * FROM r", "SELECT * FROM r",
		"ALTER TABLE r ADD COLUMN more", "ALTER TABLE r RENAME COLUMN more TO less", "ALTER TABLE r DROP COLUMN less", "ALTER TABLE r RENAME TO u", "SELECT id FROM u",
	} {
		if got := s.pipeline("", sql); got.codes() != "ok" {
			t.Errorf("%s: %s", sql, got.errors())
		}
	}
}

// TestTursoMarksSayNothing: what tells of tables in general tells nothing of the
// marks but that they are there, and works as if they were not.
func TestTursoMarksSayNothing(t *testing.T) {
	s := newTurso(t)
	a := s.turso("a")
	a.insert(2, "two")
	a.push()
	for sql, want := range map[string]string{
		"PRAGMA table_info(" + marks + ")":                                                               "",
		"PRAGMA main.table_xinfo('" + marks + "')":                                                       "",
		"PRAGMA index_list(" + marks + ")":                                                               "",
		"SELECT name FROM pragma_index_info('sqlite_autoindex_" + marks + "_1')":                         "",
		"SELECT m.name, x.name FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) x WHERE m.name='t'":  "t,id|t,v",
		"SELECT count(*) FROM sqlite_schema m JOIN pragma_table_info(m.name) WHERE m.name LIKE 'turso%'": "0",
		"PRAGMA integrity_check":                                                                         "ok",
		"PRAGMA foreign_key_check":                                                                       "",
	} {
		if got := s.pipeline("", sql); got.codes() != "ok" || got.text(0) != want {
			t.Errorf("%s: %s %s", sql, got.text(0), got.errors())
		}
	}
	for _, sql := range []string{
		"ANALYZE", "PRAGMA optimize", "REINDEX", "CREATE INDEX by_v ON t(v)", "ANALYZE main",
		"ALTER TABLE t ADD COLUMN more", "ALTER TABLE t RENAME COLUMN more TO less", "ALTER TABLE t DROP COLUMN less", "ALTER TABLE t RENAME TO u", "ALTER TABLE u RENAME TO t",
		"CREATE TABLE gone(x)", "DROP TABLE gone",
	} {
		if got := s.pipeline("", sql); got.codes() != "ok" {
			t.Errorf("%s: %s", sql, got.errors())
		}
	}
	if got := s.pipeline("", "SELECT group_concat(DISTINCT tbl) FROM (SELECT tbl FROM sqlite_stat1 UNION ALL SELECT tbl FROM sqlite_stat4)").text(0); got != "t" {
		t.Errorf("there are statistics of %s", got)
	}
	a.insert(3, "three")
	a.push()
	s.expect("1=one 2=two 3=three")
}
