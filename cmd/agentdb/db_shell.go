package main

import (
	"time"

	"github.com/agentdb/agentdb/platform"
)

// dbShellCmd is "agentdb db shell".
type dbShellCmd struct {
	Name string `arg:"" help:"Name of the database."`
	SQL  string `arg:"" optional:"" help:"Statements to run instead of those on standard input."`
	Mode string `enum:"table,csv,json,line,list" default:"table" help:"How results are written: ${enum}."`
}

// Run implements the command: a shell on the database's URL, with a token for a
// day.
func (d *dbShellCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	db, err := r.client().Databases.Get(ctx, d.Name)
	token := ""
	if err == nil {
		token, err = r.client().Databases.CreateToken(ctx, d.Name, platform.TokenOptions{Expiration: 24 * time.Hour, Subject: "shell"})
	}
	stop() // the shell looks after signals itself
	if err != nil {
		return err
	}
	if r.JSON {
		d.Mode = "json"
	}
	return (&shellCmd{Target: db.URL, SQL: d.SQL, Token: token, Mode: d.Mode}).Run(c)
}
