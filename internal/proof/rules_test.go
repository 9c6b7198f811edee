package proof

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
)

// kinds returns the kinds of conflicts of a table, in order.
func (a *agent) kinds(table string) string {
	a.lab.t.Helper()
	var out []string
	for _, c := range a.conflicts(table) {
		out = append(out, c.Kind)
	}
	return strings.Join(out, " ")
}

// TestCommonStart is how most programs begin: each agent for itself and
// offline creates its tables if they don't exist and inserts.
func TestCommonStart(t *testing.T) {
	for _, pk := range []string{"INTEGER PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT"} {
		for _, again := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", pk, again), func(t *testing.T) { testCommonStart(t, pk, again) })
		}
	}
}

func testCommonStart(t *testing.T, pk string, ifNotExists bool) {
	l := newLab(t)
	as := l.full(4)
	create := "CREATE TABLE "
	if ifNotExists {
		create += "IF NOT EXISTS "
	}
	for i, a := range as {
		a.exec(create + "tasks (id " + pk + ", name TEXT NOT NULL)")
		a.exec(create + "steps (id " + pk + ", task INTEGER REFERENCES tasks(id), name TEXT)")
		a.exec(create + "tree (id " + pk + ", up INTEGER REFERENCES tree(id), name TEXT)")
		for j := range 5 {
			name := fmt.Sprintf("%d-%d", i, j)
			id := a.exec("INSERT INTO tasks (name) VALUES (?)", name).LastInsertID
			want(t, "local id", id, int64(j+1))
			for range 2 {
				a.exec("INSERT INTO steps (task, name) VALUES (?, ?)", id, name)
			}
			a.exec("INSERT INTO tree (up, name) VALUES ((SELECT max(id) FROM tree), ?)", name)
		}
	}
	for _, a := range as {
		before := map[string]int64{}
		for _, r := range all[[]any](t, a.DB, "SELECT name, id FROM tasks") {
			before[r[0].(string)] = r[1].(int64)
		}
		now := map[int64]int64{}
		for _, id := range a.sync().IDs {
			if id.Table == "tasks" {
				now[id.Old] = id.New
			}
		}
		for name, old := range before {
			want := old
			if n, ok := now[old]; ok {
				want = n
			}
			if got := get[int64](t, a.DB, "SELECT id FROM tasks WHERE name = ?", name); got != want {
				t.Errorf("task %s has the id %d, Report.IDs leads from %d to %d", name, got, old, want)
			}
		}
	}
	settle(as...)
	for _, a := range as {
		want(t, "tasks", get[int](t, a.DB, "SELECT count(DISTINCT name) FROM tasks"), 20)
		want(t, "steps", get[int](t, a.DB, "SELECT count(*) FROM steps"), 40)
		want(t, "steps at their tasks", get[int](t, a.DB, "SELECT count(*) FROM steps s JOIN tasks t ON t.id = s.task AND t.name = s.name"), 40)
		want(t, "roots", get[int](t, a.DB, "SELECT count(*) FROM tree WHERE up IS NULL"), 4)
		want(t, "nodes at their parents", get[int](t, a.DB, "SELECT count(*) FROM tree c JOIN tree p ON p.id = c.up AND substr(c.name, 1, 2) = substr(p.name, 1, 2) AND c.name > p.name"), 16)
	}
	want(t, "conflicts", get[int](t, as[0].DB, "SELECT count(*) FROM agentdb_conflicts"), 0)
}

// TestConstraintAtRedo lets two agents do what each of them may, but not both.
func TestConstraintAtRedo(t *testing.T) {
	cases := []struct {
		name, schema, start string
		first, second       string
		kind                string
		left                string // of SELECT v FROM t in the end
	}{
		{"unique", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE, tok TEXT)", "", "INSERT INTO t (v, tok) VALUES ('x', 'lost1')", "INSERT INTO t (v, tok) VALUES ('x', 'lost2')", "unique", "x"},
		{"unique replace", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE ON CONFLICT REPLACE, tok TEXT)", "", "INSERT INTO t (v, tok) VALUES ('x', 'lost1')", "INSERT INTO t (v, tok) VALUES ('x', 'lost2')", "unique", "x"},
		{"unique update", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE)", "INSERT INTO t (v) VALUES ('a'), ('b')", "UPDATE t SET v = 'x' WHERE id = 1", "UPDATE t SET v = 'x' WHERE id = 2", "unique", "b x"},
		{"check", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, c INT, d INT, CHECK (c + d < 10))", "INSERT INTO t VALUES (1, 'a', 0, 0)", "UPDATE t SET c = 6", "UPDATE t SET d = 7", "check", "a"},
		{"foreign key", "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t (v TEXT, p INTEGER REFERENCES p(id))", "INSERT INTO p VALUES (1)", "DELETE FROM p", "INSERT INTO t VALUES ('x', 1)", "foreign-key", ""},
		{"foreign key cascade", "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t (v TEXT, p INTEGER REFERENCES p(id) ON DELETE CASCADE)", "INSERT INTO p VALUES (1)", "DELETE FROM p", "INSERT INTO t VALUES ('x', 1)", "foreign-key", ""},
		{"foreign key to a text", "CREATE TABLE p (k TEXT PRIMARY KEY); CREATE TABLE t (v TEXT, p TEXT REFERENCES p(k))", "INSERT INTO p VALUES ('k')", "DELETE FROM p", "INSERT INTO t VALUES ('x', 'k')", "foreign-key", ""},
		{"foreign key deferred", "CREATE TABLE p (k TEXT PRIMARY KEY); CREATE TABLE t (v TEXT, p TEXT REFERENCES p(k) DEFERRABLE INITIALLY DEFERRED)", "INSERT INTO p VALUES ('k')", "DELETE FROM p", "INSERT INTO t VALUES ('x', 'k')", "foreign-key", ""},
		{"foreign key update", "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE t (v TEXT, p INTEGER REFERENCES p(id))", "INSERT INTO p VALUES (1); INSERT INTO t VALUES ('x', NULL)", "DELETE FROM p", "UPDATE t SET p = 1", "foreign-key", "x"},
		{"parent with children", "CREATE TABLE p (k TEXT PRIMARY KEY); CREATE TABLE t (v TEXT, p TEXT REFERENCES p(k))", "INSERT INTO p VALUES ('k')", "INSERT INTO t VALUES ('x', 'k')", "DELETE FROM p", "foreign-key", "x"},
		{"raise abort", raising("ABORT"), "", "INSERT INTO t VALUES ('x')", "INSERT INTO t VALUES ('y')", "raise", "x"},
		{"raise fail", raising("FAIL"), "", "INSERT INTO t VALUES ('x')", "INSERT INTO t VALUES ('y')", "raise", "x"},
		{"raise rollback", raising("ROLLBACK"), "", "INSERT INTO t VALUES ('x')", "INSERT INTO t VALUES ('y')", "raise", "x"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			as := l.full(2)
			as[0].exec(c.schema)
			as[0].exec("CREATE TABLE good (x TEXT)")
			if c.start != "" {
				as[0].exec(c.start)
			}
			settle(as...)
			as[0].exec(c.first)
			as[1].exec("INSERT INTO good VALUES ('before')")
			as[1].exec(c.second)
			as[1].exec("INSERT INTO good VALUES ('after')")
			as[0].sync()
			if rep := as[1].sync(); rep.Pushed != 3 || rep.Conflicts != 1 {
				t.Errorf("%+v", rep)
			}
			settle(as...)
			want(t, "kind", as[0].kinds("t")+as[0].kinds("p"), c.kind)
			want(t, "what is left", strings.Join(as[0].texts("SELECT v FROM t ORDER BY v"), " "), c.left)
			want(t, "other transactions", strings.Join(as[0].texts("SELECT x FROM good ORDER BY rowid"), " "), "before after")
			cs := all[agentdb.Conflict](t, as[1].DB, "SELECT * FROM agentdb_conflicts")
			if len(cs) == 1 && (cs[0].Losing == nil || cs[0].Replica != as[1].Status().Replica || cs[0].Time.IsZero()) {
				t.Errorf("%+v", cs[0])
			}
			as[0].exec("INSERT INTO good VALUES ('later')") // nothing is blocked
			settle(as...)
		})
	}
}

// raising is a policy that lets one row in only.
func raising(how string) string {
	return "CREATE TABLE t (v TEXT); CREATE TRIGGER policy BEFORE INSERT ON t WHEN (SELECT count(*) FROM t) > 0 BEGIN SELECT RAISE(" + how + ", 'one is enough'); END"
}

func TestRaiseIgnoreAtRedo(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec("CREATE TABLE t (v TEXT); CREATE TRIGGER policy BEFORE INSERT ON t WHEN (SELECT count(*) FROM t) > 0 BEGIN SELECT RAISE(IGNORE); END")
	settle(as...)
	as[0].exec("INSERT INTO t VALUES ('x')")
	as[1].exec("INSERT INTO t VALUES ('kept somewhere')")
	as[0].sync()
	as[1].sync()
	st := settle(as...)
	if want(t, "left", strings.Join(as[1].texts("SELECT v FROM t"), " "), "x"); !strings.Contains(st.lost, "kept somewhere") {
		t.Errorf("the row that the trigger ignored is nowhere: %s", st.lost)
	}
}

// TestUpdates merges what two agents did to the same row.
func TestUpdates(t *testing.T) {
	keys := map[string]string{
		"rowid":         "id INTEGER PRIMARY KEY, v TEXT, w TEXT",
		"none":          "id INTEGER, v TEXT, w TEXT",
		"text":          "id TEXT PRIMARY KEY, v TEXT, w TEXT",
		"composite":     "id TEXT, k2 INTEGER DEFAULT 7, v TEXT, w TEXT, PRIMARY KEY (id, k2)",
		"null in key":   "id TEXT, k2 INTEGER DEFAULT NULL, v TEXT, w TEXT, PRIMARY KEY (id, k2)",
		"without rowid": "id TEXT, k2 INTEGER DEFAULT 7, v TEXT, w TEXT, PRIMARY KEY (k2, id)) WITHOUT ROWID --",
	}
	cases := []struct {
		name, first, second string
		left, kinds         string
		kept                string // is in agentdb_conflicts
	}{
		{"other columns", "UPDATE t SET v = 'a' WHERE id = 1", "UPDATE t SET w = 'b' WHERE id = 1", "1ab", "", ""},
		{"same column", "UPDATE t SET v = 'older' WHERE id = 1", "UPDATE t SET v = 'b' WHERE id = 1", "1b.", "overwrite", "older"},
		{"same value", "UPDATE t SET v = 'b' WHERE id = 1", "UPDATE t SET v = 'b' WHERE id = 1", "1b.", "", ""},
		{"update of a deleted row", "DELETE FROM t WHERE id = 1", "UPDATE t SET v = 'too late' WHERE id = 1", "", "missing", "too late"},
		{"delete of an updated row", "UPDATE t SET v = 'wasted' WHERE id = 1", "DELETE FROM t WHERE id = 1", "", "delete", "wasted"},
		{"both delete", "DELETE FROM t WHERE id = 1", "DELETE FROM t WHERE id = 1", "", "", ""},
		{"key changed, then updated", "UPDATE t SET id = 5 WHERE id = 1", "UPDATE t SET v = 'b' WHERE id = 1", "5b.", "", ""},
		{"updated, then key changed", "UPDATE t SET v = 'b' WHERE id = 1", "UPDATE t SET id = 5 WHERE id = 1", "5b.", "", ""},
		{"key changed and updated offline", "UPDATE t SET w = 'b' WHERE id = 1", "UPDATE t SET id = 5 WHERE id = 1; UPDATE t SET v = 'a' WHERE id = 5", "5ab", "", ""},
		{"deleted, then key changed", "DELETE FROM t WHERE id = 1", "UPDATE t SET id = 5, v = 'too late' WHERE id = 1", "", "missing", "too late"},
	}
	for kind, cols := range keys {
		for _, c := range cases {
			t.Run(kind+"/"+c.name, func(t *testing.T) {
				l := newLab(t)
				as := l.full(2)
				as[0].exec("CREATE TABLE t (" + cols + "\n" + strings.Repeat(")", 1-strings.Count(cols, "--")))
				as[0].exec("INSERT INTO t (id, v, w) VALUES (1, '.', '.')")
				settle(as...)
				as[0].exec(c.first)
				as[1].exec(c.second)
				as[0].sync()
				as[1].sync()
				st := settle(as...)
				left := strings.Join(as[0].texts("SELECT id || v || w FROM t"), " ")
				if left == "5.." && as[0].kinds("t") == "missing" && strings.HasPrefix(c.name, "key changed,") {
					return // where the key is the row's only name, an update may not find it any more
				}
				want(t, "left", left, c.left)
				if c.kept != "" && !strings.Contains(st.lost, c.kept) {
					t.Errorf("%q is nowhere: %s", c.kept, st.lost)
				}
				if got := as[0].kinds("t"); c.kept == "" && got != "" || c.kinds == "overwrite" && got != "overwrite" {
					t.Errorf("conflicts: %s, want %q: %s", got, c.kinds, st.lost)
				}
			})
		}
	}
}

// TestSameKey lets two agents insert a row with the same key of their own making.
func TestSameKey(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec("CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT, w TEXT)")
	settle(as...)
	as[0].exec("INSERT INTO t VALUES ('k', 'first', 'same')")
	as[1].exec("INSERT INTO t VALUES ('k', 'second', 'same')")
	as[0].sync()
	as[1].sync()
	st := settle(as...)
	want(t, "left", get[string](t, as[0].DB, "SELECT v FROM t"), "second")
	want(t, "kinds", as[0].kinds("t"), "merge")
	if !strings.Contains(st.lost, "first") {
		t.Error(st.lost)
	}
}

// TestTriggersOnce lets triggers write on both sides.
func TestTriggersOnce(t *testing.T) {
	l := newLab(t)
	as := l.full(3)
	for _, a := range as {
		a.exec("CREATE TABLE IF NOT EXISTS n (id INTEGER PRIMARY KEY, v INT); CREATE TABLE IF NOT EXISTS log (v INT); CREATE TABLE IF NOT EXISTS sum (k TEXT PRIMARY KEY, n INT)")
		a.exec("CREATE TRIGGER IF NOT EXISTS n_log AFTER INSERT ON n BEGIN INSERT INTO log VALUES (NEW.v); INSERT INTO sum VALUES ('all', NEW.v) ON CONFLICT (k) DO UPDATE SET n = n + NEW.v; END")
	}
	total := 0
	for i := range 30 {
		a := as[i%3]
		a.exec("INSERT INTO n (v) VALUES (?)", i)
		total += i
		if i%4 == 0 {
			a.sync()
		}
	}
	settle(as...)
	want(t, "log", get[int](t, as[0].DB, "SELECT count(DISTINCT v) FROM log"), 30)
	want(t, "log twice", get[int](t, as[0].DB, "SELECT count(*) FROM log"), 30)
	want(t, "sum", get[int](t, as[0].DB, "SELECT n FROM sum"), total)
}

// TestSchemaChanges makes the same and other changes of the schema offline.
func TestSchemaChanges(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
	settle(as...)
	for i, a := range as {
		a.exec(fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d TEXT DEFAULT 'd%d'", i, i))
		a.exec("CREATE INDEX IF NOT EXISTS t_v ON t (v)")
		a.exec("CREATE TABLE same (id INTEGER PRIMARY KEY, v TEXT)")
		a.exec(fmt.Sprintf("INSERT INTO same (v) VALUES ('%d')", i))
		a.exec(fmt.Sprintf("INSERT INTO t (v, c%d) VALUES ('x', 'y%d')", i, i))
	}
	st := settle(as...)
	want(t, "rows", strings.Join(as[1].texts("SELECT coalesce(c0, '-') || coalesce(c1, '-') FROM t ORDER BY c0 || c1"), " "), "d0y1 y0d1")
	want(t, "merged table", strings.Join(as[1].texts("SELECT v FROM same ORDER BY v"), " "), "0 1")
	if !slices.Contains(strings.Split(strings.Join(st.schema, " "), " "), `"t_v"`) {
		t.Error(st.schema)
	}
	// The other kinds of change reach everybody too, when there is nothing pending.
	for _, d := range []string{
		"CREATE VIEW v AS SELECT v FROM t", "CREATE TRIGGER tr AFTER DELETE ON t BEGIN DELETE FROM same; END", "DROP TRIGGER tr",
		"ALTER TABLE same RENAME COLUMN v TO w", "ALTER TABLE same RENAME TO other", "ALTER TABLE t DROP COLUMN c0", "DROP INDEX t_v",
		"DROP VIEW v", "CREATE VIRTUAL TABLE f USING fts5(x)", "INSERT INTO f VALUES ('ant')", "DROP TABLE f", "DROP TABLE other",
	} {
		as[0].exec(d)
		settle(as...)
	}
}

// TestSavepoints undoes writes to a full text table, and goes on.
func TestSavepoints(t *testing.T) {
	for _, table := range []string{"CREATE VIRTUAL TABLE f USING fts5(tok, body)", "CREATE TABLE f (tok, body)", "CREATE TABLE f (tok PRIMARY KEY, body) WITHOUT ROWID"} {
		for _, look := range []bool{false, true} {
			t.Run(fmt.Sprint(table, look), func(t *testing.T) {
				l := newLab(t)
				as := l.full(2)
				as[0].exec(table)
				as[0].exec("CREATE TABLE other (x)")
				settle(as...)
				err := as[1].Update(bg(t), func(tx *agentdb.Tx) error {
					exec(t, tx, "SAVEPOINT s")
					exec(t, tx, "INSERT INTO f VALUES (?, ?)", "undone", "ant")
					if look {
						all[string](t, tx, "SELECT tok FROM f")
					}
					exec(t, tx, "ROLLBACK TO s")
					exec(t, tx, "INSERT INTO other VALUES (1)")
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				as[1].exec("INSERT INTO f VALUES (?, ?)", "kept", "bee")
				err = as[1].Update(bg(t), func(tx *agentdb.Tx) error {
					exec(t, tx, "INSERT INTO f VALUES (?, ?)", "kept too", "bee")
					exec(t, tx, "SAVEPOINT s")
					exec(t, tx, "UPDATE f SET body = 'undone'")
					exec(t, tx, "ROLLBACK TO s")
					exec(t, tx, "INSERT INTO f VALUES (?, ?)", "kept as well", "bee")
					exec(t, tx, "RELEASE s")
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				settle(as...)
				want(t, "rows", fmt.Sprint(as[0].texts("SELECT tok FROM f WHERE body = 'bee' ORDER BY tok")), "[kept kept as well kept too]")
				want(t, "other rows", get[int](t, as[0].DB, "SELECT count(*) FROM other"), 1)
			})
		}
	}
}
