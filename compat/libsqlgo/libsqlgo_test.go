// Package libsqlgo runs the Go client of libSQL against the server.
package libsqlgo

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/agentdb/agentdb/agentdbtest"
	"github.com/tursodatabase/libsql-client-go/libsql"
)

// protocols are the schemes of the client's URLs.
var protocols = []string{"http", "ws"}

// each runs a test over every protocol, on a database of its own.
func each(t *testing.T, f func(t *testing.T, db *sql.DB)) {
	for _, p := range protocols {
		t.Run(p, func(t *testing.T) {
			srv := agentdbtest.NewServer(t)
			f(t, open(t, strings.Replace(srv.URL("tasks"), "http", p, 1), srv.Token("tasks", "full")))
		})
	}
}

func open(t *testing.T, url, token string) *sql.DB {
	t.Helper()
	c, err := libsql.NewConnector(url, libsql.WithAuthToken(token))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func exec(t *testing.T, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, query string, args ...any) sql.Result {
	t.Helper()
	r, err := db.ExecContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return r
}

func count(t *testing.T, db *sql.DB, table string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestValues(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		var (
			null sql.NullString
			i    int64
			f    float64
			s    string
			b    []byte
		)
		row := db.QueryRowContext(t.Context(), "SELECT ?, ?, ?, ?, ?", nil, int64(math.MinInt64), 0.1, "a\x00é😀", []byte{0, 255})
		if err := row.Scan(&null, &i, &f, &s, &b); err != nil {
			t.Fatal(err)
		}
		if null.Valid || i != math.MinInt64 || f != 0.1 || s != "a\x00é😀" || string(b) != "\x00\xff" {
			t.Errorf("%v %d %v %q %q", null, i, f, s, b)
		}
		if err := db.QueryRowContext(t.Context(), "SELECT :a || :b", sql.Named("b", "2"), sql.Named("a", "1")).Scan(&s); err != nil || s != "12" {
			t.Errorf("named: %q, %v", s, err)
		}
	})
}

func TestResults(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		exec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, x UNIQUE)")
		r := exec(t, db, "INSERT INTO t(x) VALUES (?), (?)", "a", "b")
		id, err := r.LastInsertId()
		n, nerr := r.RowsAffected()
		if id != 2 || n != 2 || err != nil || nerr != nil {
			t.Errorf("%d %v, %d %v", id, err, n, nerr)
		}
		if _, err := db.ExecContext(t.Context(), "INSERT INTO t(x) VALUES ('a')"); err == nil || !strings.Contains(err.Error(), "UNIQUE constraint failed: t.x") {
			t.Error(err)
		}
		if _, err := db.QueryContext(t.Context(), "SELECT * FROM nope"); err == nil || !strings.Contains(err.Error(), "no such table: nope") { //nolint:sqlclosecheck // it fails
			t.Error(err)
		}
	})
}

func TestTransactions(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		exec(t, db, "CREATE TABLE t (x)")
		for _, commit := range []bool{true, false} {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			exec(t, tx, "INSERT INTO t VALUES (?)", 1)
			var n int
			if err := tx.QueryRowContext(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil || n == 0 {
				t.Errorf("within the transaction: %d, %v", n, err)
			}
			if commit {
				err = tx.Commit()
			} else {
				err = tx.Rollback()
			}
			if err != nil {
				t.Error(err)
			}
		}
		if n := count(t, db, "t"); n != 1 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestPrepared(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		exec(t, db, "CREATE TABLE t (x)")
		st, err := db.PrepareContext(t.Context(), "INSERT INTO t VALUES (?)")
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		for i := range 10 {
			if _, err := st.ExecContext(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(t, db, "t"); n != 10 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestConcurrent(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		exec(t, db, "CREATE TABLE t (x)")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 10 {
					if _, err := db.ExecContext(t.Context(), "INSERT INTO t VALUES (?)", fmt.Sprint(i, j)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := count(t, db, "t"); n != 80 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestManyStatements(t *testing.T) { // WebSocket runs the first only: the client's own doing
	srv := agentdbtest.NewServer(t)
	db := open(t, srv.URL("tasks"), srv.Token("tasks", "full"))
	exec(t, db, "CREATE TABLE t (x); INSERT INTO t VALUES (1); INSERT INTO t VALUES (';')")
	if n := count(t, db, "t"); n != 2 {
		t.Errorf("%d rows", n)
	}
	if _, err := db.ExecContext(t.Context(), "INSERT INTO t VALUES (3); INSERT INTO nope VALUES (1)"); err == nil {
		t.Error("no error")
	}
}

func TestTokens(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) { exec(t, db, "CREATE TABLE t (x)") })
	srv := agentdbtest.NewServer(t)
	exec(t, open(t, srv.URL("a"), srv.Token("a", "full")), "CREATE TABLE t (x)")
	read := open(t, srv.URL("a"), srv.Token("a", "read"))
	if n := count(t, read, "t"); n != 0 {
		t.Errorf("%d rows", n)
	}
	if _, err := read.ExecContext(t.Context(), "INSERT INTO t VALUES (1)"); err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("write with a token to read: %v", err)
	}
	if err := open(t, srv.URL("a"), srv.Token("b", "full")).QueryRowContext(t.Context(), "SELECT 1").Scan(new(int)); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("token of another database: %v", err)
	}
}
