package server_test

import (
	"fmt"
	"testing"
)

// TestTursoPolicies: what a trigger refuses that the client has not pulled is recorded; one that it
// had has run there.
func TestTursoPolicies(t *testing.T) {
	for _, raise := range []string{"ABORT, 'no'", "FAIL, 'no'", "ROLLBACK, 'no'", "IGNORE"} {
		t.Run(raise[:4], func(t *testing.T) {
			s := newTurso(t)
			s.pipeline("", "CREATE TABLE log(x TEXT)", "CREATE TRIGGER l AFTER INSERT ON t BEGIN INSERT INTO log VALUES(NEW.v); END")
			a, b := s.turso("a"), s.turso("b")
			s.pipeline("",
				"CREATE TRIGGER \"a; BEGIN\" BEFORE INSERT ON t WHEN NEW.v LIKE 'bad%' BEGIN SELECT 1; SELECT /* ; */ CASE WHEN 1 THEN RAISE("+raise+") END; INSERT INTO log VALUES('x'); END",
				"CREATE TRIGGER fixed BEFORE UPDATE OF v ON t WHEN OLD.v = 'one' BEGIN SELECT RAISE("+raise+"); END",
				"CREATE TRIGGER kept BEFORE DELETE ON t BEGIN SELECT RAISE("+raise+"); END")
			a.insert(2, "good")
			a.insert(3, "bad")
			a.update(3, "better")
			a.update(1, "two")
			a.delete(1)
			a.insert(4, "last")
			a.push()
			s.expect("1=one 2=good 4=last")
			why := "no"
			if raise == "IGNORE" {
				why = "a trigger ignored the row"
			}
			if got, want := s.conflicts(), fmt.Sprintf(`t raise %[1]s {"id":3,"v":"bad"}; t missing the row was deleted {"id":3,"v":"better"}; t raise %[1]s {"id":1,"v":"two"}; t raise %[1]s {"id":1}`, why); got != want {
				t.Errorf("conflicts: %s\nnot %s", got, want)
			}
			a.pull()
			a.insert(5, "later")
			a.push() // it is not stuck
			b.insert(5, "bad id")
			b.push()
			s.expect("1=one 2=good 4=last 5=later")
			a.pull()
			a.insert(6, "bad, but the client ran the trigger")
			a.push()
			s.expect("1=one 2=good 4=last 5=later 6=bad, but the client ran the trigger")
			if r := s.pipeline("", "SELECT count(*) FROM log"); r.Results[0].Response.Result.Rows[0][0].Value != "0" {
				t.Errorf("triggers ran: %v", r.Results[0].Response.Result.Rows)
			}
			s.pipeline("", "INSERT INTO t(v) VALUES('of the server')")
			if r := s.pipeline("", "SELECT count(*) FROM log"); r.Results[0].Response.Result.Rows[0][0].Value != "1" {
				t.Errorf("the triggers are gone: %v", r.Results[0].Response.Result.Rows)
			}
			if r := s.pipeline("", "SELECT count(*) FROM temp.sqlite_schema"); r.Results[0].Type == "ok" && r.Results[0].Response.Result.Rows[0][0].Value != "0" {
				t.Errorf("temporary triggers stay: %v", r.Results[0].Response.Result.Rows)
			}
		})
	}
}

// Schema changes of a push go on beside such triggers.
func TestTursoPoliciesAndSchema(t *testing.T) {
	s := newTurso(t)
	a := s.turso("a")
	s.pipeline("", "CREATE TABLE u(id INTEGER PRIMARY KEY)",
		"CREATE TRIGGER i BEFORE INSERT ON t WHEN NEW.v = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END",
		"CREATE TRIGGER d BEFORE INSERT ON u BEGIN SELECT RAISE(ABORT, 'no'); END")
	a.write("ALTER TABLE t RENAME COLUMN v TO w")
	a.write("ALTER TABLE t ADD COLUMN v TEXT")
	a.write("DROP table u")
	a.write(`INSERT INTO "t"("id", "w") VALUES (?,?) ON CONFLICT("id") DO UPDATE SET "id" = excluded."id","w" = excluded."w"`, 2, "bad")
	a.write(`INSERT INTO "t"("id", "w") VALUES (?,?) ON CONFLICT("id") DO UPDATE SET "id" = excluded."id","w" = excluded."w"`, 3, "good")
	a.push()
	if got := s.text("SELECT group_concat(id || w, ' ') FROM t"); got != "1one 3good" {
		t.Errorf("rows: %s", got)
	}
	if got := s.conflicts(); got != `t raise no {"id":2,"w":"bad"}` {
		t.Errorf("conflicts: %s", got)
	}
}
