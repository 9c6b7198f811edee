package main

import (
	"errors"
	"io"
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
	f, err := c.openWatched(d.File)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 16)
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	o := d.options()
	if string(head) == "SQLite format 3\x00" {
		o.FromFile = f
	} else {
		o.FromDump = f
	}
	return r.make(ctx, c, d.Name, o)
}
