// Hub and spoke: many workers send their results to a hub and never see one
// another's; a coordinator receives everything and changes nothing.
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

const schema = `CREATE TABLE IF NOT EXISTS results (
	id     INTEGER PRIMARY KEY AUTOINCREMENT,
	worker TEXT NOT NULL,
	page   TEXT NOT NULL,
	words  INTEGER NOT NULL
)`

// Result is what a worker found out about a page.
type Result struct {
	Page  string
	Words int
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	url, stop, err := loopback.Database("hub")
	if err != nil {
		return err
	}
	defer stop()
	dir, err := os.MkdirTemp("", "hubspoke-") // real agents keep their files
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	for worker, results := range map[string][]Result{
		"worker-1": {{"/pricing", 310}, {"/about", 420}},
		"worker-2": {{"/docs", 4200}},
		"worker-3": {{"/blog", 980}, {"/jobs", 450}},
	} {
		if err := work(ctx, filepath.Join(dir, worker+".db"), url, worker, results); err != nil {
			return err
		}
	}
	return coordinate(ctx, filepath.Join(dir, "coordinator.db"), url)
}

// work is a spoke: it sends, and receives nothing.
func work(ctx context.Context, path, url, worker string, results []Result) error {
	db, err := agentdb.Open(ctx, path, &agentdb.Options{
		URL:       url,
		AuthToken: os.Getenv("WORKER_TOKEN"), // agentdb token create hub --access push
		Sync:      agentdb.SyncPush,
	})
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(ctx, schema); err != nil {
		return err
	}
	for _, r := range results {
		if _, err := db.Exec(ctx, "INSERT INTO results (worker, page, words) VALUES (?, ?, ?)", worker, r.Page, r.Words); err != nil {
			return err
		}
	}
	if _, err := db.Sync(ctx); err != nil {
		return err
	}
	n, err := agentdb.Get[int](ctx, db, "SELECT count(*) FROM results")
	if err != nil {
		return err
	}
	if n != len(results) {
		return fmt.Errorf("%s sees %d results, not only its own %d", worker, n, len(results))
	}
	return nil
}

// coordinate is the hub's reader: it receives, and can't write.
func coordinate(ctx context.Context, path, url string) error {
	db, err := agentdb.Open(ctx, path, &agentdb.Options{
		URL:       url,
		AuthToken: os.Getenv("COORDINATOR_TOKEN"), // agentdb token create hub --access read
		Sync:      agentdb.SyncPull,
	})
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Sync(ctx); err != nil {
		return err
	}
	type summary struct {
		Worker string
		Pages  int
		Words  int
	}
	for s, err := range agentdb.Iter[summary](ctx, db, "SELECT worker, count(*) AS pages, sum(words) AS words FROM results GROUP BY worker ORDER BY worker") {
		if err != nil {
			return err
		}
		fmt.Printf("%s: %d pages, %d words\n", s.Worker, s.Pages, s.Words)
	}
	_, err = db.Exec(ctx, "DELETE FROM results")
	fmt.Println("the coordinator may write:", !errors.Is(err, agentdb.ErrReadOnly))
	return nil
}
