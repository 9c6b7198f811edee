package main

import (
	"fmt"

	"github.com/agentdb/agentdb/platform"
)

// dbListCmd is "agentdb db list".
type dbListCmd struct {
	Group string `help:"Only those of a group."`
}

// Run implements the command.
func (d *dbListCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	views, rows := []databaseView{}, [][]string{}
	for d, err := range r.client().Databases.List(ctx, platform.ListOptions{Group: d.Group, PageSize: 1000}) {
		if err != nil {
			return err
		}
		views = append(views, viewOf(d))
		rows = append(rows, []string{d.Name, d.Group, orDash(showTime(d.CreatedAt)), orDash(showTime(d.ExpiresAt)), d.URL})
	}
	switch {
	case r.JSON:
		return c.writeJSON(views)
	case len(rows) == 0:
		fmt.Fprintln(c.err, "There are no databases: make one with 'agentdb db create NAME'.")
		return nil
	}
	return c.writeTable([]string{"NAME", "GROUP", "CREATED", "EXPIRES", "URL"}, rows)
}
