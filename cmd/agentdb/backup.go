package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"

	"github.com/agentdb/agentdb/server"
)

// backupCmd is "agentdb backup".
type backupCmd struct {
	Create backupCreateCmd `cmd:"" help:"Make a backup of a server while it runs; prints its path there."`
	Check  backupCheckCmd  `cmd:"" help:"Read all of a copy of a backup, which a server may then be started on."`
}

// backupCreateCmd is "agentdb backup create".
type backupCreateCmd struct {
	APIURL   string `name:"api-url" env:"AGENTDB_API_URL" default:"http://127.0.0.1:8080" help:"The server."`
	APIToken string `name:"api-token" env:"AGENTDB_API_TOKEN" help:"API token of an owner; a server in dev mode needs none."`
}

// Run implements the command. The path alone is on standard output.
func (b *backupCreateCmd) Run(c *console) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(b.APIURL, "/")+"/v1/organizations//backups", nil)
	if err != nil {
		return err
	}
	if b.APIToken != "" {
		r.Header.Set("Authorization", "Bearer "+b.APIToken)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer res.Body.Close()
	var ans struct {
		Backup struct{ Path string }
		Error  string
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&ans); err != nil {
		return fmt.Errorf("backup: the answer, with status %d, is not one of an agentdb server: %w", res.StatusCode, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("backup: %s", ans.Error)
	}
	_, err = fmt.Fprintln(c.out, ans.Backup.Path)
	return err
}

// backupCheckCmd is "agentdb backup check".
type backupCheckCmd struct {
	Dir string `arg:"" type:"existingdir" help:"The copy: a data directory that no server uses."`
}

// Run implements the command.
func (b *backupCheckCmd) Run(c *console) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	rep, err := server.CheckBackup(ctx, b.Dir, nil)
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%d databases, %d commits and %d bytes are as they should be\n", rep.Databases, rep.Commits, rep.Bytes)
	return err
}
