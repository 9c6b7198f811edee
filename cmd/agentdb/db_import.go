package main

import (
	"path/filepath"
	"strings"
)

// dbImportCmd is "agentdb db import".
type dbImportCmd struct {
	File string `arg:"" type:"existingfile" help:"A SQLite file, or a dump of one as SQL."`
	Name string `arg:"" optional:"" help:"Name of the new database. Default: that of the file."`
	newDatabase
}

// Run implements the command.
func (d *dbImportCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if d.Name == "" {
		base := filepath.Base(d.File)
		d.Name = strings.ToLower(strings.TrimSuffix(base, filepath.Ext(base)))
	}
	database, err := isDatabase(d.File)
	if err != nil {
		return err
	}
	open := c.openWatched
	if database {
		open = c.openDatabase
	}
	f, err := open(d.File)
	if err != nil {
		return err
	}
	defer f.Close()
	o := d.options()
	if database {
		o.FromFile = f
	} else {
		o.FromDump = f
	}
	return r.make(ctx, c, d.Name, o)
}
