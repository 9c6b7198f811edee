package platform

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/tenant"
)

type orgJSON struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Slug          string `json:"slug"`
	Type          string `json:"type"`
	Overages      bool   `json:"overages"`
	BlockedReads  bool   `json:"blocked_reads"`
	BlockedWrites bool   `json:"blocked_writes"`
	PlanID        string `json:"plan_id"`
}

func orgOf(o *catalog.Org) orgJSON {
	return orgJSON{ID: o.Slug, Name: o.Name, Slug: o.Slug, Type: "personal", Overages: o.Overages, PlanID: planName}
}

// planName is the plan that everybody has.
const planName = "self-hosted"

func (a *API) listOrgs(c *call) (any, error) {
	orgs, err := a.cfg.Store.Orgs(c.user)
	if err != nil {
		return nil, err
	}
	list := []orgJSON{}
	for i := range orgs {
		if c.only == "" || c.only == orgs[i].Slug {
			list = append(list, orgOf(&orgs[i]))
		}
	}
	return map[string]any{"organizations": list}, nil
}

func (a *API) createOrg(c *call) (any, error) {
	var req struct{ Name, Slug string }
	if err := c.body(&req); err != nil {
		return nil, err
	}
	if req.Slug == "" {
		req.Slug = req.Name
	}
	if _, err := tenant.ParseName(req.Slug); err != nil {
		return nil, err
	}
	if err := checkOrgName(req.Name); err != nil {
		return nil, err
	}
	c.org, c.audit["organization"] = req.Slug, req.Slug // for the audit log
	o, err := a.cfg.Store.CreateOrg(c.noted(), catalog.Org{Slug: req.Slug, Name: req.Name}, c.user)
	if errors.Is(err, catalog.ErrExists) {
		err = fail(http.StatusConflict, "organization %s already exists", req.Slug)
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"organization": orgOf(&o)}, nil
}

func checkOrgName(name string) error {
	if len(name) > maxText || !visible(name) {
		return fail(http.StatusBadRequest, "the name of an organization has at most %d bytes, all of them to be seen", maxText)
	}
	return nil
}

func (a *API) updateOrg(c *call) (any, error) {
	var req struct {
		Overages *bool
		Name     *string
	}
	if err := c.body(&req); err != nil {
		return nil, err
	}
	if req.Name != nil {
		if err := checkOrgName(*req.Name); err != nil {
			return nil, err
		}
	}
	o, err := a.cfg.Store.UpdateOrg(c.noted(), c.org, func(o *catalog.Org) error {
		if req.Overages != nil {
			o.Overages = *req.Overages
			c.audit["overages"] = o.Overages
		}
		if req.Name != nil {
			o.Name = *req.Name
			c.audit["name"] = o.Name
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"organization": orgOf(&o)}, nil
}

func (a *API) deleteOrg(c *call) (any, error) {
	slug := c.org
	if slug == a.cfg.Org {
		return nil, fail(http.StatusConflict, "%s is the server's own organization: it stays", slug)
	}
	c.audit["organization"] = slug
	if err := a.cfg.Store.DeleteOrg(c.noted(), slug); err != nil {
		return nil, err
	}
	return map[string]any{"organization": slug}, nil
}

func memberJSON(m *catalog.Member) map[string]any {
	return map[string]any{"username": m.Username, "email": m.Email, "role": m.Role.String()}
}

func (a *API) listMembers(c *call) (any, error) {
	members, err := a.cfg.Store.Members(c.org)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for i := range members {
		list = append(list, memberJSON(&members[i]))
	}
	return map[string]any{"members": list}, nil
}

func (a *API) getMember(c *call) (any, error) {
	members, err := a.cfg.Store.Members(c.org)
	if err != nil {
		return nil, err
	}
	for i := range members {
		if members[i].Username == c.p("username") {
			return map[string]any{"member": memberJSON(&members[i])}, nil
		}
	}
	return nil, fail(http.StatusNotFound, "member %s not found", c.p("username"))
}

// roleOf reads a role that somebody gives: nobody gives more than they have.
func (c *call) roleOf(s string) (catalog.Role, error) {
	if s == "" {
		s = member.String()
	}
	r, err := catalog.ParseRole(s)
	if err != nil {
		return r, fail(http.StatusBadRequest, "%v", err)
	}
	if r > c.role {
		return r, fail(http.StatusForbidden, "the role %s is above yours, %s", r, c.role)
	}
	return r, nil
}

// mayChange fails for a member who is above the caller.
func (a *API) mayChange(c *call, username string) error {
	r, err := a.cfg.Store.Role(c.org, username)
	if err == nil && r > c.role {
		err = fail(http.StatusForbidden, "%s is %s, you are %s", username, r, c.role)
	}
	return err
}

func (a *API) addMember(c *call) (any, error) {
	var req struct{ Member, Username, Email, Role string }
	if err := c.body(&req); err != nil {
		return nil, err
	}
	if req.Member == "" {
		req.Member = cmp.Or(req.Username, c.p("username")) // Turso's client has it in the path
	}
	if req.Member == "" || len(req.Member) > 128 || strings.Contains(req.Member, "/") || !printable(req.Member) {
		return nil, fail(http.StatusBadRequest, "member %q is not a username of 1 to 128 bytes without spaces", req.Member)
	}
	if req.Email != "" && !isAddress(req.Email) {
		return nil, fail(http.StatusBadRequest, "email %q is not an address", req.Email)
	}
	return a.putMember(c, req.Member, req.Email, req.Role)
}

func (a *API) updateMember(c *call) (any, error) {
	var req struct{ Role string }
	if err := c.body(&req); err != nil {
		return nil, err
	}
	if _, err := a.getMember(c); err != nil {
		return nil, err
	}
	return a.putMember(c, c.p("username"), "", req.Role)
}

func (a *API) putMember(c *call, username, email, role string) (any, error) {
	r, err := c.roleOf(role)
	if err == nil {
		err = a.mayChange(c, username)
	}
	if err != nil {
		return nil, err
	}
	c.audit["username"], c.audit["role"] = username, r.String()
	m := catalog.Member{Username: username, Email: email, Role: r}
	if err := a.cfg.Store.PutMember(c.noted(), c.org, m); err != nil {
		return nil, err
	}
	return map[string]any{"member": username, "username": username, "role": r.String()}, nil
}

func (a *API) removeMember(c *call) (any, error) {
	if err := a.mayChange(c, c.p("username")); err != nil {
		return nil, err
	}
	if err := a.cfg.Store.RemoveMember(c.noted(), c.org, c.p("username")); err != nil {
		return nil, err
	}
	return map[string]any{"member": c.p("username")}, nil
}

func (a *API) listInvites(c *call) (any, error) {
	invites, err := a.cfg.Store.Invites(c.org)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, v := range invites {
		list = append(list, map[string]any{"id": v.ID, "email": v.Email, "role": v.Role.String(), "created_at": v.Created, "accepted": false})
	}
	return map[string]any{"invites": list}, nil
}

// isAddress reports whether a text may be an e-mail address.
func isAddress(s string) bool {
	return strings.Contains(s, "@") && len(s) <= 254 && !strings.Contains(s, "/") && printable(s)
}

// invite notes an invitation. Nothing is mailed: the secret is in the answer.
func (a *API) invite(c *call) (any, error) {
	var req struct{ Email, Role string }
	if err := c.body(&req); err != nil {
		return nil, err
	}
	if !isAddress(req.Email) {
		return nil, fail(http.StatusBadRequest, "email %q is not an address", req.Email)
	}
	r, err := c.roleOf(req.Role)
	if err != nil {
		return nil, err
	}
	c.audit["email"], c.audit["role"] = req.Email, r.String()
	v, secret, err := a.cfg.Store.Invite(c.noted(), c.org, req.Email, r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"invited": map[string]any{
		"id": v.ID, "email": v.Email, "role": r.String(), "organization": c.org, "token": string(secret), "created_at": v.Created,
	}}, nil
}

func (a *API) deleteInvite(c *call) (any, error) {
	return map[string]any{}, a.cfg.Store.DeleteInvite(c.noted(), c.org, c.p("email"))
}

func (a *API) auditLog(c *call) (any, error) {
	page, err := c.query("page", 1, 1<<30)
	if err != nil {
		return nil, err
	}
	size, err := c.query("page_size", 10, 1000)
	if err != nil {
		return nil, err
	}
	entries, total, err := a.cfg.Store.AuditLog(c.org, page, size)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, e := range entries {
		list = append(list, map[string]any{
			"code": e.Code, "message": e.Message, "origin": e.Origin, "author": e.Author, "created_at": e.Created, "data": e.Data,
		})
	}
	return map[string]any{"audit_logs": list, "pagination": map[string]int{
		"page": page, "page_size": size, "total_pages": (total + size - 1) / size, "total_rows": total,
	}}, nil
}

// each calls fn for every database that a filter selects.
func (a *API) each(ctx context.Context, f catalog.Filter, fn func(*catalog.Database) error) error {
	f.Limit = pageSize
	for {
		page, err := a.cfg.Store.Databases(f)
		if err != nil {
			return err
		}
		for i := range page {
			if err := errors.Join(ctx.Err(), fn(&page[i])); err != nil {
				return err
			}
		}
		if len(page) < f.Limit {
			return nil
		}
		f.After = page[len(page)-1].Name
	}
}

// backup makes a backup of all organisations' databases: for owners of the
// server's own organisation.
func (a *API) backup(c *call) (any, error) {
	if c.org != a.cfg.Org || a.cfg.Backup == nil {
		return nil, fail(http.StatusForbidden, "backups are for owners of the server's own organization, %s", a.cfg.Org)
	}
	if err := c.begin(); err != nil {
		return nil, err
	}
	path, err := a.cfg.Backup(c.Context())
	if err != nil {
		return nil, err
	}
	c.audit["path"] = path
	return map[string]any{"backup": map[string]any{"path": path}}, nil
}

// What is about money has an honest answer: there is none to pay.
func (a *API) invoices(*call) (any, error) { return map[string]any{"invoices": []any{}}, nil }

func (a *API) plans(*call) (any, error) {
	return map[string]any{"plans": []any{map[string]any{"name": planName, "price": "0", "prices": []any{}, "quotas": map[string]any{}}}}, nil
}

func (a *API) subscription(c *call) (any, error) {
	return map[string]any{"subscription": map[string]any{"plan": planName, "overages": false, "timeline": ""}}, nil
}

func (a *API) locations(c *call) (any, error) {
	const says = "This server"
	if c.second() {
		return map[string]any{"locations": []any{map[string]any{"code": region, "description": says}}}, nil
	}
	return map[string]any{"locations": map[string]string{region: says}}, nil
}

func (a *API) user(c *call) (any, error) {
	return map[string]any{"user": map[string]any{"username": c.user, "plan": planName, "email": ""}}, nil
}
