// Peragent: a thousand agents, each with a database of its own on the server and
// a token that opens nothing else. They work and sync; one goes wrong, and what
// it had before is looked into in a fork; then all retire.
//
//	go run ./examples/peragent [-agents 1000] [-parallel 8]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/examples/internal/loopback"
	"github.com/agentdb/agentdb/platform"
)

// group is what the agents' databases belong to.
const group = "agents"

// fleet is the agents of one run.
type fleet struct {
	api      *platform.Client
	dir      string // for the agents' files
	parallel int
	agents   []*agent
}

// agent is an agent and what it was given.
type agent struct {
	database *platform.Database
	token    string
}

func main() {
	agents := flag.Int("agents", 1000, "how many agents")
	parallel := flag.Int("parallel", 8, "how many of them at a time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, max(*agents, 2), max(*parallel, 1)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, agents, parallel int) error {
	url, token, stop, err := loopback.Platform(ctx)
	if err != nil {
		return err
	}
	defer stop()
	dir, err := os.MkdirTemp("", "peragent-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f := &fleet{
		api: platform.NewClient(platform.Config{Token: token, BaseURL: url}), dir: dir, parallel: parallel, agents: make([]*agent, agents),
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"provision", f.provision},
		{"work and sync", f.work},
		{"stay apart", f.apart},
		{"fork", f.fork},
		{"retire", f.retire},
	} {
		begin := time.Now()
		says, err := step.do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Fprintf(out, "%-14s %8s  %s\n", step.name, time.Since(begin).Round(time.Millisecond), says)
	}
	return nil
}

// provision gives every agent a database that goes away by itself after a day,
// and a token for an hour.
func (f *fleet) provision(ctx context.Context) (string, error) {
	if _, err := f.api.Groups.Create(ctx, group, platform.GroupOptions{}); err != nil {
		return "", err
	}
	err := f.each(ctx, func(i int) error {
		d, err := f.api.Databases.Create(ctx, fmt.Sprintf("agent-%04d", i), platform.CreateOptions{Group: group, TTL: 24 * time.Hour})
		if err != nil {
			return err
		}
		token, err := f.api.Databases.CreateToken(ctx, d.Name, platform.TokenOptions{Expiration: time.Hour, Subject: d.Name})
		f.agents[i] = &agent{d, token}
		return err
	})
	return fmt.Sprintf("%d databases, each with its own token", len(f.agents)), err
}

// open opens an agent's file. One more line makes it sync.
func (f *fleet) open(ctx context.Context, d *platform.Database, token string) (*agentdb.DB, error) {
	return agentdb.Open(ctx, filepath.Join(f.dir, d.Name+".db"), &agentdb.Options{
		URL: d.URL, AuthToken: token,
	})
}

func (f *fleet) work(ctx context.Context) (string, error) {
	err := f.each(ctx, func(i int) error {
		return f.with(ctx, i, func(db *agentdb.DB) error {
			if _, err := db.Exec(ctx, "CREATE TABLE steps (id INTEGER PRIMARY KEY, action TEXT NOT NULL)"); err != nil {
				return err
			}
			return db.Update(ctx, func(tx *agentdb.Tx) error {
				for _, action := range []string{"look", "think", "act"} {
					if _, err := tx.Exec(ctx, "INSERT INTO steps (action) VALUES (?)", action); err != nil {
						return err
					}
				}
				return nil
			})
		})
	})
	return fmt.Sprintf("%d files, 3 steps each, all on the server", len(f.agents)), err
}

// with opens an agent's file, lets it work, and syncs.
func (f *fleet) with(ctx context.Context, i int, fn func(*agentdb.DB) error) (err error) {
	db, err := f.open(ctx, f.agents[i].database, f.agents[i].token)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := fn(db); err != nil {
		return err
	}
	_, err = db.Sync(ctx)
	return err
}

// apart shows that an agent's token is of no use elsewhere.
func (f *fleet) apart(ctx context.Context) (string, error) {
	db, err := agentdb.Open(ctx, filepath.Join(f.dir, "thief.db"), &agentdb.Options{URL: f.agents[0].database.URL, AuthToken: f.agents[1].token})
	if err != nil {
		return "", err
	}
	defer db.Close()
	if _, err := db.Sync(ctx); !errors.Is(err, agentdb.ErrUnauthorized) {
		return "", fmt.Errorf("one agent opened another's database: %w", err)
	}
	return "the token of agent 1 doesn't open the database of agent 0", nil
}

// fork looks at what an agent had before it lost it.
func (f *fleet) fork(ctx context.Context) (string, error) {
	before := time.Now()
	time.Sleep(10 * time.Millisecond) // what follows is clearly later
	err := f.with(ctx, 0, func(db *agentdb.DB) error {
		_, err := db.Exec(ctx, "DELETE FROM steps")
		return err
	})
	if err != nil {
		return "", err
	}
	d, err := f.api.Databases.Create(ctx, "agent-0000-before", platform.CreateOptions{
		Group: group, Fork: &platform.Fork{Name: f.agents[0].database.Name, At: platform.AtTime(before)},
	})
	if err != nil {
		return "", err
	}
	token, err := f.api.Databases.CreateToken(ctx, d.Name, platform.TokenOptions{Access: platform.AccessRead, Expiration: time.Minute})
	if err != nil {
		return "", err
	}
	db, err := agentdb.Open(ctx, filepath.Join(f.dir, "before.db"), &agentdb.Options{URL: d.URL, AuthToken: token, Sync: agentdb.SyncPull})
	if err != nil {
		return "", err
	}
	defer db.Close()
	if _, err := db.Sync(ctx); err != nil {
		return "", err
	}
	n, err := agentdb.Get[int](ctx, db, "SELECT count(*) FROM steps")
	return fmt.Sprintf("agent 0 has deleted everything; the fork of a moment before has %d steps", n), err
}

// retire deletes every agent's database, and then the group with what is left.
func (f *fleet) retire(ctx context.Context) (string, error) {
	err := f.each(ctx, func(i int) error { return f.api.Databases.Delete(ctx, f.agents[i].database.Name) })
	if err == nil {
		err = f.api.Groups.Delete(ctx, group)
	}
	if err != nil {
		return "", err
	}
	left := 0
	for _, err := range f.api.Databases.List(ctx, platform.ListOptions{}) {
		if err != nil {
			return "", err
		}
		left++
	}
	return fmt.Sprintf("%d databases are left", left), nil
}

// each calls fn for every agent, a few at a time, and returns what failed first.
func (f *fleet) each(ctx context.Context, fn func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var workers sync.WaitGroup
	for range f.parallel {
		workers.Go(func() {
			for i := range next {
				if err := fn(i); err != nil {
					cancel(fmt.Errorf("agent %d: %w", i, err))
				}
			}
		})
	}
	for i := 0; i < len(f.agents) && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}
