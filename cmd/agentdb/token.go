package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/agentdb/agentdb/server"
)

// tokenCmd is "agentdb token".
type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Print a new token for a database."`
	API    tokenAPICmd    `cmd:"" name:"api" help:"Print a new token for the Platform API."`
	List   tokenListCmd   `cmd:"" aliases:"ls" help:"List your tokens for the Platform API."`
	Revoke tokenRevokeCmd `cmd:"" help:"Void a token for the Platform API."`
}

// tokenCreateCmd is "agentdb token create".
type tokenCreateCmd struct {
	Name    string   `arg:"" help:"Name of the database, or '*' for all of them."`
	Access  string   `enum:"full,read,push,pull" default:"full" help:"What it allows: ${enum}."`
	Tables  []string `sep:";" placeholder:"TABLE:ACTION,…" help:"Only these tables, and what may be done there: data_read, data_add, data_update, data_delete. TABLE may be all. read:TABLE and push:TABLE are shorter. May be repeated."`
	Expires lifetime `default:"24h" help:"How long it is good: 90m, 24h, 30d, or never."`
	Subject string   `help:"Whom it is for; goes into the token."`
	Data    string   `default:"./agentdb-data" type:"path" help:"Data directory of the server."`
}

// Run implements the command. The token alone is on standard output.
func (t *tokenCreateCmd) Run(c *console) error {
	token, err := server.CreateToken(t.Data, server.TokenSpec{
		Database: t.Name, Access: t.Access, Tables: t.Tables, Expires: time.Duration(t.Expires), Subject: t.Subject,
	})
	if err != nil {
		return err
	}
	until := "for ever"
	if t.Expires > 0 {
		until = "until " + time.Now().Add(time.Duration(t.Expires)).Format(time.RFC3339)
	}
	fmt.Fprintf(c.err, "%s access to %s %s, at the server of %s\n", t.Access, t.Name, until, t.Data)
	_, err = fmt.Fprintln(c.out, token)
	return err
}

// tokenAPICmd is "agentdb token api".
type tokenAPICmd struct {
	Name    string   `arg:"" help:"Name of the token, to revoke it by."`
	User    string   `help:"Whose token it is. Default: the first owner's."`
	Expires lifetime `default:"never" help:"How long it is good: 90m, 24h, 30d, or never."`
	For     string   `placeholder:"ORG" help:"The only organization that it is good for. Default: all of the user's."`
	Org     string   `help:"Name of the organization, as of 'serve --org', if no server has run there yet."`
	Data    string   `default:"./agentdb-data" type:"path" help:"Data directory of the server."`
}

// Run implements the command. The token alone is on standard output, and kept
// nowhere else.
func (t *tokenAPICmd) Run(c *console) error {
	ctx, stop := untilSignal()
	defer stop()
	token, err := server.CreateAPIToken(ctx, t.Data, server.APITokenSpec{
		Name: t.Name, Username: t.User, Expires: time.Duration(t.Expires), For: t.For, Organization: t.Org,
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(c.err, "API token %s for the server of %s: put it into AGENTDB_API_TOKEN\n", t.Name, t.Data)
	_, err = fmt.Fprintln(c.out, token)
	return err
}

// lifetime is a duration that may also be given in days; zero is for ever.
type lifetime time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *lifetime) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "never" {
		*l = 0
		return nil
	}
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n > 36500 {
			err = fmt.Errorf("more than a century: say never")
		}
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil {
		return fmt.Errorf("%q is not a time such as 90m, 24h, 30d or never", s)
	}
	if d <= 0 {
		return fmt.Errorf("%q would have expired already", s)
	}
	*l = lifetime(d)
	return nil
}
