package main

import (
	"fmt"
	"strings"
)

// dbDestroyCmd is "agentdb db destroy".
type dbDestroyCmd struct {
	Names []string `arg:"" name:"name" help:"Names of the databases."`
	Yes   bool     `short:"y" help:"Don't ask."`
}

// Run implements the command.
func (d *dbDestroyCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := c.confirm(d.Yes, fmt.Sprintf("Delete %s with all history?", strings.Join(d.Names, ", "))); err != nil {
		return err
	}
	api := r.client()
	for _, name := range d.Names {
		if err := api.Databases.Delete(ctx, name); err != nil {
			return err
		}
		if !r.JSON {
			fmt.Fprintf(c.out, "Deleted database %s.\n", name)
		}
	}
	if r.JSON {
		return c.writeJSON(map[string]any{"deleted": d.Names})
	}
	return nil
}
