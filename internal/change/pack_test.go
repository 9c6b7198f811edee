package change_test

import (
	"bytes"
	"testing"

	"github.com/agentdb/agentdb/internal/change"
)

// TestPacked: what a capture packs is what it would have recorded otherwise, as
// it is stored and unpacked.
func TestPacked(t *testing.T) {
	const schema = `CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, b REAL, c BLOB); CREATE TABLE u(a, b, PRIMARY KEY(b, a)) WITHOUT ROWID;
		CREATE TABLE w(x); CREATE TABLE log(v); CREATE VIEW v AS SELECT a, b FROM t;
		CREATE TRIGGER tw AFTER INSERT ON w BEGIN INSERT INTO log VALUES(new.x); DELETE FROM log WHERE v=new.x-1; END;
		CREATE TRIGGER iv INSTEAD OF INSERT ON v BEGIN INSERT INTO t(a,b) VALUES(new.a,new.b); END;
		CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO t(id,a,b,c) VALUES(100,'x',1,x'00'); INSERT INTO u VALUES(1,2); INSERT INTO f VALUES('one')`
	const insert, bulk = "INSERT INTO t(a,b,c) VALUES('n',1,x'0102')", "INSERT INTO w WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<50) SELECT i FROM n"
	for name, stmts := range map[string][]string{
		"inserts":             {insert, "INSERT INTO u VALUES('k','l')", "INSERT INTO u VALUES(x'01',-1.5)", "INSERT INTO w VALUES(NULL)"},
		"deletes":             {insert, "DELETE FROM t", "DELETE FROM u", "DELETE FROM w"},
		"many":                {bulk, "DELETE FROM w WHERE x>10", bulk},
		"replaced":            {"INSERT OR REPLACE INTO t(id,a) VALUES(7,'x')", insert},
		"updates between":     {insert, "UPDATE t SET b=2", "INSERT INTO w VALUES(1)", "DELETE FROM t"},
		"updates first":       {"UPDATE t SET b=2", insert, "DELETE FROM w", "INSERT INTO t(a) VALUES('m')"},
		"schema first":        {"CREATE TABLE n(a)", "INSERT INTO n VALUES(1)", "ALTER TABLE n ADD COLUMN z", "INSERT INTO n VALUES(1,2)"},
		"schema between":      {"INSERT INTO w VALUES(1)", "ALTER TABLE w ADD COLUMN y", "INSERT INTO w VALUES(1,2)"},
		"through a view":      {"INSERT INTO v VALUES('p',3)", insert},
		"full text":           {insert, "INSERT INTO f VALUES('two')", "DELETE FROM f WHERE x='one'", "INSERT INTO w VALUES(1)"},
		"a failure":           {insert, "!INSERT INTO t(a) VALUES('r'),('x')", "INSERT INTO w VALUES(1)"},
		"a failure alone":     {"!INSERT INTO t(a) VALUES('r'),('x')"},
		"a failure that left": {insert, "!INSERT OR FAIL INTO t(a) VALUES('r'),('x')", "INSERT INTO w VALUES(1)"},
		"savepoint":           {insert, "SAVEPOINT s", "INSERT INTO u VALUES('k','l')", "ROLLBACK TO s", "INSERT INTO w VALUES(1)"},
		"savepoint first":     {"SAVEPOINT s", insert, "ROLLBACK TO s", "UPDATE t SET b=9", "INSERT INTO w VALUES(1)", "RELEASE s"},
		"savepoint of update": {insert, "SAVEPOINT s", "UPDATE t SET b=9", "ROLLBACK TO s", "INSERT INTO w VALUES(1)"},
		"updates undone":      {"SAVEPOINT s", "UPDATE t SET b=2", "UPDATE t SET b=3", insert, "ROLLBACK TO s", "UPDATE t SET b=4"},
		"much undone":         {bulk, "SAVEPOINT s", bulk, insert, bulk, "ROLLBACK TO s", insert, bulk},
		"much that left":      {bulk, "!INSERT OR FAIL INTO t(a) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<99) SELECT nullif(i,99)||'' FROM n UNION ALL SELECT 'x'", bulk},
		"large rows":          {"INSERT INTO w VALUES(zeroblob(300))", "INSERT INTO w VALUES(zeroblob(200000))", insert, "INSERT INTO w VALUES(zeroblob(3))", "DELETE FROM w"},
		"nothing":             {"INSERT INTO t(a) VALUES('q')", "SAVEPOINT s"},
		"undone":              {"SAVEPOINT s", insert, "ROLLBACK TO s"},
	} {
		t.Run(name, func(t *testing.T) {
			plain, packed := captured(t, change.Options{}, schema, stmts), captured(t, change.Options{Pack: true}, schema, stmts)
			if plain == nil || packed == nil {
				if plain != packed {
					t.Fatalf("packed: %v, otherwise %v", packed, plain)
				}
				return
			}
			stored, err := change.Decode(packed.Append(nil, change.ViewFull))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(stored.Append(nil, change.ViewFull), plain.Append(nil, change.ViewFull)) {
				t.Errorf("another change is stored")
			}
			for _, view := range []change.View{change.ViewFull, change.ViewIntents, change.ViewEffects, change.ViewStrict} {
				if !bytes.Equal(packed.Unpacked().Append(nil, view), plain.Append(nil, view)) {
					t.Errorf("view %d is another, unpacked", view)
				}
			}
		})
	}
}

// captured returns what a capture records of statements in one transaction; !
// stands before those that fail.
func captured(t *testing.T, opt change.Options, schema string, stmts []string) *change.Change {
	t.Helper()
	f := open(t, opt)
	f.must(f.conn.Exec(schema))
	f.must(f.conn.Exec("BEGIN IMMEDIATE"))
	f.must(f.cap.Begin())
	for _, sql := range stmts {
		switch {
		case sql[0] == '!':
			if f.step(sql[1:]) == nil {
				t.Fatalf("%s: no error", sql[1:])
			}
			continue
		case sql == "SAVEPOINT s":
			f.cap.Savepoint("s")
		case sql == "ROLLBACK TO s":
			f.must(f.cap.CheckRollbackTo("s"))
			f.cap.RollbackTo("s")
		case sql == "RELEASE s":
			f.cap.Release("s")
		default:
			f.must(f.step(sql))
			continue
		}
		f.must(f.conn.Exec(sql))
	}
	c, err := f.cap.Finish()
	f.must(err)
	f.must(f.conn.Exec("COMMIT"))
	return c
}
