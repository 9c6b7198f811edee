package platform

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/tenant"
)

// point names a revision of a database.
type point struct {
	Revision  *uint64 `json:"revision"`
	Timestamp string  `json:"timestamp"`
}

// revision returns the revision that a point is, or otherwise.
func (a *API) revision(ctx context.Context, name string, p point, otherwise uint64) (uint64, error) {
	switch {
	case p.Revision != nil && p.Timestamp != "":
		return 0, fail(http.StatusBadRequest, "either a revision or a timestamp, not both")
	case p.Revision != nil && *p.Revision == history.Latest:
		return 0, tenant.ErrRevision
	case p.Revision != nil:
		return *p.Revision, nil
	case p.Timestamp != "":
		t, err := parseTime(p.Timestamp)
		if err != nil {
			return 0, err
		}
		at, err := a.cfg.Databases.RevisionAt(ctx, name, t)
		if errors.Is(err, tenant.ErrRevision) {
			err = fail(http.StatusUnprocessableEntity, "the database had no revision at %s, or keeps it no more", t.UTC().Format(time.RFC3339))
		}
		return at, err
	}
	return otherwise, nil
}

func (a *API) restoreDatabase(c *call) (any, error) {
	var p point
	if err := c.body(&p); err != nil {
		return nil, err
	}
	if p == (point{}) {
		return nil, fail(http.StatusBadRequest, "the body must have a revision or a timestamp to restore")
	}
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	at, err := a.revision(c.Context(), d.Name, p, 0)
	if err != nil {
		return nil, err
	}
	c.audit["restored"] = at
	if err := c.begin(); err != nil {
		return nil, err
	}
	now, err := a.cfg.Databases.Restore(c.guard(&d), d.Name, at, c.user)
	if err != nil {
		return nil, err
	}
	c.audit["revision"] = now
	return map[string]any{"database": c.database(&d), "restored": at, "revision": now}, nil
}

func (a *API) exportDatabase(c *call) (any, error) {
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	p := point{Timestamp: c.URL.Query().Get("timestamp")}
	if s := c.URL.Query().Get("revision"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return nil, fail(http.StatusBadRequest, "revision %q is not a number", s)
		}
		p.Revision = &n
	}
	f, err := a.cfg.Databases.Facts(c.Context(), d.Name)
	if err != nil {
		return nil, err
	}
	at, err := a.revision(c.Context(), d.Name, p, f.Revision)
	if err != nil {
		return nil, err
	}
	size, parts, err := a.cfg.Databases.ExportAt(c.Context(), d.Name, at)
	if err == nil {
		err = c.same(&d)
	}
	if err != nil {
		return nil, err
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/vnd.sqlite3")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", d.Name+".db"))
	h.Set("Agentdb-Revision", strconv.FormatUint(at, 10))
	if c.Method == http.MethodHead {
		c.w.WriteHeader(http.StatusOK)
		return nil, nil
	}
	if !a.send(c, &d, parts) {
		panic(http.ErrAbortHandler) // the client must not take it for all
	}
	return nil, nil
}

// send writes a file, and reports whether it is whole.
func (a *API) send(c *call, d *catalog.Database, parts iter.Seq2[[]byte, error]) bool {
	for b, err := range parts {
		if err != nil {
			if !errors.Is(err, tenant.ErrNotFound) && c.Context().Err() == nil {
				a.cfg.Logger.ErrorContext(c.Context(), "platform: export", "database", d.Name, "err", err)
			}
			return false
		}
		if _, err := c.w.Write(b); err != nil {
			return false
		}
	}
	return true
}
