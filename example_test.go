package agentdb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/agentdb/agentdb"
)

// exampleDB opens a database for an example, and returns what removes it.
func exampleDB() (*agentdb.DB, func()) {
	dir, err := os.MkdirTemp("", "agentdb-example")
	if err != nil {
		log.Fatal(err)
	}
	db, err := agentdb.Open(context.Background(), filepath.Join(dir, "agent.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = db.Exec(context.Background(), `CREATE TABLE steps (id INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, result TEXT);
		INSERT INTO steps (action, result) VALUES ('fetch_data', 'success'), ('parse', 'success'), ('upload', NULL)`)
	if err != nil {
		log.Fatal(err)
	}
	return db, func() {
		if err := db.Close(); err != nil {
			log.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			log.Fatal(err)
		}
	}
}

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "agentdb-example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	db, err := agentdb.Open(ctx, filepath.Join(dir, "agent.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	_, err = db.Exec(ctx, `CREATE TABLE IF NOT EXISTS steps (id INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, result TEXT)`)
	if err != nil {
		log.Fatal(err)
	}
	res, err := db.Exec(ctx, "INSERT INTO steps (action, result) VALUES (?, ?)", "fetch_data", "success")
	if err != nil {
		log.Fatal(err)
	}
	type Step struct {
		ID     int64
		Action string
		Result *string
	}
	step, err := agentdb.Get[Step](ctx, db, "SELECT * FROM steps WHERE id = ?", res.LastInsertID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(step.ID, step.Action, *step.Result)
	// Output: 1 fetch_data success
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "agentdb-example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := agentdb.Open(context.Background(), filepath.Join(dir, "agent.db"), &agentdb.Options{
		Synchronous: "NORMAL", // the last commits may be lost in a power cut
		CacheKB:     8 << 10,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(db.Close())
	// Output: <nil>
}

func ExampleDB_Exec() {
	ctx := context.Background()
	db, cleanup := exampleDB()
	defer cleanup()

	res, err := db.Exec(ctx, "UPDATE steps SET result = :result WHERE result IS NULL", sql.Named("result", "failed"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.RowsAffected)

	_, err = db.Exec(ctx, "INSERT INTO steps (id, action) VALUES (1, 'again')")
	var e *agentdb.Error
	if errors.As(err, &e) {
		fmt.Println(e.Name, e.Code)
	}
	// Output:
	// 1
	// SQLITE_CONSTRAINT_PRIMARYKEY 1555
}

func ExampleGet() {
	ctx := context.Background()
	db, cleanup := exampleDB()
	defer cleanup()

	n, err := agentdb.Get[int](ctx, db, "SELECT count(*) FROM steps")
	fmt.Println(n, err)
	row, err := agentdb.Get[map[string]any](ctx, db, "SELECT * FROM steps WHERE id = 3")
	fmt.Println(row, err)
	_, err = agentdb.Get[string](ctx, db, "SELECT action FROM steps WHERE id = 4")
	fmt.Println(errors.Is(err, agentdb.ErrNoRows), errors.Is(err, sql.ErrNoRows))
	id, err := agentdb.Get[int64](ctx, db, "INSERT INTO steps (action) VALUES ('think') RETURNING id")
	fmt.Println(id, err)
	// Output:
	// 3 <nil>
	// map[action:upload id:3 result:<nil>] <nil>
	// true true
	// 4 <nil>
}

func ExampleAll() {
	ctx := context.Background()
	db, cleanup := exampleDB()
	defer cleanup()

	type Count struct {
		Outcome *string `db:"result"`
		N       int
	}
	counts, err := agentdb.All[Count](ctx, db, "SELECT result, count(*) AS n FROM steps GROUP BY result ORDER BY n")
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range counts {
		if c.Outcome == nil {
			fmt.Println("none yet:", c.N)
		} else {
			fmt.Println(*c.Outcome+":", c.N)
		}
	}
	// Output:
	// none yet: 1
	// success: 2
}

func ExampleIter() {
	ctx := context.Background()
	db, cleanup := exampleDB()
	defer cleanup()

	for action, err := range agentdb.Iter[string](ctx, db, "SELECT action FROM steps ORDER BY id") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(action)
		if action == "parse" {
			break
		}
	}
	// Output:
	// fetch_data
	// parse
}

func ExampleDB_Update() {
	ctx := context.Background()
	db, cleanup := exampleDB()
	defer cleanup()

	err := db.Update(ctx, func(tx *agentdb.Tx) error {
		id, err := agentdb.Get[int64](ctx, tx, "SELECT id FROM steps WHERE result IS NULL ORDER BY id LIMIT 1")
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE steps SET result = 'running' WHERE id = ?", id)
		return err
	})
	fmt.Println(err)
	err = db.Update(ctx, func(tx *agentdb.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM steps"); err != nil {
			return err
		}
		return errors.New("on second thoughts: no")
	})
	fmt.Println(err)
	n, err := agentdb.Get[int](ctx, db, "SELECT count(*) FROM steps")
	fmt.Println(n, err)
	// Output:
	// <nil>
	// on second thoughts: no
	// 3 <nil>
}

func ExampleDB_View() {
	ctx := context.Background()
	db, cleanup := exampleDB()
	defer cleanup()

	err := db.View(ctx, func(tx *agentdb.Tx) error {
		if _, err := db.Exec(ctx, "DELETE FROM steps"); err != nil { // beside the snapshot
			return err
		}
		n, err := agentdb.Get[int](ctx, tx, "SELECT count(*) FROM steps")
		fmt.Println(n)
		return err
	})
	fmt.Println(err)
	// Output:
	// 3
	// <nil>
}

func ExampleDB_Prepare() {
	ctx := context.Background()
	db, cleanup := exampleDB()
	defer cleanup()

	insert, err := db.Prepare(ctx, "INSERT INTO steps (action, result) VALUES (?, ?)")
	if err != nil {
		log.Fatal(err)
	}
	defer insert.Close()
	res, err := insert.Run(ctx, "summarize", "success")
	fmt.Println(res.LastInsertID, err)
	// Output: 4 <nil>
}

func ExampleTx_Prepare() {
	ctx := context.Background()
	db, cleanup := exampleDB()
	defer cleanup()

	err := db.Update(ctx, func(tx *agentdb.Tx) error {
		insert, err := tx.Prepare(ctx, "INSERT INTO steps (action) VALUES (?)")
		if err != nil {
			return err
		}
		for i := range 1000 {
			if _, err := insert.Run(ctx, fmt.Sprintf("step %d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleDB_SQL() {
	ctx := context.Background()
	db, cleanup := exampleDB()
	defer cleanup()

	var action string
	err := db.SQL().QueryRowContext(ctx, "SELECT action FROM steps WHERE id = ?", 2).Scan(&action)
	fmt.Println(action, err)
	// Output: parse <nil>
}

// Code for database/sql finds the driver by its name.
func Example_databaseSQL() {
	dir, err := os.MkdirTemp("", "agentdb-example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	pool, err := sql.Open("agentdb", filepath.Join(dir, "agent.db")+"?synchronous=NORMAL")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec("CREATE TABLE events (at DATETIME)"); err != nil {
		log.Fatal(err)
	}
	if _, err := pool.Exec("INSERT INTO events VALUES (?)", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)); err != nil {
		log.Fatal(err)
	}
	var at time.Time
	err = pool.QueryRow("SELECT at FROM events").Scan(&at)
	fmt.Println(at, err)
	// Output: 2026-01-02 03:04:05 +0000 UTC <nil>
}

// An agent gives a statement as much time as its context has.
func Example_cancel() {
	db, cleanup := exampleDB()
	defer cleanup()

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := agentdb.Get[int](ctx, db, "WITH RECURSIVE s(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM s) SELECT count(*) FROM s")
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}
