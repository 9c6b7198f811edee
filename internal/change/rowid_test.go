package change_test

import (
	"errors"
	"testing"

	"github.com/agentdb/agentdb/internal/change"
)

// TestGeneratedRowid: a generated column hides a name of the rowid.
func TestGeneratedRowid(t *testing.T) {
	a, b, c := open(t, change.Options{Guard: true}), open(t, change.Options{}), open(t, change.Options{})
	x := change.NewExecutor(b.cap)
	steps := [][]string{
		{`CREATE TABLE g(a, rowid TEXT AS (a||'x') STORED)`, `CREATE TABLE k(a TEXT PRIMARY KEY, v, RowID AS (v), oid)`, `CREATE TABLE late(a)`},
		{`INSERT INTO g(a) VALUES('v'),('w')`, `INSERT INTO k(a,v,oid) VALUES('k',1,2)`, `INSERT INTO late VALUES(1)`},
		{`INSERT INTO late VALUES(2)`, `DROP TABLE late`, `CREATE TABLE late(a, rowid AS (a+10))`, `INSERT INTO late(oid,a) VALUES(9,2)`},
		{`UPDATE g SET a='u' WHERE a='v'`, `DELETE FROM g WHERE a='w'`, `UPDATE k SET a='l', v=3`, `UPDATE g SET _rowid_=7`, `UPDATE late SET a=a+1`},
	}
	var before string
	var last *change.Change
	for _, s := range steps {
		before = a.dump()
		last = a.do(s...)
		eff, res := b.exec(x, recode(t, last, change.ViewIntents))
		if len(res) > 0 {
			t.Fatalf("%v: %v", s, res)
		}
		c.apply(recode(t, eff, change.ViewEffects))
	}
	after := a.dump()
	for _, f := range []*file{b, c} {
		if got := f.dump(); got != after {
			t.Errorf("got\n%s\nwant\n%s", got, after)
		}
	}
	a.undo(recode(t, last, change.ViewFull))
	if got := a.dump(); got != before {
		t.Errorf("undone:\n%s\nwant\n%s", got, before)
	}
}

// TestNoNameForRowid: a table whose columns leave no name for its rowid is refused, on clients and on the server.
func TestNoNameForRowid(t *testing.T) {
	for _, guard := range []bool{true, false} {
		for _, sql := range []string{
			`CREATE TABLE h(rowid, oid, _rowid_)`,
			`CREATE TABLE h(a TEXT PRIMARY KEY, rowid AS (a), OID, _rowid_)`,
			`CREATE TABLE h AS SELECT 1 AS rowid, 2 AS oid, 3 AS _rowid_`,
		} {
			f := open(t, change.Options{Guard: guard})
			f.do(`CREATE TABLE two(a, rowid, _rowid_)`, `CREATE TABLE i(id INTEGER PRIMARY KEY, rowid, oid, _rowid_)`, `CREATE TABLE w(rowid, oid, _rowid_ PRIMARY KEY) WITHOUT ROWID`)
			before := f.dump()
			f.must(f.conn.Exec("BEGIN IMMEDIATE"))
			f.must(f.cap.Begin())
			if err := f.step(sql); !errors.Is(err, change.ErrUnsupported) {
				t.Errorf("guard %v: %s: %v", guard, sql, err)
			}
			if c, err := f.cap.Finish(); c != nil || err != nil {
				t.Errorf("guard %v: %s: captured %v %v", guard, sql, c, err)
			}
			f.must(f.conn.Exec("COMMIT"))
			f.cap.Discard()
			if f.dump() != before {
				t.Errorf("%s changed something", sql)
			}
			x := change.NewExecutor(f.cap)
			_, res := f.exec(x, &change.Change{Events: []change.Event{{Op: change.OpDDL, Intent: true, Statement: &change.Statement{Name: "h", SQL: sql}}}})
			if len(res) != 1 || f.dump() != before {
				t.Errorf("%s: executed: %v", sql, res)
			}
			f.do(`INSERT INTO two(a,rowid,_rowid_) VALUES(1,2,3)`, `ALTER TABLE two ADD COLUMN b`)
		}
	}
}
