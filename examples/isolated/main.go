// Isolated: every agent has a database of its own. The agents can't see, slow
// down or break one another, and an agent is forgotten by deleting a file.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/agentdb/agentdb"
)

// Memory is what an agent remembers.
type Memory struct {
	Topic string
	Note  string
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "isolated-") // real agents keep their files
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	agent1, err := openAgent(ctx, filepath.Join(dir, "agent-1.db"))
	if err != nil {
		return err
	}
	defer agent1.Close()
	agent2, err := openAgent(ctx, filepath.Join(dir, "agent-2.db"))
	if err != nil {
		return err
	}
	defer agent2.Close()

	if err := remember(ctx, agent1, Memory{"customer", "prefers short answers"}); err != nil {
		return err
	}
	if err := remember(ctx, agent1, Memory{"invoice 4711", "paid twice, refund asked for"}); err != nil {
		return err
	}
	if err := remember(ctx, agent2, Memory{"build", "fails on Windows only"}); err != nil {
		return err
	}

	for i, db := range []*agentdb.DB{agent1, agent2} {
		memories, err := agentdb.All[Memory](ctx, db, "SELECT topic, note FROM memories ORDER BY topic")
		if err != nil {
			return err
		}
		fmt.Printf("agent %d remembers:\n", i+1)
		for _, m := range memories {
			fmt.Printf("  %s: %s\n", m.Topic, m.Note)
		}
	}
	return nil
}

// openAgent opens an agent's database, and makes its table if it is new.
func openAgent(ctx context.Context, path string) (*agentdb.DB, error) {
	db, err := agentdb.Open(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	if _, err := db.Exec(ctx, "CREATE TABLE IF NOT EXISTS memories (topic TEXT PRIMARY KEY, note TEXT NOT NULL)"); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// remember replaces what the agent knew about the topic.
func remember(ctx context.Context, db *agentdb.DB, m Memory) error {
	_, err := db.Exec(ctx, `
		INSERT INTO memories (topic, note) VALUES (?, ?)
		ON CONFLICT (topic) DO UPDATE SET note = excluded.note`, m.Topic, m.Note)
	return err
}
