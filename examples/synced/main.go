// Synced: an agent's memory outlives its machine. The agent works on a local
// file, at the speed of one and without a network, and syncs when it likes.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/examples/internal/loopback"
)

// Message is a turn of a conversation.
type Message struct {
	Role string
	Text string
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	url, stop, err := loopback.Database("agent-memory")
	if err != nil {
		return err
	}
	defer stop()
	if err := monday(ctx, url); err != nil {
		return err
	}
	return tuesday(ctx, url)
}

// monday's session starts with nothing, not even a table.
func monday(ctx context.Context, url string) error {
	db, forget, err := openMemory(ctx, url)
	if err != nil {
		return err
	}
	defer forget()
	_, err = db.Exec(ctx, `CREATE TABLE IF NOT EXISTS conversation (
		id      INTEGER PRIMARY KEY AUTOINCREMENT,
		session TEXT NOT NULL,
		role    TEXT NOT NULL,
		text    TEXT NOT NULL
	)`)
	if err != nil {
		return err
	}
	err = db.Update(ctx, func(tx *agentdb.Tx) error {
		for _, m := range []Message{
			{"user", "My deploys fail on Fridays."},
			{"agent", "The backup locks the volume then. I have moved it to Saturday."},
		} {
			if _, err := tx.Exec(ctx, "INSERT INTO conversation (session, role, text) VALUES (?, ?, ?)", "session-123", m.Role, m.Text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Println("monday, unsent transactions:", db.Status().Pending)

	// Send and receive, in one round trip.
	rep, err := db.Sync(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("monday, synced: %d sent, %d round trip\n", rep.Pushed, rep.RoundTrips)
	return nil
}

// tuesday's session runs on another machine: its file is new.
func tuesday(ctx context.Context, url string) error {
	db, forget, err := openMemory(ctx, url)
	if err != nil {
		return err
	}
	defer forget()
	if _, err := db.Sync(ctx); err != nil {
		return err
	}
	messages, err := agentdb.All[Message](ctx, db, "SELECT role, text FROM conversation WHERE session = ? ORDER BY id", "session-123")
	if err != nil {
		return err
	}
	fmt.Println("tuesday, the conversation so far:")
	for _, m := range messages {
		fmt.Printf("  %s: %s\n", m.Role, m.Text)
	}
	return nil
}

// openMemory opens the agent's memory in a new file. A real agent keeps the
// file: then it starts without a network, and only what is new travels.
func openMemory(ctx context.Context, url string) (db *agentdb.DB, forget func(), err error) {
	dir, err := os.MkdirTemp("", "synced-")
	if err != nil {
		return nil, nil, err
	}
	db, err = agentdb.Open(ctx, filepath.Join(dir, "agent-memory.db"), &agentdb.Options{
		URL:       url,
		AuthToken: os.Getenv("AGENTDB_TOKEN"),
		// Interval: 10 * time.Second would sync in the background.
	})
	if err != nil {
		os.RemoveAll(dir)
		return nil, nil, err
	}
	return db, func() {
		db.Close()
		os.RemoveAll(dir)
	}, nil
}
