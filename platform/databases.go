package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Databases are the databases of the client's organization.
type Databases struct{ c *conn }

// defaultGroup is the group that every server of agentdb has.
const defaultGroup = "default"

// CreateOptions say what a new database is like. The zero value makes an empty
// one that stays.
type CreateOptions struct {
	// Group is that which the database belongs to. Default: that of the database
	// that it is forked from, else "default".
	Group string
	// SizeLimit is how large it may grow, in bytes. Default 0: what the server allows.
	SizeLimit int64
	// ExpiresAt is when it is deleted, and TTL the same from now on; TTL goes
	// first. Default: never. agentdb only.
	ExpiresAt time.Time
	TTL       time.Duration
	// IdleTimeout deletes it when nobody has used it for so long. Default 0:
	// never. agentdb only.
	IdleTimeout time.Duration
	// OnExpiry says whether the server exports it first, into a directory of its
	// own, when it is deleted so: "export" or "drop". Default: as the server does.
	// agentdb only.
	OnExpiry string
	// DeleteProtection keeps it from being deleted. agentdb only, here; see Configure.
	DeleteProtection bool

	// At most one of these is what it begins with. Default: nothing.
	Fork     *Fork     // another database
	FromFile io.Reader // a SQLite file
	FromDump io.Reader // SQL text
}

// Fork is a database that another begins as.
type Fork struct {
	Name string
	At   Point // zero: as it is now
}

func (o *CreateOptions) body(name string) (map[string]any, error) {
	b := map[string]any{"name": name, "group": o.Group}
	if o.Group == "" {
		b["group"] = defaultGroup
	}
	if o.SizeLimit > 0 {
		b["size_limit"] = formatSize(o.SizeLimit)
	}
	switch {
	case o.TTL > 0:
		b["ttl"] = formatSpan(o.TTL)
	case !o.ExpiresAt.IsZero():
		b["expires_at"] = formatTime(o.ExpiresAt)
	}
	if o.IdleTimeout > 0 {
		b["idle_timeout"] = formatSpan(o.IdleTimeout)
	}
	if o.OnExpiry != "" {
		b["on_expiry"] = o.OnExpiry
	}
	if o.DeleteProtection {
		b["delete_protection"] = true
	}
	sources := 0
	if o.Fork != nil {
		sources++
		seed := map[string]any{"type": "database", "name": o.Fork.Name}
		o.Fork.At.into(seed)
		b["seed"] = seed
	}
	if o.FromFile != nil {
		sources++
		b["seed"] = map[string]any{"type": "database_upload"}
	}
	if o.FromDump != nil {
		sources++
	}
	if sources > 1 {
		return nil, errors.New("platform: create a database: Fork, FromFile and FromDump exclude each other")
	}
	return b, nil
}

// Create makes a database. One that is loaded from a file exists, empty, while
// that is uploaded; if it fails, the database is deleted again.
func (s *Databases) Create(ctx context.Context, name string, o CreateOptions) (*Database, error) {
	if o.Fork != nil && o.Group == "" { // Turso's cloud has to be told
		from, err := s.Get(ctx, o.Fork.Name)
		if err != nil {
			return nil, fmt.Errorf("platform: create %s: %w", name, err)
		}
		o.Group = from.Group
	}
	body, err := o.body(name)
	if err != nil {
		return nil, err
	}
	if o.FromDump != nil {
		link, err := s.uploadDump(ctx, o.FromDump)
		if err != nil {
			return nil, err
		}
		body["seed"] = map[string]any{"type": "dump", "url": link}
	}
	var ans struct{ Database *Database }
	r := &request{method: http.MethodPost, path: s.c.in("databases"), json: body, long: o.FromDump != nil}
	if err := s.c.call(ctx, r, &ans); err != nil {
		return nil, err
	}
	if ans.Database == nil {
		return nil, errors.New("platform: create a database: the answer has none")
	}
	if o.FromFile != nil {
		if err := s.load(ctx, ans.Database, o.FromFile); err != nil {
			return nil, errors.Join(err, s.Delete(context.WithoutCancel(ctx), name))
		}
	}
	return ans.Database, nil
}

// Get returns a database.
func (s *Databases) Get(ctx context.Context, name string) (*Database, error) {
	var ans struct{ Database Database }
	err := s.c.get(ctx, s.c.in("databases", name), nil, &ans)
	return &ans.Database, err
}

// ListOptions select databases.
type ListOptions struct {
	Group    string // Default "": all
	Parent   string // ID of the database that they were forked from. Default "": any
	PageSize int    // how many are asked for at a time. Default 100
}

// List yields the databases by name. It fetches page after page while it is
// ranged over, and ends after the first error.
func (s *Databases) List(ctx context.Context, o ListOptions) iter.Seq2[*Database, error] {
	return func(yield func(*Database, error) bool) {
		q := url.Values{"limit": {strconv.Itoa(o.pageSize())}}
		if o.Group != "" {
			q.Set("group", o.Group)
		}
		if o.Parent != "" {
			q.Set("parent", o.Parent)
		}
		for {
			var page struct {
				Databases  []*Database
				Pagination struct{ Next string }
			}
			if err := s.c.get(ctx, s.c.in("databases"), q, &page); err != nil {
				yield(nil, err)
				return
			}
			for _, d := range page.Databases {
				if !yield(d, nil) {
					return
				}
			}
			if page.Pagination.Next == "" || page.Pagination.Next == q.Get("cursor") {
				return
			}
			q.Set("cursor", page.Pagination.Next)
		}
	}
}

func (o *ListOptions) pageSize() int {
	if o.PageSize <= 0 {
		return 100
	}
	return o.PageSize
}

// Delete deletes a database; ErrForbidden if it, or its group, is protected.
func (s *Databases) Delete(ctx context.Context, name string) error {
	return s.c.delete(ctx, s.c.in("databases", name))
}

// Configuration returns what is set of a database.
func (s *Databases) Configuration(ctx context.Context, name string) (Configuration, error) {
	var ans configurationJSON
	err := s.c.get(ctx, s.c.in("databases", name, "configuration"), nil, &ans)
	return ans.configuration(), err
}

// Configure changes what is set of a database, and returns the outcome.
func (s *Databases) Configure(ctx context.Context, name string, ch Change) (Configuration, error) {
	var ans configurationJSON
	err := s.c.patch(ctx, s.c.in("databases", name, "configuration"), ch.body(), &ans)
	return ans.configuration(), err
}

// Usage returns what a database has used in this month, in UTC.
func (s *Databases) Usage(ctx context.Context, name string) (Usage, error) {
	return s.usage(ctx, name, nil)
}

// UsageBetween returns what a database has used from one day to another.
func (s *Databases) UsageBetween(ctx context.Context, name string, from, to time.Time) (Usage, error) {
	return s.usage(ctx, name, url.Values{"from": {formatTime(from)}, "to": {formatTime(to)}})
}

func (s *Databases) usage(ctx context.Context, name string, q url.Values) (Usage, error) {
	var ans struct{ Database struct{ Usage Usage } }
	err := s.c.get(ctx, s.c.in("databases", name, "usage"), q, &ans)
	return ans.Database.Usage, err
}

// TopQueries returns the statements that read and wrote most rows of a database,
// the most first. Those of agentdb are counted since the server's start.
func (s *Databases) TopQueries(ctx context.Context, name string) ([]Query, error) {
	var ans struct {
		Queries []Query `json:"top_queries"`
	}
	err := s.c.get(ctx, s.c.in("databases", name, "stats"), nil, &ans)
	return ans.Queries, err
}

// Restore takes a database back to what it was at a point, and returns the
// number of the revision that does so: it can itself be undone. agentdb only.
func (s *Databases) Restore(ctx context.Context, name string, at Point) (r Restored, err error) {
	body := map[string]any{}
	if at.into(body); len(body) == 0 {
		return r, errors.New("platform: restore a database: which point of its history is missing")
	}
	err = s.c.call(ctx, &request{method: http.MethodPost, path: s.c.in("databases", name, "restore"), json: body, long: true}, &r)
	return r, err
}

// Restored is what Restore did.
type Restored struct {
	From     uint64 `json:"restored"` // the revision whose contents the database has again
	Revision uint64 `json:"revision"` // its newest revision now; From if it had those contents
}

// CreateToken returns a token for a database, for agentdb.Options.AuthToken.
func (s *Databases) CreateToken(ctx context.Context, name string, o TokenOptions) (string, error) {
	return s.c.token(ctx, s.c.in("databases", name, "auth/tokens"), o)
}

// RotateTokens voids all tokens of a database.
func (s *Databases) RotateTokens(ctx context.Context, name string) error {
	return s.c.post(ctx, s.c.in("databases", name, "auth/rotate"), nil, nil)
}
