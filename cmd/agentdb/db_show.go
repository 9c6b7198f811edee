package main

import (
	"fmt"
	"strconv"
)

// dbShowCmd is "agentdb db show".
type dbShowCmd struct {
	Name string `arg:"" help:"Name of the database."`
	URL  bool   `name:"url" help:"Print its URL alone."`
}

// Run implements the command.
func (d *dbShowCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	db, err := r.client().Databases.Get(ctx, d.Name)
	switch {
	case err != nil:
		return err
	case d.URL:
		_, err := fmt.Fprintln(c.out, db.URL)
		return err
	case r.JSON:
		v := viewOf(db)
		v.Revision, v.OldestRevision = &db.Revision, &db.OldestRevision
		return c.writeJSON(v)
	}
	parent := ""
	if db.Parent != nil {
		parent = db.Parent.ID + " at revision " + strconv.FormatUint(db.Parent.Revision, 10)
	}
	revisions := fmt.Sprintf("%d, kept from %d on", db.Revision, db.OldestRevision)
	return c.writeFields(
		[2]string{"name", db.Name}, [2]string{"id", db.ID}, [2]string{"URL", db.URL}, [2]string{"host", db.Hostname},
		[2]string{"group", db.Group}, [2]string{"revision", revisions}, [2]string{"forked from", parent},
		[2]string{"created", showTime(db.CreatedAt)}, [2]string{"expires", showTime(db.ExpiresAt)}, [2]string{"idle timeout", showSpan(db.IdleTimeout)},
		[2]string{"size limit", showLimit(db.SizeLimit)}, [2]string{"protected", yesNo(db.DeleteProtection)},
		[2]string{"blocked", blocked(db.BlockReads, db.BlockWrites)})
}

func blocked(reads, writes bool) string {
	switch {
	case reads && writes:
		return "reads and writes"
	case reads:
		return "reads"
	case writes:
		return "writes"
	}
	return ""
}
