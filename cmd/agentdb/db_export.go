package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// dbExportCmd is "agentdb db export".
type dbExportCmd struct {
	Name string `arg:"" help:"Name of the database."`
	point
	Output    string `short:"o" help:"File to write, '-' for standard output. Default: NAME.db."`
	Overwrite bool   `help:"Replace the file if there is one."`
}

// Run implements the command.
func (d *dbExportCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if d.Output == "-" {
		if isTerminal(c.out) {
			return errors.New("a database doesn't go well with a terminal: say -o FILE")
		}
		_, err := r.client().Databases.Export(ctx, d.Name, d.point.point(), c.out)
		return err
	}
	if d.Output == "" {
		d.Output = d.Name + ".db"
	}
	if _, err := os.Lstat(d.Output); err == nil && !d.Overwrite {
		return fmt.Errorf("%s exists: say --overwrite, or another -o FILE", d.Output)
	}
	begin := time.Now()
	n, err := d.write(ctx, c, r)
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(map[string]any{"database": d.Name, "file": d.Output, "bytes": n})
	}
	_, err = fmt.Fprintf(c.out, "Exported %s to %s: %s in %s.\n", d.Name, d.Output, showSize(n), time.Since(begin).Round(time.Millisecond))
	return err
}

// write writes the file beside its place first: a failure leaves nothing new.
func (d *dbExportCmd) write(ctx context.Context, c *console, r *remote) (n int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(d.Output), "."+filepath.Base(d.Output)+".*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) // it is gone if all went well
	p := c.progress("exported", 0)
	n, err = r.client().Databases.Export(ctx, d.Name, d.point.point(), &watchedWriter{f, p})
	p.end()
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return n, err
	}
	return n, os.Rename(f.Name(), d.Output)
}
