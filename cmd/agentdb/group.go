package main

import (
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/platform"
)

// groupCmd is "agentdb group".
type groupCmd struct {
	remote
	Create   groupCreateCmd   `cmd:"" help:"Make a group."`
	List     groupListCmd     `cmd:"" aliases:"ls" help:"List groups."`
	Config   groupConfigCmd   `cmd:"" help:"Protect a group and its databases, or no longer."`
	Tokens   groupTokensCmd   `cmd:"" help:"Make or void tokens for all databases of a group."`
	Transfer groupTransferCmd `cmd:"" help:"Give a group with its databases to another organization."`
	Destroy  groupDestroyCmd  `cmd:"" aliases:"rm,delete" help:"Delete a group with all its databases."`
}

type groupCreateCmd struct {
	Name     string `arg:"" help:"Name of the new group."`
	Location string `help:"Where it is. Default: at the server."`
}

// Run implements the command.
func (g *groupCreateCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	made, err := r.client().Groups.Create(ctx, g.Name, platform.GroupOptions{Location: g.Location})
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(made)
	}
	_, err = fmt.Fprintf(c.out, "Created group %s.\n", g.Name)
	return err
}

type groupListCmd struct{}

// Run implements the command.
func (*groupListCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	groups, err := r.client().Groups.List(ctx)
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(groups)
	}
	rows := [][]string{}
	for _, g := range groups {
		rows = append(rows, []string{g.Name, strings.Join(g.Locations, " "), yesNo(g.DeleteProtection)})
	}
	return c.writeTable([]string{"NAME", "LOCATIONS", "PROTECTED"}, rows)
}

type groupConfigCmd struct {
	Name             string `arg:"" help:"Name of the group."`
	DeleteProtection bool   `negatable:"" required:"" help:"Protect it from being deleted."`
}

// Run implements the command.
func (g *groupConfigCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := r.client().Groups.Protect(ctx, g.Name, g.DeleteProtection); err != nil {
		return err
	}
	return r.done(c, "Delete protection of group %s: %s.\n", g.Name, yesNo(g.DeleteProtection))
}

type groupTransferCmd struct {
	Name string `arg:"" help:"Name of the group."`
	To   string `arg:"" help:"Name of the organization."`
	Yes  bool   `short:"y" help:"Don't ask."`
}

// Run implements the command.
func (g *groupTransferCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := c.confirm(g.Yes, "Give group "+g.Name+" with all its databases to "+g.To+"?"); err != nil {
		return err
	}
	if err := r.client().Groups.Transfer(ctx, g.Name, g.To); err != nil {
		return err
	}
	return r.done(c, "Group %s is in organization %s now.\n", g.Name, g.To)
}

// groupTokensCmd is "agentdb group tokens".
type groupTokensCmd struct {
	Create     groupTokensCreateCmd     `cmd:"" help:"Print a new token for a group."`
	Invalidate groupTokensInvalidateCmd `cmd:"" help:"Void all tokens of a group and of its databases."`
}

type groupTokensCreateCmd struct {
	Name string `arg:"" help:"Name of the group."`
	newToken
}

// Run implements the command.
func (g *groupTokensCreateCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	token, err := r.client().Groups.CreateToken(ctx, g.Name, g.options())
	return r.printToken(c, token, err)
}

type groupTokensInvalidateCmd struct {
	Name string `arg:"" help:"Name of the group."`
	Yes  bool   `short:"y" help:"Don't ask."`
}

// Run implements the command.
func (g *groupTokensInvalidateCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := c.confirm(g.Yes, "Void all tokens of group "+g.Name+" and of its databases?"); err != nil {
		return err
	}
	if err := r.client().Groups.RotateTokens(ctx, g.Name); err != nil {
		return err
	}
	return r.done(c, "The tokens of group %s and of its databases are void.\n", g.Name)
}

type groupDestroyCmd struct {
	Name string `arg:"" help:"Name of the group."`
	Yes  bool   `short:"y" help:"Don't ask."`
}

// Run implements the command.
func (g *groupDestroyCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := c.confirm(g.Yes, "Delete group "+g.Name+" with all its databases?"); err != nil {
		return err
	}
	if err := r.client().Groups.Delete(ctx, g.Name); err != nil {
		return err
	}
	return r.done(c, "Deleted group %s.\n", g.Name)
}
