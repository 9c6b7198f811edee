package main

import "cmp"

// tokenListCmd is "agentdb token list".
type tokenListCmd struct{ remote }

// Run implements the command.
func (*tokenListCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	all, err := r.client().APITokens.List(ctx)
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(all)
	}
	rows := [][]string{}
	for _, t := range all {
		rows = append(rows, []string{t.Name, t.ID, cmp.Or(t.Organization, "-"), showTime(t.CreatedAt), showTime(t.ExpiresAt)})
	}
	return c.writeTable([]string{"NAME", "ID", "ORGANIZATION", "CREATED", "EXPIRES"}, rows)
}

// tokenRevokeCmd is "agentdb token revoke".
type tokenRevokeCmd struct {
	remote
	Name string `arg:"" help:"Name or ID of the API token."`
	Yes  bool   `short:"y" help:"Don't ask."`
}

// Run implements the command.
func (t *tokenRevokeCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := c.confirm(t.Yes, "Void the API token "+t.Name+"?"); err != nil {
		return err
	}
	if err := r.client().APITokens.Revoke(ctx, t.Name); err != nil {
		return err
	}
	return r.done(c, "Voided the API token %s.\n", t.Name)
}
