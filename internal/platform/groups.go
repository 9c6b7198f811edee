package platform

import (
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/tenant"
)

type groupJSON struct {
	Name             string   `json:"name"`
	UUID             string   `json:"uuid"`
	Version          string   `json:"version"`
	Locations        []string `json:"locations"`
	Primary          string   `json:"primary"`
	Archived         bool     `json:"archived"`
	DeleteProtection bool     `json:"delete_protection"`
}

func groupOf(g *catalog.Group) map[string]any {
	j := groupJSON{Name: g.Name, UUID: g.ID, Version: "agentdb", Locations: g.Locations, DeleteProtection: g.Protected}
	if len(g.Locations) > 0 {
		j.Primary = g.Locations[0]
	}
	return map[string]any{"group": j}
}

func (a *API) listGroups(c *call) (any, error) {
	groups, err := a.cfg.Store.Groups(c.org)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for i := range groups {
		list = append(list, groupOf(&groups[i])["group"])
	}
	return map[string]any{"groups": list}, nil
}

// groupByID returns the name of the organisation's group with that ID.
func (a *API) groupByID(org, id string) (string, error) {
	groups, err := a.cfg.Store.Groups(org)
	if err != nil {
		return "", err
	}
	for i := range groups {
		if groups[i].ID == id {
			return groups[i].Name, nil
		}
	}
	return "", fail(http.StatusNotFound, "group %s not found", id)
}

func (a *API) getGroup(c *call) (any, error) {
	g, err := a.cfg.Store.Group(c.org, c.p("group"))
	if err != nil {
		return nil, err
	}
	return groupOf(&g), nil
}

// createGroup takes any location: Turso's command line offers those of its own
// cloud.
func (a *API) createGroup(c *call) (any, error) {
	var req struct{ Name, Location string } // with capitals too, as Turso's command line has them
	if err := c.body(&req); err != nil {
		return nil, err
	}
	if _, err := tenant.ParseName(req.Name); err != nil {
		return nil, err
	}
	if req.Location == "" {
		req.Location = region
	}
	if _, err := tenant.ParseName(req.Location); err != nil {
		return nil, fail(http.StatusBadRequest, "location %q is not the code of one", req.Location)
	}
	c.audit["group"], c.audit["location"] = req.Name, req.Location
	g, err := a.cfg.Store.CreateGroup(c.noted(), catalog.Group{Org: c.org, Name: req.Name, Locations: []string{req.Location}})
	if errors.Is(err, catalog.ErrExists) {
		err = fail(http.StatusConflict, "group %s already exists", req.Name)
	}
	if err != nil {
		return nil, err
	}
	return groupOf(&g), nil
}

// deleteGroup removes a group with all its databases, as Turso's API does, but
// for protected ones.
func (a *API) deleteGroup(c *call) (any, error) {
	g, err := a.cfg.Store.Group(c.org, c.p("group"))
	switch {
	case err != nil:
		return nil, err
	case g.Protected:
		return nil, fail(http.StatusForbidden, "group %s is protected: turn off its delete_protection first", g.Name)
	}
	var doomed []catalog.Database
	f := catalog.Filter{Org: c.org, Group: g.Name, Limit: pageSize}
	for {
		page, err := a.cfg.Store.Databases(f)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if page[i].Protected {
				return nil, fail(http.StatusForbidden, "database %s of the group is protected: turn off its delete_protection first", page[i].Name)
			}
			doomed = append(doomed, page[i])
		}
		if len(page) < f.Limit {
			break
		}
		f.After = page[len(page)-1].Name
	}
	if err := a.removeAll(c, doomed); err != nil {
		return nil, err
	}
	c.audit["databases"] = len(doomed)
	if err := a.cfg.Store.DeleteGroup(c.noted(), c.org, g.Name); err != nil {
		return nil, err
	}
	return groupOf(&g), nil
}

// transferGroup gives a group to another organization in which the caller is an
// admin too.
func (a *API) transferGroup(c *call) (any, error) {
	var req struct{ Organization string }
	if err := c.body(&req); err != nil {
		return nil, err
	}
	role, err := a.cfg.Store.Role(req.Organization, c.user)
	switch {
	case err != nil:
		return nil, err
	case req.Organization == c.org:
		return nil, fail(http.StatusConflict, "group %s is in %s already", c.p("group"), c.org)
	case role == catalog.RoleNone, c.only != "": // that organization is another one
		return nil, fail(http.StatusNotFound, "organization %s not found, or you are not a member of it", req.Organization)
	case role < admin:
		return nil, fail(http.StatusForbidden, "this needs the role %s in %s, yours is %s", admin, req.Organization, role)
	}
	c.audit["from"], c.audit["to"] = c.org, req.Organization
	ctx := c.noted()
	c.note.Also = req.Organization
	err = a.cfg.Store.TransferGroup(ctx, c.org, c.p("group"), req.Organization)
	if errors.Is(err, catalog.ErrExists) {
		err = fail(http.StatusConflict, "organization %s has a group %s already", req.Organization, c.p("group"))
	}
	if err != nil {
		return nil, err
	}
	g, err := a.cfg.Store.Group(req.Organization, c.p("group"))
	return groupOf(&g)["group"], err
}

// removeTogether is how many databases of a group are deleted at a time: they
// share what waits for the disk.
const removeTogether = 64

// removeAll deletes databases with their group, up to the first that can't be.
func (a *API) removeAll(c *call, doomed []catalog.Database) error {
	var (
		wg     sync.WaitGroup
		once   sync.Once
		failed error
	)
	next, stop := make(chan *catalog.Database), make(chan struct{})
	for range min(removeTogether, len(doomed)) {
		wg.Go(func() {
			for d := range next {
				if err := a.remove(c.notedDelete(d), d); err != nil && !errors.Is(err, catalog.ErrNotFound) {
					once.Do(func() { failed = err; close(stop) })
				}
			}
		})
	}
	for i := range doomed {
		select {
		case next <- &doomed[i]:
			continue
		case <-stop:
		}
		break
	}
	close(next)
	wg.Wait()
	return failed
}

func (a *API) getGroupConfiguration(c *call) (any, error) {
	g, err := a.cfg.Store.Group(c.org, c.p("group"))
	return map[string]any{"delete_protection": g.Protected}, err
}

func (a *API) configureGroup(c *call) (any, error) {
	var req struct {
		DeleteProtection *bool `json:"delete_protection"`
	}
	if err := c.body(&req); err != nil {
		return nil, err
	}
	g, err := a.cfg.Store.UpdateGroup(c.noted(), c.org, c.p("group"), func(g *catalog.Group) error {
		if req.DeleteProtection != nil {
			g.Protected = *req.DeleteProtection
			c.audit["delete_protection"] = g.Protected
		}
		return nil
	})
	return map[string]any{"delete_protection": g.Protected}, err
}

// Locations are kept as labels: all databases are where the server is.
func (a *API) addLocation(c *call) (any, error) {
	if _, err := tenant.ParseName(c.p("location")); err != nil {
		return nil, fail(http.StatusBadRequest, "location %q is not the code of one", c.p("location"))
	}
	return a.changeGroup(c, func(g *catalog.Group) error {
		if !slices.Contains(g.Locations, c.p("location")) {
			g.Locations = append(g.Locations, c.p("location"))
		}
		return nil
	})
}

func (a *API) removeLocation(c *call) (any, error) {
	return a.changeGroup(c, func(g *catalog.Group) error {
		i := slices.Index(g.Locations, c.p("location"))
		switch {
		case i < 0:
			return fail(http.StatusNotFound, "the group has no location %s", c.p("location"))
		case i == 0:
			return fail(http.StatusUnprocessableEntity, "%s is the group's primary location", c.p("location"))
		}
		g.Locations = slices.Delete(g.Locations, i, i+1)
		return nil
	})
}

func (a *API) changeGroup(c *call, fn func(*catalog.Group) error) (any, error) {
	g, err := a.cfg.Store.UpdateGroup(c.noted(), c.org, c.p("group"), fn)
	if err != nil {
		return nil, err
	}
	return groupOf(&g), nil
}

func (a *API) updateGroup(c *call) (any, error) {
	_, err := a.cfg.Store.Group(c.org, c.p("group"))
	return map[string]any{}, err // all groups are of the server's version
}
