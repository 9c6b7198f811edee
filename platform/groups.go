package platform

import "context"

// Groups are the groups of the client's organization: databases that are placed,
// protected and opened by tokens together.
type Groups struct{ c *conn }

// Group is a group.
type Group struct {
	Name             string   `json:"name"`
	UUID             string   `json:"uuid"`
	Version          string   `json:"version"`
	Locations        []string `json:"locations"`
	Primary          string   `json:"primary"`
	Archived         bool     `json:"archived"`
	DeleteProtection bool     `json:"delete_protection"`
}

// GroupOptions say what a new group is like.
type GroupOptions struct {
	// Location is where it is. Default "": the server's own; Turso needs one.
	Location string
	// Extensions of SQLite are Turso's business. Default: none.
	Extensions []string
}

type groupAnswer struct{ Group *Group }

// List returns the groups, by name.
func (s *Groups) List(ctx context.Context) ([]Group, error) {
	var ans struct{ Groups []Group }
	err := s.c.get(ctx, s.c.in("groups"), nil, &ans)
	return ans.Groups, err
}

// Get returns a group.
func (s *Groups) Get(ctx context.Context, name string) (*Group, error) {
	var ans groupAnswer
	err := s.c.get(ctx, s.c.in("groups", name), nil, &ans)
	return ans.Group, err
}

// Usage returns what the databases of a group, also those that are deleted, have
// used in this month, in UTC. agentdb only.
func (s *Groups) Usage(ctx context.Context, name string) (Usage, error) {
	var ans struct{ Group struct{ Usage Usage } }
	err := s.c.get(ctx, s.c.in("groups", name, "usage"), nil, &ans)
	return ans.Group.Usage, err
}

// Create makes a group.
func (s *Groups) Create(ctx context.Context, name string, o GroupOptions) (*Group, error) {
	body := map[string]any{"name": name}
	if o.Location != "" {
		body["location"] = o.Location
	}
	if len(o.Extensions) > 0 {
		body["extensions"] = o.Extensions
	}
	var ans groupAnswer
	err := s.c.post(ctx, s.c.in("groups"), body, &ans)
	return ans.Group, err
}

// Delete deletes a group with all its databases; ErrForbidden if one of them is
// protected.
func (s *Groups) Delete(ctx context.Context, name string) error {
	return s.c.delete(ctx, s.c.in("groups", name))
}

// Protect sets whether the group and its databases can be deleted.
func (s *Groups) Protect(ctx context.Context, name string, protected bool) error {
	return s.c.patch(ctx, s.c.in("groups", name, "configuration"), map[string]any{"delete_protection": protected}, nil)
}

// AddLocation adds a location, which a server of agentdb only notes.
func (s *Groups) AddLocation(ctx context.Context, name, location string) (*Group, error) {
	var ans groupAnswer
	err := s.c.post(ctx, s.c.in("groups", name, "locations", location), nil, &ans)
	return ans.Group, err
}

// RemoveLocation removes a location that is not the primary one.
func (s *Groups) RemoveLocation(ctx context.Context, name, location string) error {
	return s.c.delete(ctx, s.c.in("groups", name, "locations", location))
}

// Transfer gives a group with its databases to another organization, in which the
// caller must be an admin too.
func (s *Groups) Transfer(ctx context.Context, name, organization string) error {
	return s.c.post(ctx, s.c.in("groups", name, "transfer"), map[string]string{"organization": organization}, nil)
}

// CreateToken returns a token for all databases of a group, those to come
// included.
func (s *Groups) CreateToken(ctx context.Context, name string, o TokenOptions) (string, error) {
	return s.c.token(ctx, s.c.in("groups", name, "auth/tokens"), o)
}

// RotateTokens voids all tokens of a group and of its databases.
func (s *Groups) RotateTokens(ctx context.Context, name string) error {
	return s.c.post(ctx, s.c.in("groups", name, "auth/rotate"), nil, nil)
}

// Locations are the places where databases can be.
type Locations struct{ c *conn }

// List returns what is said of each location, by its code.
func (s *Locations) List(ctx context.Context) (map[string]string, error) {
	var ans struct{ Locations map[string]string }
	err := s.c.get(ctx, "locations", nil, &ans)
	return ans.Locations, err
}
