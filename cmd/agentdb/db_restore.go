package main

import (
	"errors"
	"fmt"
)

// dbRestoreCmd is "agentdb db restore".
type dbRestoreCmd struct {
	Name string `arg:"" help:"Name of the database."`
	point
}

// Run implements the command.
func (d *dbRestoreCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if !d.given() {
		return errors.New("to which point? Say --at TIME or --revision NUMBER")
	}
	did, err := r.client().Databases.Restore(ctx, d.Name, d.point.point())
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(map[string]any{"database": d.Name, "restored": did.From, "revision": did.Revision})
	case did.From == did.Revision:
		_, err = fmt.Fprintf(c.out, "%s is what it was at %s already, in its revision %d.\n", d.Name, d.point.point(), did.Revision)
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s is what it was at %s, in its new revision %d.\nTo undo it: agentdb db restore %s --revision %d\n",
		d.Name, d.point.point(), did.Revision, d.Name, did.Revision-1)
	return err
}
