package main

import (
	"fmt"
	"time"

	"github.com/agentdb/agentdb/platform"
)

// newToken are the flags of commands that make a token through the API.
type newToken struct {
	Access     string   `enum:"full,read,push,pull" default:"full" help:"What it allows: ${enum}."`
	Tables     []string `short:"p" name:"permissions" sep:";" placeholder:"TABLE:ACTION,…" help:"Only these tables, and what may be done there: data_read, data_add, data_update, data_delete. TABLE may be all. read:TABLE and push:TABLE are shorter. May be repeated."`
	ReadOnly   bool     `short:"r" help:"The same as --access read."`
	Expiration lifetime `short:"e" default:"24h" help:"How long it is good: 90m, 24h, 30d, or never."`
	Subject    string   `help:"Whom it is for; goes into the token."`
}

func (n *newToken) options() platform.TokenOptions {
	o := platform.TokenOptions{Tables: n.Tables, Access: platform.Access(n.Access), Expiration: time.Duration(n.Expiration), Subject: n.Subject}
	if n.ReadOnly {
		o.Access = platform.AccessRead
	}
	return o
}

// print writes a token, alone, to standard output.
func (r *remote) printToken(c *console, token string, err error) error {
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(map[string]string{"jwt": token})
	}
	_, err = fmt.Fprintln(c.out, token)
	return err
}

// dbTokensCmd is "agentdb db tokens".
type dbTokensCmd struct {
	Create     dbTokensCreateCmd     `cmd:"" help:"Print a new token for a database."`
	Invalidate dbTokensInvalidateCmd `cmd:"" help:"Void all tokens of a database."`
}

type dbTokensCreateCmd struct {
	Name string `arg:"" help:"Name of the database."`
	newToken
}

// Run implements the command.
func (d *dbTokensCreateCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	token, err := r.client().Databases.CreateToken(ctx, d.Name, d.options())
	return r.printToken(c, token, err)
}

type dbTokensInvalidateCmd struct {
	Name string `arg:"" help:"Name of the database."`
	Yes  bool   `short:"y" help:"Don't ask."`
}

// Run implements the command.
func (d *dbTokensInvalidateCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := c.confirm(d.Yes, "Void all tokens of "+d.Name+"?"); err != nil {
		return err
	}
	if err := r.client().Databases.RotateTokens(ctx, d.Name); err != nil {
		return err
	}
	return r.done(c, "The tokens of %s are void.\n", d.Name)
}

// done says that something is done.
func (r *remote) done(c *console, format string, args ...any) error {
	if r.JSON {
		return c.writeJSON(struct{}{})
	}
	_, err := fmt.Fprintf(c.out, format, args...)
	return err
}
