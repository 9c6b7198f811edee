package platform

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/tenant"
)

// usageJSON is what is counted.
type usageJSON struct {
	RowsRead    int64 `json:"rows_read"`
	RowsWritten int64 `json:"rows_written"`
	Storage     int64 `json:"storage_bytes"`
	BytesSynced int64 `json:"bytes_synced"`
}

// keepUsage puts what databases were used for since the last time into the
// catalog.
func (a *API) keepUsage(ctx context.Context) error {
	used := a.cfg.Databases.TakeUsage()
	if len(used) == 0 {
		return nil
	}
	if err := a.adoptOrphans(ctx); err != nil {
		a.cfg.Databases.ReturnUsage(used)
		return err
	}
	add := make(map[string]catalog.Usage, len(used))
	for name, u := range used {
		add[name] = catalog.Usage{RowsRead: int64(u.RowsRead), RowsWritten: int64(u.RowsWritten), BytesSynced: int64(u.BytesSynced)}
	}
	err := a.cfg.Store.AddUsage(ctx, add)
	if err != nil {
		for name := range used {
			if _, left := add[name]; !left {
				delete(used, name)
			}
		}
		a.cfg.Databases.ReturnUsage(used)
	}
	return err
}

// window reads from and to of a request: whole days, by default those of this
// month.
func (c *call) window() (from, to time.Time, err error) {
	now := c.api.cfg.Now().UTC()
	from, to = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC), now
	q := c.URL.Query()
	if s := q.Get("from"); s != "" {
		if from, err = parseTime(s); err != nil {
			return from, to, err
		}
	}
	if s := q.Get("to"); s != "" {
		if to, err = parseTime(s); err != nil {
			return from, to, err
		}
	}
	if to.Before(from) {
		err = fail(http.StatusBadRequest, "to is before from")
	}
	return from, to, err
}

// usage returns what databases were used for in the time that the request asks
// about.
func (c *call) usage(f catalog.UsageFilter) (u usageJSON, err error) {
	f.Org = c.org
	if f.From, f.To, err = c.window(); err != nil {
		return u, err
	}
	if err := c.api.keepUsage(c.Context()); err != nil {
		return u, err
	}
	sum, err := c.api.cfg.Store.Usage(f)
	return usageJSON{RowsRead: sum.RowsRead, RowsWritten: sum.RowsWritten, BytesSynced: sum.BytesSynced}, err
}

func (a *API) databaseUsage(c *call) (any, error) {
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	f, err := a.cfg.Databases.Facts(c.Context(), d.Name)
	if err != nil {
		return nil, err
	}
	u, err := c.usage(catalog.UsageFilter{Database: d.ID})
	if err != nil {
		return nil, err
	}
	u.Storage = f.Size
	instances := []any{map[string]any{"uuid": d.ID, "usage": u}}
	return map[string]any{
		"database":  map[string]any{"uuid": d.ID, "instances": instances, "usage": u},
		"instances": map[string]any{d.ID: u},
		"total":     u,
	}, nil
}

func (a *API) groupUsage(c *call) (any, error) {
	g, err := a.cfg.Store.Group(c.org, c.p("group"))
	if err != nil {
		return nil, err
	}
	u, err := c.usage(catalog.UsageFilter{Group: g.ID})
	if err != nil {
		return nil, err
	}
	storage, databases, err := a.stored(c, g.Name)
	u.Storage = storage
	return map[string]any{"group": map[string]any{"uuid": g.ID, "name": g.Name, "databases": databases, "usage": u}}, err
}

// stored returns the bytes and the number of the databases of a group, "" for all.
func (a *API) stored(c *call, group string) (bytes int64, databases int, err error) {
	err = a.each(c.Context(), catalog.Filter{Org: c.org, Group: group}, func(d *catalog.Database) error {
		f, err := a.cfg.Databases.Facts(c.Context(), d.Name)
		if errors.Is(err, tenant.ErrNotFound) {
			return nil // deleted meanwhile
		}
		bytes += f.Size
		databases++
		return err
	})
	return bytes, databases, err
}

func (a *API) orgUsage(c *call) (any, error) {
	sum, err := c.usage(catalog.UsageFilter{})
	if err != nil {
		return nil, err
	}
	storage, databases, err := a.stored(c, "")
	if err != nil {
		return nil, err
	}
	groups, err := a.cfg.Store.Groups(c.org)
	if err != nil {
		return nil, err
	}
	return map[string]any{"organization": map[string]any{"uuid": c.org, "usage": map[string]any{
		"rows_read": sum.RowsRead, "rows_written": sum.RowsWritten, "storage_bytes": storage, "bytes_synced": sum.BytesSynced,
		"databases": databases, "groups": len(groups), "locations": 1,
	}, "databases": []any{}}}, nil
}
