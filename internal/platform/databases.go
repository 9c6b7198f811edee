package platform

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/tenant"
)

// databaseJSON is a database as Turso's clients know it, and what they don't ask
// for. The names with capitals are theirs.
type databaseJSON struct {
	Name             string   `json:"Name"`
	DbID             string   `json:"DbId"`
	Hostname         string   `json:"Hostname"`
	LowName          string   `json:"name"`
	Regions          []string `json:"regions"`
	PrimaryRegion    string   `json:"primaryRegion"`
	Type             string   `json:"type"`
	Version          string   `json:"version"`
	Group            string   `json:"group"`
	Sleeping         bool     `json:"sleeping"`
	Archived         bool     `json:"archived"`
	AllowAttach      bool     `json:"allow_attach"`
	BlockReads       bool     `json:"block_reads"`
	BlockWrites      bool     `json:"block_writes"`
	Schema           string   `json:"schema"`
	IsSchema         bool     `json:"is_schema"`
	DeleteProtection bool     `json:"delete_protection"`
	Parent           *parent  `json:"parent"`

	URL       string    `json:"url"` // for agentdb.Options.URL
	CreatedAt time.Time `json:"created_at"`
	boundsJSON

	// Of one that was asked for alone: the newest, and the oldest that is kept.
	Revision       *uint64 `json:"revision,omitempty"`
	OldestRevision *uint64 `json:"oldest_revision,omitempty"`
}

// boundsJSON is how long a database may be, and how much of it.
type boundsJSON struct {
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`
	IdleTimeout string     `json:"idle_timeout,omitempty"`
	OnExpiry    string     `json:"on_expiry,omitempty"`
	SizeLimit   int64      `json:"size_limit,omitempty"` // bytes
	RateLimit   int64      `json:"rate_limit,omitempty"` // requests per second
}

// parent is where a fork comes from.
type parent struct {
	ID       string `json:"id"`
	Revision uint64 `json:"revision"`
}

// region is the one place that there is. Turso's command line speaks plain HTTP
// to databases in a region of this name.
const region = "local"

func (c *call) database(d *catalog.Database) *databaseJSON {
	host, url := c.addresses(d.Name)
	j := &databaseJSON{
		Name: d.Name, DbID: d.ID, Hostname: host, LowName: d.Name, Regions: []string{region}, PrimaryRegion: region, Type: "logical",
		Version: "agentdb", Group: d.Group, AllowAttach: d.AllowAttach, BlockReads: d.BlockReads, BlockWrites: d.BlockWrites,
		DeleteProtection: d.Protected, URL: url, CreatedAt: d.Created,
		boundsJSON: boundsJSON{SizeLimit: d.SizeLimit, RateLimit: d.RateLimit, OnExpiry: d.OnExpiry},
	}
	if d.Parent != "" {
		j.Parent = &parent{d.Parent, d.ForkedAt}
	}
	if !d.Expires.IsZero() {
		j.ExpiresAt = &d.Expires
	}
	if d.Idle > 0 {
		j.IdleTimeout = d.Idle.String()
	}
	return j
}

// mine returns the database in the path if it is the organisation's and ready.
func (c *call) mine() (catalog.Database, error) {
	d, err := c.api.cfg.Store.Database(c.p("database"))
	if err == nil && (d.Org != c.org || d.State != catalog.StateReady) {
		err = catalog.ErrNotFound
	}
	if errors.Is(err, catalog.ErrNotFound) {
		return d, fail(http.StatusNotFound, "could not find database with name %s: record not found", c.p("database"))
	}
	return d, err
}

// same fails if the name of a database that was the organisation's is another one's
// by now.
func (c *call) same(d *catalog.Database) error {
	now, err := c.api.cfg.Store.Database(d.Name)
	if err == nil && (now.ID != d.ID || now.State != catalog.StateReady) {
		err = catalog.ErrNotFound
	}
	if errors.Is(err, catalog.ErrNotFound) {
		return fail(http.StatusNotFound, "database %s was deleted meanwhile", d.Name)
	}
	return err
}

// guard returns the context of what is done to a database by its name.
func (c *call) guard(d *catalog.Database) context.Context {
	return tenant.WithGuard(c.Context(), func() error { return c.same(d) })
}

// pageSize is how many databases are read at a time, and maxListed how many are
// answered to a request that doesn't say.
const (
	pageSize  = 1000
	maxListed = 1_000_000
)

func (a *API) listDatabases(c *call) (any, error) {
	q := c.URL.Query()
	limit, err := c.query("limit", maxListed, maxListed)
	if err != nil {
		return nil, err
	}
	list := []*databaseJSON{}
	f := catalog.Filter{Org: c.org, Group: q.Get("group"), Parent: q.Get("parent"), After: q.Get("cursor")}
	next := ""
	for q.Get("schema") == "" && q.Get("type") != "schema" { // there are none of these
		f.Limit = min(limit-len(list), pageSize)
		page, err := a.cfg.Store.Databases(f)
		if err != nil {
			return nil, err
		}
		for i := range page {
			list = append(list, c.database(&page[i]))
		}
		if len(page) < f.Limit {
			break
		}
		f.After = page[len(page)-1].Name
		if len(list) == limit {
			next = f.After
			break
		}
	}
	return map[string]any{"databases": list, "pagination": map[string]any{"next": orNull(next)}}, nil
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (a *API) getDatabase(c *call) (any, error) {
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	f, err := a.cfg.Databases.Facts(c.Context(), d.Name)
	if err != nil {
		return nil, err
	}
	j := c.database(&d)
	j.Revision, j.OldestRevision = &f.Revision, &f.Oldest
	return map[string]any{"database": j}, nil
}

// newDatabase is what a database is made from.
type newDatabase struct {
	Name       string          `json:"name"`
	Group      string          `json:"group"`
	GroupID    string          `json:"group_id"` // instead of its name
	Seed       *seed           `json:"seed"`
	SizeLimit  json.RawMessage `json:"size_limit"`
	IsSchema   bool            `json:"is_schema"`
	Schema     string          `json:"schema"`
	Encryption json.RawMessage `json:"remote_encryption"`

	ExpiresAt        string `json:"expires_at"`   // RFC 3339
	TTL              string `json:"ttl"`          // the same, from now on
	IdleTimeout      string `json:"idle_timeout"` // a duration
	OnExpiry         string `json:"on_expiry"`
	DeleteProtection bool   `json:"delete_protection"`
}

// seed is what a database begins with.
type seed struct {
	Type      string  `json:"type"`  // database, dump or database_upload
	Name      string  `json:"name"`  // of the database to fork
	Value     string  `json:"value"` // the same, from Turso's command line
	URL       string  `json:"url"`   // of a dump that was uploaded here
	Timestamp string  `json:"timestamp"`
	Revision  *uint64 `json:"revision"`
}

func (a *API) createDatabase(c *call) (any, error) {
	var req newDatabase
	if err := c.body(&req); err != nil {
		return nil, err
	}
	d, err := a.describe(c, &req)
	if err != nil {
		return nil, err
	}
	c.audit["database"] = d.Name
	if req.Seed != nil {
		c.audit["seed"] = req.Seed.Type
	}
	d, err = a.create(c, d, req.Seed)
	if errors.Is(err, catalog.ErrExists) || errors.Is(err, tenant.ErrExists) {
		err = fail(http.StatusConflict, "database with name %s already exists", d.Name)
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"database": c.database(&d), "username": c.user}, nil
}

// describe checks what a database shall be.
func (a *API) describe(c *call, req *newDatabase) (d catalog.Database, err error) {
	if d.Name, err = tenant.ParseName(req.Name); err != nil {
		return d, err
	}
	switch {
	case req.IsSchema || req.Schema != "":
		return d, fail(http.StatusUnprocessableEntity, "schema databases are not supported")
	case len(req.Encryption) > 0 && string(req.Encryption) != "null":
		return d, fail(http.StatusUnprocessableEntity, "remote_encryption is not supported: encrypt the server's disk")
	}
	d.Org, d.Group, d.Protected = c.org, req.Group, req.DeleteProtection
	if req.GroupID != "" {
		if d.Group, err = a.groupByID(c.org, req.GroupID); err != nil {
			return d, err
		}
	}
	if d.Group == "" && (req.Seed == nil || req.Seed.Type != "database") { // else that of the other database
		d.Group = catalog.DefaultGroup
	}
	if d.SizeLimit, err = parseSize(req.SizeLimit); err != nil {
		return d, err
	}
	if d.Expires, err = a.expiry(req.ExpiresAt, req.TTL); err != nil {
		return d, err
	}
	if d.OnExpiry, err = a.onExpiry(req.OnExpiry); err != nil {
		return d, err
	}
	d.Idle, err = parseLifetime(req.IdleTimeout)
	return d, err
}

// expiry returns the time that a time or a duration stands for.
func (a *API) expiry(at, ttl string) (time.Time, error) {
	if ttl != "" && at != "" {
		return time.Time{}, fail(http.StatusBadRequest, "either expires_at or ttl, not both")
	}
	if ttl != "" {
		life, err := parseLifetime(ttl)
		if err != nil || life == 0 {
			return time.Time{}, err
		}
		return a.cfg.Now().Add(life), nil
	}
	if at == "" {
		return time.Time{}, nil
	}
	t, err := parseTime(at)
	if err == nil && !t.After(a.cfg.Now()) {
		err = fail(http.StatusBadRequest, "expires_at %s is in the past", at)
	}
	return t, err
}

func (a *API) deleteDatabase(c *call) (any, error) {
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	if d.Protected {
		return nil, fail(http.StatusForbidden, "database %s is protected: turn off its delete_protection first", d.Name)
	}
	if g, err := a.cfg.Store.Group(d.Org, d.Group); err != nil || g.Protected {
		return nil, errors.Join(fail(http.StatusForbidden, "the databases of group %s are protected: turn off its delete_protection first", d.Group), err)
	}
	if err := a.remove(c.noted(), &d); err != nil {
		return nil, err
	}
	return map[string]any{"database": d.Name}, nil
}

// maxTop is how many statements are shown that read and wrote most rows.
const maxTop = 20

func (a *API) databaseStats(c *call) (any, error) {
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, s := range a.cfg.Databases.TopStatements(d.Name, maxTop) {
		list = append(list, map[string]any{"query": s.SQL, "runs": s.Runs, "rows_read": s.RowsRead, "rows_written": s.RowsWritten})
	}
	return map[string]any{"top_queries": list}, nil
}

func (c *call) instance(d *catalog.Database) map[string]any {
	host, _ := c.addresses(d.Name)
	return map[string]any{"uuid": d.ID, "name": region, "type": "primary", "region": region, "hostname": host}
}

func (a *API) listInstances(c *call) (any, error) {
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	return map[string]any{"instances": []any{c.instance(&d)}}, nil
}

func (a *API) getInstance(c *call) (any, error) {
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	if i := c.p("instance"); i != region && i != d.ID {
		return nil, fail(http.StatusNotFound, "instance %s not found: there is one, %s", i, region)
	}
	return map[string]any{"instance": c.instance(&d)}, nil
}

func (a *API) updateVersion(c *call) (any, error) {
	_, err := c.mine()
	return map[string]any{}, err // all databases are of the server's version
}
