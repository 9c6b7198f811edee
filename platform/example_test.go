package platform_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/platform"
)

// An agent gets a database that is forgotten with it, and a token for nothing
// else.
func Example() {
	ctx := context.Background()
	api := platform.NewClient(platform.Config{Token: os.Getenv("AGENTDB_API_TOKEN"), BaseURL: "http://127.0.0.1:8080"})
	d, err := api.Databases.Create(ctx, "agent-1", platform.CreateOptions{TTL: 24 * time.Hour})
	if errors.Is(err, platform.ErrExists) {
		d, err = api.Databases.Get(ctx, "agent-1")
	}
	if err != nil {
		log.Fatal(err)
	}
	token, err := api.Databases.CreateToken(ctx, d.Name, platform.TokenOptions{Expiration: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	db, err := agentdb.Open(ctx, "agent-1.db", &agentdb.Options{URL: d.URL, AuthToken: token})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// What an agent did in the last hour is looked into in a fork, and then undone.
func ExampleDatabases_Restore() {
	ctx := context.Background()
	api := platform.NewClient(platform.Config{Token: os.Getenv("AGENTDB_API_TOKEN"), BaseURL: "http://127.0.0.1:8080"})
	if _, err := api.Databases.Create(ctx, "evidence", platform.CreateOptions{Fork: &platform.Fork{Name: "agent-1"}}); err != nil {
		log.Fatal(err)
	}
	if _, err := api.Databases.Restore(ctx, "agent-1", platform.AtTime(time.Now().Add(-time.Hour))); err != nil {
		log.Fatal(err)
	}
}

// List yields databases while it fetches them.
func ExampleDatabases_List() {
	ctx := context.Background()
	api := platform.NewClient(platform.Config{Token: os.Getenv("AGENTDB_API_TOKEN"), BaseURL: "http://127.0.0.1:8080"})
	for d, err := range api.Databases.List(ctx, platform.ListOptions{Group: "default"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(d.Name, d.URL)
	}
}
