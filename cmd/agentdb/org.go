package main

import "fmt"

// orgCmd is "agentdb org".
type orgCmd struct {
	remote
	List    orgListCmd    `cmd:"" aliases:"ls" help:"List your organizations."`
	Create  orgCreateCmd  `cmd:"" help:"Make an organization of your own."`
	Destroy orgDestroyCmd `cmd:"" aliases:"rm,delete" help:"Delete an organization without databases."`
	Members orgMembersCmd `cmd:"" help:"List, add and remove the members of an organization."`
}

type orgListCmd struct{}

// Run implements the command.
func (*orgListCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	orgs, err := r.client().Organizations.List(ctx)
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(orgs)
	}
	rows := [][]string{}
	for _, o := range orgs {
		rows = append(rows, []string{o.Slug, o.Name, o.Type})
	}
	return c.writeTable([]string{"SLUG", "NAME", "TYPE"}, rows)
}

type orgCreateCmd struct {
	Slug string `arg:"" help:"Name of the organization, for --org."`
}

// Run implements the command.
func (o *orgCreateCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	made, err := r.client().Organizations.Create(ctx, o.Slug)
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(made)
	}
	_, err = fmt.Fprintf(c.out, "Created organization %s: use it with --org %s or AGENTDB_ORG.\n", o.Slug, o.Slug)
	return err
}

type orgDestroyCmd struct {
	Slug string `arg:"" help:"Name of the organization."`
	Yes  bool   `short:"y" help:"Don't ask."`
}

// Run implements the command.
func (o *orgDestroyCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := c.confirm(o.Yes, "Delete organization "+o.Slug+"?"); err != nil {
		return err
	}
	if err := r.client().Organizations.Delete(ctx, o.Slug); err != nil {
		return err
	}
	return r.done(c, "Deleted organization %s.\n", o.Slug)
}

// orgMembersCmd is "agentdb org members".
type orgMembersCmd struct {
	List   orgMembersListCmd   `cmd:"" default:"1" aliases:"ls" help:"List members; the default."`
	Add    orgMembersAddCmd    `cmd:"" help:"Add somebody, or change the role."`
	Remove orgMembersRemoveCmd `cmd:"" aliases:"rm" help:"Remove somebody."`
	Invite orgMembersInviteCmd `cmd:"" help:"Invite somebody; prints the token to hand on."`
}

type orgMembersListCmd struct{}

// Run implements the command.
func (*orgMembersListCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	members, err := r.client().Organizations.Members(ctx)
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(members)
	}
	rows := [][]string{}
	for _, m := range members {
		rows = append(rows, []string{m.Username, m.Role, orDash(m.Email)})
	}
	return c.writeTable([]string{"USERNAME", "ROLE", "EMAIL"}, rows)
}

// role is the flag that says what a member may do.
type role struct {
	Role string `enum:"owner,admin,member,viewer" default:"member" help:"What they may do: ${enum}."`
}

type orgMembersAddCmd struct {
	Username string `arg:"" help:"Whom."`
	role
}

// Run implements the command.
func (o *orgMembersAddCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := r.client().Organizations.AddMember(ctx, o.Username, o.Role); err != nil {
		return err
	}
	return r.done(c, "%s is %s now.\n", o.Username, o.Role)
}

type orgMembersRemoveCmd struct {
	Username string `arg:"" help:"Whom."`
}

// Run implements the command.
func (o *orgMembersRemoveCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := r.client().Organizations.RemoveMember(ctx, o.Username); err != nil {
		return err
	}
	return r.done(c, "%s is no member any more.\n", o.Username)
}

type orgMembersInviteCmd struct {
	Email string `arg:"" help:"Whom."`
	role
}

// Run implements the command.
func (o *orgMembersInviteCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	v, err := r.client().Organizations.Invite(ctx, o.Email, o.Role)
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(v)
	}
	_, err = fmt.Fprintln(c.out, v.Token)
	return err
}
