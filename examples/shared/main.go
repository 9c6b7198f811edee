// Shared: several agents work on one task list. Each has the whole list in a
// file of its own and works on it offline. When they sync, every row is still
// there, and they agree.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/examples/internal/loopback"
)

const schema = `
CREATE TABLE IF NOT EXISTS tasks (
	id     INTEGER PRIMARY KEY AUTOINCREMENT,
	title  TEXT NOT NULL,
	status TEXT NOT NULL DEFAULT 'pending',
	agent  TEXT
);
CREATE TABLE IF NOT EXISTS notes (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	task_id INTEGER NOT NULL REFERENCES tasks (id),
	text    TEXT NOT NULL
);`

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	url, stop, err := loopback.Database("shared-tasks")
	if err != nil {
		return err
	}
	defer stop()
	dir, err := os.MkdirTemp("", "shared-") // real agents keep their files
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	alice, err := openAgent(ctx, filepath.Join(dir, "alice.db"), url)
	if err != nil {
		return err
	}
	defer alice.Close()
	bob, err := openAgent(ctx, filepath.Join(dir, "bob.db"), url)
	if err != nil {
		return err
	}
	defer bob.Close()

	if err := insertApart(ctx, alice, bob); err != nil {
		return err
	}
	if err := updateApart(ctx, alice, bob); err != nil {
		return err
	}
	return claim(ctx, alice, bob)
}

func openAgent(ctx context.Context, path, url string) (*agentdb.DB, error) {
	db, err := agentdb.Open(ctx, path, &agentdb.Options{URL: url, AuthToken: os.Getenv("AGENTDB_TOKEN")})
	if err != nil {
		return nil, err
	}
	if _, err := db.Exec(ctx, schema); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// addTask inserts a task and a note that belongs to it.
func addTask(ctx context.Context, db *agentdb.DB, title, note string) error {
	return db.Update(ctx, func(tx *agentdb.Tx) error {
		res, err := tx.Exec(ctx, "INSERT INTO tasks (title) VALUES (?)", title)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO notes (task_id, text) VALUES (?, ?)", res.LastInsertID, note)
		return err
	})
}

// insertApart has both agents insert the task with id 1, offline. The second
// one to sync learns that its task is number 2 now; its note has moved along.
func insertApart(ctx context.Context, alice, bob *agentdb.DB) error {
	if err := addTask(ctx, alice, "write the release notes", "mention the new shell"); err != nil {
		return err
	}
	if err := addTask(ctx, bob, "update the website", "needs a screenshot"); err != nil {
		return err
	}
	if _, err := alice.Sync(ctx); err != nil {
		return err
	}
	rep, err := bob.Sync(ctx)
	if err != nil {
		return err
	}
	for _, id := range rep.IDs {
		fmt.Printf("bob's row %d of %s is number %d now\n", id.Old, id.Table, id.New)
	}
	type line struct {
		ID          int64
		Title, Text string
	}
	lines, err := agentdb.All[line](ctx, bob, "SELECT t.id, t.title, n.text FROM tasks t JOIN notes n ON n.task_id = t.id ORDER BY t.id")
	if err != nil {
		return err
	}
	for _, l := range lines {
		fmt.Printf("%d  %s (%s)\n", l.ID, l.Title, l.Text)
	}
	return nil
}

// updateApart has both agents change the same task, offline. Different columns
// are merged; of one column the last push wins, and what it has overwritten is
// kept in a table that everybody can read.
func updateApart(ctx context.Context, alice, bob *agentdb.DB) error {
	if _, err := alice.Exec(ctx, "UPDATE tasks SET status = 'blocked' WHERE id = 1"); err != nil {
		return err
	}
	if _, err := bob.Exec(ctx, "UPDATE tasks SET status = 'done', agent = 'bob' WHERE id = 1"); err != nil {
		return err
	}
	if _, err := alice.Sync(ctx); err != nil {
		return err
	}
	rep, err := bob.Sync(ctx)
	if err != nil {
		return err
	}
	fmt.Println("conflicts:", rep.Conflicts)
	conflicts, err := agentdb.All[agentdb.Conflict](ctx, bob, "SELECT * FROM agentdb_conflicts")
	if err != nil {
		return err
	}
	for _, c := range conflicts {
		fmt.Printf("%s of %s %s: %s lost to %s\n", c.Kind, c.Table, *c.Key, *c.Losing, *c.Winning)
	}
	return nil
}

// claim has both agents ask for the same task. UpdateOnServer counts only if
// nobody else has changed the rows meanwhile; if somebody has, the function is
// run again on the new state.
func claim(ctx context.Context, alice, bob *agentdb.DB) error {
	claimAs := func(db *agentdb.DB, name string) (title string, err error) {
		err = db.UpdateOnServer(ctx, func(tx *agentdb.Tx) error {
			title, err = agentdb.Get[string](ctx, tx, `
				UPDATE tasks SET status = 'claimed', agent = ?
				WHERE id = (SELECT min(id) FROM tasks WHERE status = 'pending') RETURNING title`, name)
			return err
		})
		return title, err
	}
	title, err := claimAs(alice, "alice")
	if err != nil {
		return err
	}
	fmt.Println("alice claims:", title)
	// Bob's copy still says that the same task is pending. His claim of it
	// doesn't count, and is tried again on what is left.
	switch title, err = claimAs(bob, "bob"); {
	case errors.Is(err, agentdb.ErrNoRows):
		fmt.Println("bob finds nothing to claim")
	case err != nil:
		return err
	default:
		fmt.Println("bob claims:", title)
	}
	return nil
}
