package agentdb

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// recorder is a tracker that writes down what it is told. One is shared by all connections.
type recorder struct {
	mu      sync.Mutex
	calls   []string
	refuse  string // BeforeStmt refuses texts that contain it
	failAt  string // the call that fails
	tracked int    // connections
}

var errRecorder = errors.New("the recorder says no")

func (r *recorder) note(call string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
	if call == r.failAt {
		return errRecorder
	}
	return nil
}

func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := strings.Join(r.calls, " ")
	r.calls = nil
	return s
}

func (r *recorder) Begin() error { return r.note("begin") }

func (r *recorder) BeforeStmt(st *sqlite.Stmt) error {
	if r.refuse != "" && strings.Contains(st.SQL(), r.refuse) {
		_ = r.note("refused")
		return errRecorder
	}
	return r.note("before")
}

func (r *recorder) AfterStmt(_ *sqlite.Stmt, err error) error {
	if err != nil {
		return r.note("failed")
	}
	return r.note("after")
}

func (r *recorder) Savepoint(name string)        { _ = r.note("savepoint:" + name) }
func (r *recorder) RollbackTo(name string) error { return r.note("to:" + name) }
func (r *recorder) Release(name string)          { _ = r.note("release:" + name) }
func (r *recorder) BeforeCommit() error          { return r.note("commit") }
func (r *recorder) AfterCommit()                 { _ = r.note("committed") }
func (r *recorder) Rollback()                    { _ = r.note("rollback") }

func openTracked(t *testing.T) (*DB, *recorder) {
	t.Helper()
	r := &recorder{}
	opts, err := (*Options)(nil).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	db, err := openLocal(context.Background(), filepath.Join(t.TempDir(), "a.db"), opts, func(*DB, *sqlite.Conn) (tracker, error) {
		r.tracked++
		return r, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db, r
}

// updateAll runs texts in one transaction; those marked so may fail.
func updateAll(ctx context.Context, db *DB, texts []string) error {
	return db.Update(ctx, func(tx *Tx) error {
		for _, text := range texts {
			if _, err := tx.Exec(ctx, text); err != nil && !strings.Contains(text, "-- fails") {
				return err
			}
		}
		return nil
	})
}

func TestTrackerCalls(t *testing.T) {
	ctx := context.Background()
	db, r := openTracked(t)
	exec := func(text string) func() error {
		return func() error { _, err := db.Exec(ctx, text); return err }
	}
	update := func(texts ...string) func() error {
		return func() error { return updateAll(ctx, db, texts) }
	}
	for _, c := range []struct {
		name string
		do   func() error
		want string
		fail bool
	}{
		{"autocommit", exec("CREATE TABLE t (a UNIQUE)"), "begin before after commit committed", false},
		{"insert", exec("INSERT INTO t VALUES (1)"), "begin before after commit committed", false},
		{"failing", exec("INSERT INTO t VALUES (1)"), "begin before failed rollback", true},
		{"reading", exec("SELECT * FROM t"), "", false},
		{"pragma", exec("PRAGMA user_version = 3"), "before after", false},
		{"vacuum", exec("VACUUM"), "before after", false},
		{"update", update("INSERT INTO t VALUES (2)", "SELECT 1", "DELETE FROM t WHERE a = 2"), "begin before after before after commit committed", false},
		{"failing inside", update("INSERT INTO t VALUES (1) -- fails", "INSERT INTO t VALUES (3)"), "begin before failed before after commit committed", false},
		{"rolled back by SQLite", update("INSERT OR ROLLBACK INTO t VALUES (1) -- fails"), "begin before failed rollback", true},
		{"savepoints", update("SAVEPOINT A", "INSERT INTO t VALUES (4)", "ROLLBACK TO a", "RELEASE a"), "begin savepoint:A before after to:A release:A commit committed", false},
		{"script", exec("BEGIN; INSERT INTO t VALUES (5); COMMIT"), "begin before after commit committed", false},
		{"script that stops", exec("BEGIN; INSERT INTO t VALUES (1); COMMIT"), "begin before failed rollback", true},
		{"outermost savepoint", exec("SAVEPOINT s; INSERT INTO t VALUES (6); RELEASE s"), "begin savepoint:s before after release:s commit committed", false},
		{"stray", exec("BEGIN"), "begin rollback", true},
		{"returning", func() error {
			ids, err := All[int](ctx, db, "INSERT INTO t VALUES (7), (8) RETURNING a")
			if len(ids) != 2 {
				t.Errorf("%v", ids)
			}
			return err
		}, "begin before after commit committed", false},
		{"get of returning", func() error {
			_, err := Get[int](ctx, db, "INSERT INTO t VALUES (9), (10) RETURNING a")
			return err
		}, "begin before after commit committed", false},
		{"view", func() error {
			return db.View(ctx, func(tx *Tx) error { _, err := Get[int](ctx, tx, "SELECT 1"); return err })
		}, "", false},
	} {
		err := c.do()
		if (err != nil) != c.fail {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := r.take(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestTrackerOnDriverConnections(t *testing.T) {
	ctx := context.Background()
	db, r := openTracked(t)
	conn, err := db.SQL().Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"CREATE TABLE t (a)", "begin before after commit committed"},
		{"BEGIN", "begin"},
		{"INSERT INTO t VALUES (1)", "before after"},
		{"ROLLBACK", "rollback"},
		{"SAVEPOINT s", "begin savepoint:s"},
		{"INSERT INTO t VALUES (1)", "before after"},
		{"RELEASE s", "release:s commit committed"},
		{"SELECT 1", ""},
	} {
		if _, err := conn.ExecContext(ctx, c.text); err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
		if got := r.take(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO t VALUES (2)"); err != nil {
		t.Error(err)
	}
	if err := tx.Commit(); err != nil || r.take() != "begin before after commit committed" {
		t.Errorf("commit: %v", err)
	}
	tx, err = conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil || r.take() != "" {
		t.Errorf("read-only: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if r.tracked != 2 {
		t.Errorf("%d connections are tracked", r.tracked)
	}
}

// Whatever a tracker refuses leaves no trace.
func TestTrackerRefuses(t *testing.T) {
	ctx := context.Background()
	db, r := openTracked(t)
	if _, err := db.Exec(ctx, "CREATE TABLE t (a)"); err != nil {
		t.Fatal(err)
	}
	r.refuse = "999"
	if _, err := db.Exec(ctx, "INSERT INTO t VALUES (999)"); !errors.Is(err, errRecorder) {
		t.Errorf("refused: %v", err)
	}
	for _, at := range []string{"begin", "before", "after", "commit"} {
		r.failAt = at
		if _, err := db.Exec(ctx, "INSERT INTO t VALUES (1)"); !errors.Is(err, errRecorder) {
			t.Errorf("exec, %s: %v", at, err)
		}
		err := db.Update(ctx, func(tx *Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO t VALUES (1)")
			return err
		})
		if !errors.Is(err, errRecorder) {
			t.Errorf("update, %s: %v", at, err)
		}
		if _, err := Get[int](ctx, db, "INSERT INTO t VALUES (1) RETURNING a"); !errors.Is(err, errRecorder) {
			t.Errorf("returning, %s: %v", at, err)
		}
	}
	// A refused ROLLBACK TO hasn't rolled anything back.
	r.failAt = "to:s"
	err := db.Update(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(ctx, "SAVEPOINT s; INSERT INTO t VALUES (1); ROLLBACK TO s"); !errors.Is(err, errRecorder) {
			t.Errorf("rollback to: %v", err)
		}
		if n, err := Get[int](ctx, tx, "DELETE FROM t RETURNING a"); err != nil || n != 1 {
			t.Errorf("%d, %v", n, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	r.failAt = ""
	if n, err := Get[int](ctx, db, "SELECT count(*) FROM t"); err != nil || n != 0 {
		t.Errorf("%d rows, %v", n, err)
	}
}

func TestClassify(t *testing.T) {
	for text, want := range map[string]struct {
		verb verb
		name string
	}{
		"SELECT 1":                              {verbOther, ""},
		"  -- c\n/* d */ ; insert into t":       {verbInsert, ""},
		"REPLACE INTO t":                        {verbInsert, ""},
		"WITH x AS (SELECT 1) INSERT INTO t":    {verbOther, ""},
		"vacuum":                                {verbBare, ""},
		"begin":                                 {verbBegin, ""},
		"BEGIN EXCLUSIVE TRANSACTION":           {verbBegin, ""},
		"END":                                   {verbCommit, ""},
		"COMMIT TRANSACTION;":                   {verbCommit, ""},
		"ROLLBACK":                              {verbRollback, ""},
		"ROLLBACK TRANSACTION;":                 {verbRollback, ""},
		"ROLLBACK TO x":                         {verbRollbackTo, "x"},
		"ROLLBACK /*a*/ TRANSACTION TO 'a''b' ": {verbRollbackTo, "a'b"},
		"rollback to savepoint [a b];":          {verbRollbackTo, "a b"},
		"SAVEPOINT \"a\"\"b\"":                  {verbSavepoint, `a"b`},
		"SAVEPOINT savepoint":                   {verbSavepoint, "savepoint"},
		"RELEASE savepoint":                     {verbRelease, "savepoint"},
		"RELEASE SAVEPOINT `x`;":                {verbRelease, "x"},
		"beginning":                             {verbOther, ""},
		"":                                      {verbOther, ""},
		"/* never closed":                       {verbOther, ""},
		"\"begin\"":                             {verbOther, ""},
	} {
		v, name := classify(text)
		if v != want.verb || name != want.name {
			t.Errorf("%q: %d %q", text, v, name)
		}
	}
}
