package history_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/agentdb/agentdb/internal/history"
)

// A commit is accepted at once and answered when it is durable; a fork goes its
// own way from any revision.
func Example() {
	ctx := context.Background()
	store, err := history.Open(history.Options{}) // in memory; set Dir
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if err := store.Create(ctx, "tasks"); err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		head, err := store.Head(ctx, "tasks")
		if err != nil {
			log.Fatal(err)
		}
		page := make([]byte, history.PageSize)
		copy(page, text)
		pending, err := store.Append(ctx, "tasks", head, &history.NewCommit{
			Time: time.Now(), Author: "agent-1", Change: []byte("insert " + text),
			DBSize: 1, Pages: []history.Page{{No: 1, Data: page}},
		})
		if err != nil {
			log.Fatal(err) // history.ErrConflict: somebody else was faster
		}
		// Here the next commit may already be appended after pending.Head().
		if err := pending.Wait(ctx); err != nil {
			log.Fatal(err)
		}
	}
	if err := store.Fork(ctx, "tasks", 1, "tasks-before-two"); err != nil {
		log.Fatal(err)
	}
	for _, id := range []history.DBID{"tasks", "tasks-before-two"} {
		page, err := store.Page(ctx, id, 1, history.Latest)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", id, page[:3])
	}
	for c, err := range store.Commits(ctx, "tasks", 0, history.Latest) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(c.Seq, c.Author, string(c.Change))
	}
	// Output:
	// tasks: two
	// tasks-before-two: one
	// 1 agent-1 insert one
	// 2 agent-1 insert two
}
