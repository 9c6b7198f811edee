package main

import "github.com/agentdb/agentdb/platform"

// dbForkCmd is "agentdb db fork".
type dbForkCmd struct {
	From string `arg:"" help:"Name of the database to begin as."`
	Name string `arg:"" help:"Name of the new database."`
	point
	newDatabase
}

// Run implements the command.
func (d *dbForkCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	o := d.options()
	o.Fork = &platform.Fork{Name: d.From, At: d.point.point()}
	return r.make(ctx, c, d.Name, o)
}
