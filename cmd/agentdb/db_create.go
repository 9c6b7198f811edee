package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agentdb/agentdb/platform"
)

// newDatabase are the flags of commands that make a database.
type newDatabase struct {
	Group     string   `help:"Group that it belongs to. Default: that of the database that it begins as, else default."`
	TTL       lifetime `name:"ttl" help:"Delete it after this time: 90m, 24h, 30d."`
	OnExpiry  string   `enum:",export,drop" default:"" placeholder:"export|drop" help:"Whether the server exports it then, before it deletes it. Default: as the server does."`
	Idle      lifetime `help:"Delete it when it was unused for this time."`
	SizeLimit byteSize `help:"How large it may grow: 512KiB, 64MiB, 1GiB."`
	Protect   bool     `help:"Protect it from being deleted."`
}

func (n *newDatabase) options() platform.CreateOptions {
	return platform.CreateOptions{
		Group: n.Group, TTL: time.Duration(n.TTL), IdleTimeout: time.Duration(n.Idle), OnExpiry: n.OnExpiry, SizeLimit: int64(n.SizeLimit), DeleteProtection: n.Protect,
	}
}

// make makes a database and shows it.
func (r *remote) make(ctx context.Context, c *console, name string, o platform.CreateOptions) error {
	begin := time.Now()
	d, err := r.client().Databases.Create(ctx, name, o)
	if err != nil {
		return err
	}
	if r.JSON {
		return c.writeJSON(viewOf(d))
	}
	fmt.Fprintf(c.out, "Created database %s in group %s, in %s.\n\n", d.Name, d.Group, time.Since(begin).Round(time.Millisecond))
	return c.writeFields([2]string{"URL", d.URL}, [2]string{"expires", showTime(d.ExpiresAt)}, [2]string{"token", "agentdb db tokens create " + d.Name})
}

// dbCreateCmd is "agentdb db create".
type dbCreateCmd struct {
	Name string `arg:"" help:"Name of the new database."`
	newDatabase
	FromDB   string `name:"from-db" xor:"from" help:"Begin as another database is, or was at --at or --revision."`
	FromFile string `type:"existingfile" xor:"from" help:"Begin as a SQLite file is."`
	FromDump string `type:"existingfile" xor:"from" help:"Begin with what a SQL dump makes."`
	point
}

// Run implements the command.
func (d *dbCreateCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	o := d.options()
	if d.given() && d.FromDB == "" {
		return errors.New("--at and --revision are points in the history of --from-db, which is missing")
	}
	switch {
	case d.FromFile != "":
		f, err := c.openDatabase(d.FromFile)
		if err != nil {
			return err
		}
		defer f.Close()
		o.FromFile = f
	case d.FromDump != "":
		f, err := c.openWatched(d.FromDump)
		if err != nil {
			return err
		}
		defer f.Close()
		o.FromDump = f
	}
	if d.FromDB != "" {
		o.Fork = &platform.Fork{Name: d.FromDB, At: d.point.point()}
	}
	return r.make(ctx, c, d.Name, o)
}
