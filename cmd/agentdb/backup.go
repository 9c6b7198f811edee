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

	Restore backupRestoreCmd `cmd:"" help:"Make a server's data directory of a backup, and read all of it."`
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
	return c.writeReport(rep, err)
}

// backupRestoreCmd is "agentdb backup restore".
type backupRestoreCmd struct {
	Backup string `arg:"" type:"existingdir" help:"The backup, or a copy of one; it stays as it is."`
	Data   string `default:"./agentdb-data" type:"path" help:"Data directory to make; it must be empty, or not there."`
}

// Run implements the command.
func (b *backupRestoreCmd) Run(c *console) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	rep, err := server.RestoreBackup(ctx, b.Backup, b.Data, nil)
	return c.writeReport(rep, err)
}

// writeReport writes what was found in a backup.
func (c *console) writeReport(rep server.BackupReport, err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%d databases, %d commits and %d bytes are as they should be\n", rep.Databases, rep.Commits, rep.Bytes)
	return err
}
