// Ncruces runs the workloads on github.com/ncruces/go-sqlite3 (SQLite by way of WebAssembly) through its native interface,
// which is faster than its database/sql driver.
package main

import (
	"errors"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/ext/fts5"

	"github.com/agentdb/agentdb/bench/workload"
)

func main() {
	workload.Main(workload.Info{Name: "ncruces", Version: version()}, open)
}

func version() string {
	c, err := sqlite3.Open(":memory:")
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }()
	st, _, err := c.Prepare("SELECT sqlite_version()")
	if err != nil || !st.Step() {
		return ""
	}
	defer func() { _ = st.Close() }()
	return "SQLite " + st.ColumnText(0)
}

type engine struct{ c *sqlite3.Conn }

func open(path string) (workload.Engine, error) {
	c, err := sqlite3.Open(path)
	if err != nil {
		return nil, err
	}
	if err := fts5.Register(c); err != nil {
		return nil, err
	}
	return &engine{c}, c.Exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=1")
}

func (e *engine) Script(sql string) error { return e.c.Exec(sql) }

// with prepares a statement, in a transaction where begin isn't empty.
func (e *engine) with(begin, sql string, fn func(*sqlite3.Stmt) error) error {
	if begin != "" {
		if err := e.c.Exec(begin); err != nil {
			return err
		}
	}
	st, _, err := e.c.Prepare(sql)
	if err != nil {
		return err
	}
	if err := errors.Join(fn(st), st.Close()); err != nil || begin == "" {
		return err
	}
	return e.c.Exec("COMMIT")
}

func (e *engine) Load(sql string, texts []string) error {
	return e.with("BEGIN IMMEDIATE", sql, func(st *sqlite3.Stmt) error {
		for i, t := range texts {
			if err := errors.Join(st.BindInt64(1, int64(i+1)), st.BindText(2, t), st.Exec()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *engine) Bulk(sql string, rows []workload.Row) error {
	return e.with("BEGIN IMMEDIATE", sql, func(st *sqlite3.Stmt) error { return insert(st, rows) })
}

func (e *engine) Autocommit(sql string, rows []workload.Row) error {
	return e.with("", sql, func(st *sqlite3.Stmt) error { return insert(st, rows) })
}

func insert(st *sqlite3.Stmt, rows []workload.Row) error {
	for i := range rows {
		r := &rows[i]
		if err := st.BindText(1, r.Author); err != nil {
			return err
		}
		if err := st.BindFloat(2, r.Score); err != nil {
			return err
		}
		if err := st.BindText(3, r.Body); err != nil {
			return err
		}
		if err := st.Exec(); err != nil {
			return err
		}
	}
	return nil
}

func sum(st *sqlite3.Stmt) int64 {
	r := workload.Row{ID: st.ColumnInt64(0), Author: st.ColumnText(1), Score: st.ColumnFloat(2), Body: st.ColumnText(3)}
	return r.Sum()
}

func (e *engine) Point(sql string, ids []int64) (total int64, err error) {
	err = e.with("BEGIN", sql, func(st *sqlite3.Stmt) error {
		for _, id := range ids {
			if err := st.BindInt64(1, id); err != nil {
				return err
			}
			if st.Step() {
				total += sum(st)
			}
			if err := st.Reset(); err != nil {
				return err
			}
		}
		return nil
	})
	return total, err
}

func (e *engine) Scan(sql string) (total int64, err error) {
	err = e.with("", sql, func(st *sqlite3.Stmt) error {
		for st.Step() {
			total += sum(st)
		}
		return st.Err()
	})
	return total, err
}

func (e *engine) Scalar(sql string) (x int64, err error) {
	err = e.with("", sql, func(st *sqlite3.Stmt) error {
		if st.Step() {
			x = st.ColumnInt64(0)
		}
		return st.Err()
	})
	return x, err
}

func (e *engine) Search(sql string, queries []string) (total int64, err error) {
	err = e.with("", sql, func(st *sqlite3.Stmt) error {
		for _, q := range queries {
			if err := st.BindText(1, q); err != nil {
				return err
			}
			for st.Step() {
				total += st.ColumnInt64(0)
			}
			if err := st.Reset(); err != nil {
				return err
			}
		}
		return nil
	})
	return total, err
}

func (e *engine) Close() error { return e.c.Close() }
