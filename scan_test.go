package agentdb_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

type Base struct {
	ID        int64
	CreatedAt time.Time
}

type Extra struct{ Note string }

type Task struct {
	Base
	*Extra
	OwnerID  int `db:"owner"`
	HTTPCode *int
	Title    string
	Skipped  string `db:"-"`
	private  int
}

func TestStructsByColumnName(t *testing.T) {
	db := open(t, nil)
	task := mustGet[Task](t, db, `SELECT 1 AS id, '2026-01-02' AS created_at, 'n' AS NOTE, 7 AS owner, 404 AS http_code, 't' AS title, 's' AS skipped, 9 AS private, 'x' AS unknown`)
	if task.ID != 1 || task.CreatedAt.Year() != 2026 || task.Extra == nil || task.Note != "n" || task.OwnerID != 7 ||
		task.HTTPCode == nil || *task.HTTPCode != 404 || task.Title != "t" || task.Skipped != "" || task.private != 0 {
		t.Errorf("%+v", task)
	}
	task = mustGet[Task](t, db, `SELECT 5 AS Id, NULL AS httpcode`)
	if task.ID != 5 || task.Extra != nil || task.HTTPCode != nil {
		t.Errorf("%+v", task)
	}
	p := mustGet[*Task](t, db, `SELECT 6 AS id`)
	if p == nil || p.ID != 6 {
		t.Errorf("%+v", p)
	}
}

func TestFieldPrecedence(t *testing.T) {
	type row struct {
		A      int
		Tagged int `db:"a"`
		UserID int
		Userid int
	}
	db := open(t, nil)
	got := mustGet[row](t, db, "SELECT 1 AS a, 2 AS A, 3 AS UserID, 4 AS Userid")
	if got != (row{A: 2, Tagged: 1, UserID: 3, Userid: 4}) {
		t.Errorf("%+v", got)
	}
}

func TestShapesOfRows(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	const text = "SELECT 1 AS a, 'b' AS b, 2.5 AS c, x'01' AS d, NULL AS e"
	m := mustGet[map[string]any](t, db, text)
	if len(m) != 5 || m["a"] != int64(1) || m["b"] != "b" || m["c"] != 2.5 || m["d"].([]byte)[0] != 1 || m["e"] != nil {
		t.Errorf("map: %v", m)
	}
	l := mustGet[[]any](t, db, text)
	if len(l) != 5 || l[0] != int64(1) || l[4] != nil {
		t.Errorf("list: %v", l)
	}
	names, err := agentdb.All[string](ctx, db, "VALUES ('x'), ('y')")
	if err != nil || strings.Join(names, "") != "xy" {
		t.Errorf("scalars: %v, %v", names, err)
	}
	none, err := agentdb.All[string](ctx, db, "SELECT 1 WHERE 0")
	if err != nil || none != nil {
		t.Errorf("none: %v, %v", none, err)
	}
	rows, err := agentdb.All[*Step](ctx, db, "WITH RECURSIVE s(id) AS (VALUES (1) UNION ALL SELECT id + 1 FROM s WHERE id < 3) SELECT id FROM s")
	if err != nil || len(rows) != 3 || rows[0].ID != 1 || rows[2].ID != 3 {
		t.Errorf("pointers: %v, %v", rows, err)
	}
}

func TestRowsThatDoNotFit(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	for text, get := range map[string]func(string) error{
		"SELECT 1, 2":                  getErr[int](ctx, db),
		"SELECT 1 AS x, 2 AS y":        getErr[Step](ctx, db),
		"SELECT 1 AS id, 2 AS ID":      getErr[Step](ctx, db),
		"SELECT 1 AS x, 2 AS x":        getErr[map[string]any](ctx, db),
		"SELECT 1 AS x":                getErr[chan int](ctx, db),
		"SELECT 1 AS ch":               getErr[struct{ Ch chan int }](ctx, db),
		"SELECT 'abc' AS id":           getErr[Step](ctx, db),
		"":                             getErr[int](ctx, db),
		"-- nothing":                   getErr[int](ctx, db),
		"SELECT 1; SELECT 2":           getErr[int](ctx, db),
		"COMMIT":                       getErr[int](ctx, db),
		"SELEC 1":                      getErr[int](ctx, db),
		"SELECT id FROM no_such_table": getErr[int](ctx, db),
	} {
		if err := get(text); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
	if n := mustGet[int](t, db, "SELECT 1; -- and no more"); n != 1 {
		t.Errorf("a comment at the end: %d", n)
	}
}

// A statement that is kept prepared must notice that its columns have become others.
func TestColumnsChangeUnderAStatement(t *testing.T) {
	db := open(t, nil)
	type row struct {
		A, B, C int
	}
	const text = "SELECT * FROM t"
	mustExec(t, db, "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 2)")
	if r := mustGet[row](t, db, text); r != (row{A: 1, B: 2}) {
		t.Errorf("%+v", r)
	}
	mustExec(t, db, "ALTER TABLE t ADD COLUMN c DEFAULT 3")
	if r := mustGet[row](t, db, text); r != (row{1, 2, 3}) {
		t.Errorf("after ADD COLUMN: %+v", r)
	}
	mustExec(t, db, "ALTER TABLE t DROP COLUMN a")
	if r := mustGet[row](t, db, text); r != (row{B: 2, C: 3}) {
		t.Errorf("after DROP COLUMN: %+v", r)
	}
	mustExec(t, db, "ALTER TABLE t RENAME COLUMN b TO a")
	if r := mustGet[row](t, db, text); r != (row{A: 2, C: 3}) {
		t.Errorf("after RENAME COLUMN: %+v", r)
	}
	if m := mustGet[map[string]any](t, db, text); len(m) != 2 || m["a"] != int64(2) {
		t.Errorf("map: %v", m)
	}
}

func TestIterStopsAndNests(t *testing.T) {
	ctx := context.Background()
	db := open(t, &agentdb.Options{Readers: 1})
	mustExec(t, db, "CREATE TABLE t (a INTEGER PRIMARY KEY)")
	for range 100 {
		mustExec(t, db, "INSERT INTO t DEFAULT VALUES")
	}
	seq := agentdb.Iter[int](ctx, db, "SELECT a FROM t ORDER BY a")
	for range 2 { // the sequence may be used again
		n := 0
		for a, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if a == 3 {
				break
			}
			if b := mustGet[int](t, db, "SELECT a FROM t WHERE a = ?", a); b != a {
				t.Errorf("inside: %d", b)
			}
			mustExec(t, db, "UPDATE t SET a = a WHERE a = ?", a)
		}
		if n != 3 {
			t.Errorf("%d rows", n)
		}
	}
	err := db.Update(ctx, func(tx *agentdb.Tx) error {
		for a, err := range agentdb.Iter[int](ctx, tx, "SELECT a FROM t WHERE a <= 10") {
			if err != nil {
				return err
			}
			for b, err := range agentdb.Iter[int](ctx, tx, "SELECT a FROM t WHERE a <= 10") { // the same text, nested
				if err != nil {
					return err
				}
				if b == 2 {
					break
				}
			}
			mustExec(t, tx, "DELETE FROM t WHERE a = ?", a+50)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if n := mustGet[int](t, db, "SELECT count(*) FROM t"); n != 90 {
		t.Errorf("%d rows are left", n)
	}
	for _, err := range agentdb.Iter[int](ctx, db, "SELECT nothing") {
		if err == nil {
			t.Error("no error")
		}
	}
}

func TestReturning(t *testing.T) {
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, stepsSchema)
	id := mustGet[int](t, db, "INSERT INTO steps (action) VALUES ('a'), ('b') RETURNING id")
	ids, err := agentdb.All[int](ctx, db, "INSERT INTO steps (action) VALUES ('c'), ('d') RETURNING id")
	if err != nil || id != 1 || len(ids) != 2 || ids[1] != 4 {
		t.Errorf("%d, %v, %v", id, ids, err)
	}
	for id, err := range agentdb.Iter[int](ctx, db, "DELETE FROM steps RETURNING id") {
		if err != nil {
			t.Fatal(err)
		}
		mustExec(t, db, "INSERT INTO steps (action) VALUES ('again')") // would wait forever if the writer were held
		if id == 2 {
			break
		}
	}
	if n := mustGet[int](t, db, "SELECT count(*) FROM steps"); n != 2 {
		t.Errorf("%d rows", n)
	}
	err = db.Update(ctx, func(tx *agentdb.Tx) error {
		for _, err := range agentdb.Iter[Step](ctx, tx, "UPDATE steps SET result = 'x' RETURNING *") {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if n := mustGet[int](t, db, "SELECT count(*) FROM steps WHERE result = 'x'"); err != nil || n != 2 {
		t.Errorf("%d rows, %v", n, err)
	}
}
