// Embedded: an agent logs the steps of its work in a file of its own. No
// server, no network, and any SQLite tool can read the file.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/agentdb/agentdb"
)

// Step is a row of the table steps.
type Step struct {
	ID     int64
	Action string
	Result string
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "embedded-") // a real agent keeps its file
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	db, err := agentdb.Open(ctx, filepath.Join(dir, "agent-workflow.db"), nil)
	if err != nil {
		return err
	}
	defer db.Close()

	_, err = db.Exec(ctx, `CREATE TABLE IF NOT EXISTS steps (
		id     INTEGER PRIMARY KEY AUTOINCREMENT,
		action TEXT NOT NULL,
		result TEXT NOT NULL,
		time   DATETIME DEFAULT CURRENT_TIMESTAMP
	)`)
	if err != nil {
		return err
	}

	// One statement is one transaction.
	res, err := db.Exec(ctx, "INSERT INTO steps (action, result) VALUES (?, ?)", "fetch_data", "success")
	if err != nil {
		return err
	}
	fmt.Println("logged step", res.LastInsertID)

	// Several belong together in Update: all of them, or none.
	err = db.Update(ctx, func(tx *agentdb.Tx) error {
		for _, s := range []Step{{Action: "parse", Result: "214 rows"}, {Action: "summarize", Result: "3 findings"}} {
			if _, err := tx.Exec(ctx, "INSERT INTO steps (action, result) VALUES (?, ?)", s.Action, s.Result); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}

	last, err := agentdb.Get[Step](ctx, db, "SELECT * FROM steps ORDER BY id DESC LIMIT 1")
	if err != nil {
		return err
	}
	fmt.Println("last step:", last.Action)

	for s, err := range agentdb.Iter[Step](ctx, db, "SELECT * FROM steps ORDER BY id") {
		if err != nil {
			return err
		}
		fmt.Printf("%d  %-10s  %s\n", s.ID, s.Action, s.Result)
	}
	return nil
}
