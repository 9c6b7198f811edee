package main

import "github.com/agentdb/agentdb/platform"

// auditCmd is "agentdb audit".
type auditCmd struct {
	remote
	Limit int `short:"n" default:"20" help:"Show so many entries; 0 for all."`
}

// Run implements the command.
func (a *auditCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	entries, rows := []platform.AuditEntry{}, [][]string{}
	for e, err := range r.client().Organizations.AuditLog(ctx) {
		if err != nil {
			return err
		}
		entries = append(entries, e)
		rows = append(rows, []string{showTime(e.CreatedAt), e.Author, e.Code, string(e.Data)})
		if len(rows) == a.Limit {
			break
		}
	}
	if r.JSON {
		return c.writeJSON(entries)
	}
	return c.writeTable([]string{"TIME", "WHO", "WHAT", "OF"}, rows)
}
