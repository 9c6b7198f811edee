// Agentdb runs the workloads on the library of this repository: through its own interface, or with -sql through the
// database/sql pool of the same file. With -url the database is a synced one, so that every commit is captured; the
// server need not exist.
package main

import (
	"context"
	"flag"
	"os"
	"runtime/debug"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/bench/engines/sqldb"
	"github.com/agentdb/agentdb/bench/workload"
)

func main() {
	url := flag.String("url", "", "server of a synced database")
	useSQL := flag.Bool("sql", false, "use DB.SQL() and database/sql")
	name := flag.String("name", "agentdb", "name in the results")
	// workload.Main parses the flags; the name is needed before that.
	for i, a := range os.Args {
		if a == "-name" && i+1 < len(os.Args) {
			*name = os.Args[i+1]
		}
	}
	workload.Main(workload.Info{Name: *name, Version: version()}, func(path string) (workload.Engine, error) {
		var o *agentdb.Options
		if *url != "" {
			o = &agentdb.Options{URL: *url, AuthToken: "offline"}
		}
		db, err := agentdb.Open(context.Background(), path, o)
		if err != nil || !*useSQL {
			return &engine{db}, err
		}
		return sqldb.Wrap(db.SQL())
	})
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == "modernc.org/sqlite" {
			return "this repository, engine modernc.org/sqlite " + m.Version
		}
	}
	return "this repository"
}

type engine struct{ db *agentdb.DB }

func (e *engine) Script(sql string) error {
	_, err := e.db.Exec(context.Background(), sql)
	return err
}

func (e *engine) Load(sql string, texts []string) error {
	ctx := context.Background()
	return e.db.Update(ctx, func(tx *agentdb.Tx) error {
		for i, t := range texts {
			if _, err := tx.Exec(ctx, sql, i+1, t); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *engine) Bulk(sql string, rows []workload.Row) error {
	ctx := context.Background()
	return e.db.Update(ctx, func(tx *agentdb.Tx) error {
		for i := range rows {
			r := &rows[i]
			if _, err := tx.Exec(ctx, sql, r.Author, r.Score, r.Body); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *engine) Autocommit(sql string, rows []workload.Row) error {
	ctx := context.Background()
	st, err := e.db.Prepare(ctx, sql)
	if err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		if _, err := st.Run(ctx, r.Author, r.Score, r.Body); err != nil {
			return err
		}
	}
	return st.Close()
}

func (e *engine) Point(sql string, ids []int64) (sum int64, err error) {
	ctx := context.Background()
	err = e.db.View(ctx, func(tx *agentdb.Tx) error {
		for _, id := range ids {
			r, err := agentdb.Get[workload.Row](ctx, tx, sql, id)
			if err != nil {
				return err
			}
			sum += r.Sum()
		}
		return nil
	})
	return sum, err
}

func (e *engine) Scan(sql string) (sum int64, err error) {
	for r, err := range agentdb.Iter[workload.Row](context.Background(), e.db, sql) {
		if err != nil {
			return 0, err
		}
		sum += r.Sum()
	}
	return sum, nil
}

func (e *engine) Scalar(sql string) (int64, error) {
	return agentdb.Get[int64](context.Background(), e.db, sql)
}

func (e *engine) Search(sql string, queries []string) (sum int64, err error) {
	for _, q := range queries {
		ids, err := agentdb.All[int64](context.Background(), e.db, sql, q)
		if err != nil {
			return 0, err
		}
		for _, id := range ids {
			sum += id
		}
	}
	return sum, nil
}

func (e *engine) Close() error { return e.db.Close() }
