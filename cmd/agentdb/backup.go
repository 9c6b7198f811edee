package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/agentdb/agentdb/server"
)

// backupCmd is "agentdb backup".
type backupCmd struct {
	Create backupCreateCmd `cmd:"" help:"Make a backup of a server while it runs; prints its path there."`
	Check  backupCheckCmd  `cmd:"" help:"Read all of a copy of a backup, which a server may then be started on."`
}

// backupCreateCmd is "agentdb backup create".
type backupCreateCmd struct{ remote }

// Run implements the command. The path alone is on standard output.
func (*backupCreateCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	path, err := r.client().Organizations.Backup(ctx)
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(map[string]string{"path": path})
	}
	_, err = fmt.Fprintln(c.out, path)
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
