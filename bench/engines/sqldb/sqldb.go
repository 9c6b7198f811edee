// Package sqldb runs the workloads through database/sql, prepared statements throughout, on one connection.
package sqldb

import (
	"context"
	"database/sql"

	"github.com/agentdb/agentdb/bench/workload"
)

type engine struct {
	db   *sql.DB
	conn *sql.Conn
}

// Open opens a database of a registered driver; the caller's DSN sets WAL and synchronous=FULL.
func Open(driver, dsn string) (workload.Engine, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	return Wrap(db)
}

// Wrap runs the workloads on an open pool.
func Wrap(db *sql.DB) (workload.Engine, error) {
	conn, err := db.Conn(context.Background())
	if err != nil {
		return nil, err
	}
	return &engine{db, conn}, nil
}

func (e *engine) Script(sql string) error {
	_, err := e.conn.ExecContext(context.Background(), sql)
	return err
}

func (e *engine) inTx(query string, fn func(*sql.Stmt) error) error {
	tx, err := e.conn.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	st, err := tx.Prepare(query)
	if err != nil {
		return err
	}
	if err := fn(st); err != nil {
		return err
	}
	if err := st.Close(); err != nil {
		return err
	}
	return tx.Commit()
}

func (e *engine) Load(query string, texts []string) error {
	return e.inTx(query, func(st *sql.Stmt) error {
		for i, t := range texts {
			if _, err := st.Exec(i+1, t); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *engine) Bulk(query string, rows []workload.Row) error {
	return e.inTx(query, func(st *sql.Stmt) error { return insert(st, rows) })
}

func (e *engine) Autocommit(query string, rows []workload.Row) error {
	st, err := e.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return err
	}
	if err := insert(st, rows); err != nil {
		return err
	}
	return st.Close()
}

func insert(st *sql.Stmt, rows []workload.Row) error {
	for i := range rows {
		r := &rows[i]
		if _, err := st.Exec(r.Author, r.Score, r.Body); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) Point(query string, ids []int64) (sum int64, err error) {
	err = e.inTx(query, func(st *sql.Stmt) error {
		for _, id := range ids {
			var r workload.Row
			if err := st.QueryRow(id).Scan(&r.ID, &r.Author, &r.Score, &r.Body); err != nil {
				return err
			}
			sum += r.Sum()
		}
		return nil
	})
	return sum, err
}

func (e *engine) Scan(query string) (sum int64, err error) {
	rows, err := e.conn.QueryContext(context.Background(), query)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r workload.Row
		if err := rows.Scan(&r.ID, &r.Author, &r.Score, &r.Body); err != nil {
			return 0, err
		}
		sum += r.Sum()
	}
	return sum, rows.Err()
}

func (e *engine) Scalar(query string) (x int64, err error) {
	return x, e.conn.QueryRowContext(context.Background(), query).Scan(&x)
}

func (e *engine) Search(query string, queries []string) (sum int64, err error) {
	st, err := e.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return 0, err
	}
	for _, q := range queries {
		rows, err := st.Query(q)
		if err != nil {
			return 0, err
		}
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				return 0, err
			}
			sum += id
		}
		if err := rows.Err(); err != nil {
			return 0, err
		}
	}
	return sum, st.Close()
}

func (e *engine) Close() error {
	if err := e.conn.Close(); err != nil {
		return err
	}
	return e.db.Close()
}
