package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Statements that need much temporary space, 8 MB and more.
var tempHungry = map[string]string{
	"sort":       "SELECT count(*) FROM (SELECT x FROM t ORDER BY x LIMIT -1 OFFSET 1)",
	"distinct":   "SELECT count(*) FROM (SELECT DISTINCT x || y FROM t)",
	"group":      "SELECT count(*) FROM (SELECT max(y) FROM t GROUP BY x || y)",
	"recursion":  "WITH RECURSIVE c(n, x) AS (SELECT 1, hex(zeroblob(500)) UNION SELECT n+1, x FROM c WHERE n < 10000) SELECT count(*) FROM c",
	"auto index": "SELECT count(*) FROM t a JOIN t b ON a.x = b.x",
}

func TestTempSpace(t *testing.T) {
	all := sqlite.NewTempSpace(1<<30, nil)
	for _, o := range []sqlite.Options{{}, {Exclusive: true, MemoryWAL: true}} {
		o.CacheKB, o.Temp, o.Synchronous = 100, sqlite.NewTempSpace(1<<20, all), "OFF"
		c, err := sqlite.Open(filepath.Join(t.TempDir(), "x.db"), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Exec("CREATE TABLE t(x, y); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 8000) INSERT INTO t SELECT hex(randomblob(500)), n FROM c"); err != nil {
			t.Fatal(err)
		}
		for name, sql := range tempHungry {
			if _, err := c.QueryInt(sql); !sqlite.IsFull(err) || !c.Temp().Denied() {
				t.Errorf("%s: %v", name, err)
			}
			if n := all.Used(); n > 1<<20 {
				t.Errorf("%s: %d bytes are in use after it", name, n)
			}
		}
		if n, err := c.QueryInt("SELECT count(*) FROM (SELECT x FROM t WHERE rowid < 300 ORDER BY x LIMIT -1 OFFSET 1)"); n != 298 || err != nil {
			t.Errorf("a small sort: %d, %v", n, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if n := all.Used(); n != 0 {
			t.Errorf("%d bytes are in use after Close", n)
		}
	}
}

func TestTempSpaceIsShared(t *testing.T) {
	all := sqlite.NewTempSpace(0, nil)
	c, err := sqlite.Open("", sqlite.Options{NoWAL: true, Temp: sqlite.NewTempSpace(1<<30, all)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.QueryInt(tempHungry["recursion"]); !sqlite.IsFull(err) {
		t.Error(err)
	}
}

func TestRegistersOfTriggers(t *testing.T) {
	c, err := sqlite.Open(":memory:", sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	registers := func(sql string) int {
		t.Helper()
		st, _, err := c.Prepare(sql)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Finalize()
		return st.Registers()
	}
	const insert = "INSERT INTO a VALUES (1, 2)"
	if err := c.Exec("CREATE TABLE a(x, y); CREATE TABLE b(x, y); CREATE TABLE c(x, y); CREATE TABLE p(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE)"); err != nil {
		t.Fatal(err)
	}
	none := registers(insert)
	if err := c.Exec("CREATE TRIGGER ab BEFORE INSERT ON a BEGIN INSERT INTO b VALUES (new.x, new.y); END"); err != nil {
		t.Fatal(err)
	}
	one := registers(insert)
	if err := c.Exec("CREATE TRIGGER ab2 AFTER INSERT ON a BEGIN INSERT INTO b VALUES (new.x, new.y); END"); err != nil {
		t.Fatal(err)
	}
	beside := registers(insert)
	if err := c.Exec("CREATE TRIGGER bc BEFORE INSERT ON b BEGIN INSERT INTO c VALUES (new.x, new.y); END"); err != nil {
		t.Fatal(err)
	}
	within := registers(insert)
	if none >= one || beside-one > 4 || within <= beside {
		t.Errorf("registers: %d without a trigger, %d with one, %d with another after it, %d with one within", none, one, beside, within)
	}
	if n := registers("DELETE FROM p"); n < 5 || n > 100 {
		t.Errorf("%d registers of a cascade", n)
	}
	if err := c.Exec("CREATE TRIGGER ca BEFORE INSERT ON c BEGIN INSERT INTO a VALUES (new.x, new.y); END"); err != nil {
		t.Fatal(err)
	}
	if n := registers(insert); n <= within {
		t.Errorf("%d registers of triggers in a circle, %d without the last", n, within)
	}
}
