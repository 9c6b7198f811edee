package platform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/google/uuid"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/tenant"
)

// create makes a database. An empty one and a fork come into being at once; one
// that is loaded is seen when it is complete. A crash leaves it whole or not at
// all, see Recover.
func (a *API) create(c *call, d catalog.Database, s *seed) (catalog.Database, error) {
	ctx := c.Context()
	d.ID = uuid.NewString()
	a.claim(d.ID)
	defer a.release(d.ID)
	if s == nil {
		return a.createWith(c, d, func() error { return a.cfg.Databases.Create(ctx, d.Name) })
	}
	switch s.Type {
	case "database":
		return a.fork(c, d, s)
	case "database_upload": // its file follows, see seedDatabase
		return a.createWith(c, d, func() error { return a.cfg.Databases.Create(ctx, d.Name) })
	case "dump":
		file, err := a.uploaded(c.org, s.URL)
		if err != nil {
			return d, err
		}
		defer file.Close()
		d.State = catalog.StateCreating
		d, err = a.createWith(c, d, func() error {
			if err := a.cfg.Databases.Create(ctx, d.Name); err != nil {
				return err
			}
			_, err := a.cfg.Databases.LoadDump(ctx, d.Name, file, c.user)
			return err
		})
		if err != nil {
			return d, err
		}
		if d, err = a.finish(c, d); err == nil {
			_ = os.Remove(file.Name()) // dropUploads does it otherwise
		}
		return d, err
	}
	return d, fail(http.StatusBadRequest, "seed.type %q is not one of database, database_upload, dump", s.Type)
}

func (a *API) fork(c *call, d catalog.Database, s *seed) (catalog.Database, error) {
	ctx := c.Context()
	name := s.Name
	if name == "" {
		name = s.Value
	}
	src, err := a.cfg.Store.Database(name)
	if err != nil || src.Org != c.org || src.State != catalog.StateReady {
		return d, fail(http.StatusNotFound, "the database to fork, %s, was not found", name)
	}
	f, err := a.cfg.Databases.Facts(ctx, name)
	if err != nil {
		return d, err
	}
	at, err := a.revision(ctx, name, point{s.Revision, s.Timestamp}, f.Revision)
	if err != nil {
		return d, err
	}
	d.Parent, d.ForkedAt = src.ID, at
	c.audit["from"], c.audit["revision"] = name, at
	d.Group, d.RateLimit = cmp.Or(d.Group, src.Group), src.RateLimit
	if d.SizeLimit == 0 {
		d.SizeLimit = src.SizeLimit
	}
	return a.createWith(c, d, func() error {
		if err := a.cfg.Databases.Fork(ctx, name, at, d.Name); err != nil {
			return err
		}
		return c.same(&src)
	})
}

// createWith adds the database to the catalog and then makes it. What failed
// leaves nothing but, if the audit log says already that it was created, an
// entry that it was undone.
func (a *API) createWith(c *call, d catalog.Database, make func() error) (catalog.Database, error) {
	ctx := c.Context()
	if d.State == catalog.StateReady { // else finish notes it
		ctx = c.noted()
	}
	made, err := a.cfg.Store.CreateDatabase(ctx, d)
	if errors.Is(err, catalog.ErrExists) && a.freed(c.Context(), d.Name) {
		made, err = a.cfg.Store.CreateDatabase(ctx, d)
	}
	if err != nil {
		return d, err
	}
	if err := make(); err != nil {
		clean := context.WithoutCancel(c.Context())
		if d.State == catalog.StateReady {
			clean = catalog.WithNote(clean, undone(&made, asError(err).message))
		}
		if errors.Is(err, tenant.ErrExists) { // without the catalog knowing of it: it is somebody's
			return made, errors.Join(err, a.cfg.Store.RemoveDatabase(clean, made.Name, made.ID))
		}
		return made, errors.Join(err, a.removeClaimed(clean, &made))
	}
	return made, nil
}

// finish makes a loaded database ready, though its client may have left.
func (a *API) finish(c *call, d catalog.Database) (catalog.Database, error) {
	clean := context.WithoutCancel(c.Context())
	ready, err := a.cfg.Store.UpdateDatabase(context.WithoutCancel(c.noted()), d.Name, d.ID, func(d *catalog.Database) error { d.State = catalog.StateReady; return nil })
	if err != nil {
		return d, errors.Join(err, a.removeClaimed(clean, &d))
	}
	return ready, nil
}

// claim makes the caller the one who creates or deletes the database with an ID
// until release; false if it is somebody else.
func (a *API) claim(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.claimed[id] {
		return false
	}
	a.claimed[id] = true
	return true
}

func (a *API) release(id string) {
	a.mu.Lock()
	delete(a.claimed, id)
	a.mu.Unlock()
}

// remove deletes a database: nobody can use it from the first step on, and what
// a failure or a crash leaves after that is taken up by CleanUp or Recover. It
// goes on when the client leaves. Of several at once one deletes, and the others
// find nothing: once the first is done the name may be another database's.
func (a *API) remove(ctx context.Context, d *catalog.Database) error {
	if !a.claim(d.ID) {
		return catalog.ErrNotFound
	}
	defer a.release(d.ID)
	return a.removeClaimed(context.WithoutCancel(ctx), d)
}

func (a *API) removeClaimed(ctx context.Context, d *catalog.Database) error {
	_, err := a.cfg.Store.UpdateDatabase(ctx, d.Name, d.ID, func(d *catalog.Database) error { d.State = catalog.StateDeleting; return nil })
	if err != nil {
		return err
	}
	return a.wipe(ctx, d)
}

// CleanUp removes databases whose creation or deletion has failed half-way.
func (a *API) CleanUp(ctx context.Context) error {
	unfinished, err := a.cfg.Store.Unfinished()
	if err != nil {
		return err
	}
	var errs []error
	for i := range unfinished {
		if d := &unfinished[i]; d.State != catalog.StateExpired {
			errs = append(errs, a.resume(ctx, d.Name, d.ID))
		}
	}
	return errors.Join(errs...)
}

// freed reports whether a name is free after all, once what has failed of its
// last database's creation or deletion is done.
func (a *API) freed(ctx context.Context, name string) bool {
	d, err := a.cfg.Store.Database(name)
	if err == nil && (d.State == catalog.StateReady || d.State == catalog.StateExpired) {
		return false
	}
	if err == nil {
		err = a.resume(ctx, name, d.ID)
	}
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		a.cfg.Logger.ErrorContext(ctx, "platform: free a name", "database", name, "err", err)
		return false
	}
	return true
}

// resume removes a database that was left half-made or half-deleted, unless
// somebody is at it.
func (a *API) resume(ctx context.Context, name, id string) error {
	if !a.claim(id) {
		return nil
	}
	defer a.release(id)
	d, err := a.cfg.Store.Database(name)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return nil
	case err != nil:
		return err
	case d.ID != id || d.State != catalog.StateCreating && d.State != catalog.StateDeleting:
		return nil // it came to its end meanwhile
	}
	if err := a.removeClaimed(context.WithoutCancel(ctx), &d); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// wipe deletes a database that is marked so.
func (a *API) wipe(ctx context.Context, d *catalog.Database) error {
	if err := a.cfg.Databases.Delete(ctx, d.Name); err != nil && !errors.Is(err, tenant.ErrNotFound) {
		return err
	}
	if err := a.keepUsage(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	delete(a.used, d.Name)
	a.mu.Unlock()
	return a.cfg.Store.RemoveDatabase(ctx, d.Name, d.ID)
}

// Recover makes the catalog and the databases agree after a crash: what was
// being made or deleted is removed; databases that the catalog doesn't know, as
// those made by a first push, join the default group; and names without a
// database are forgotten.
func (a *API) Recover(ctx context.Context) error {
	unfinished, err := a.cfg.Store.Unfinished()
	if err != nil {
		return fmt.Errorf("platform: recover: %w", err)
	}
	for i := range unfinished {
		if unfinished[i].State == catalog.StateExpired {
			continue // Expire goes on with it
		}
		if err := a.wipe(ctx, &unfinished[i]); err != nil { // CleanUp tries again
			a.cfg.Logger.ErrorContext(ctx, "platform: recover", "database", unfinished[i].Name, "err", err)
		}
	}
	named := map[string]catalog.Database{}
	known := &names{next: func(after string) (page []string, err error) {
		all, err := a.cfg.Store.AllDatabases(after, pageSize)
		clear(named)
		for i := range all {
			page, named[all[i].Name] = append(page, all[i].Name), all[i]
		}
		return page, err
	}}
	there := &names{next: func(after string) ([]string, error) { return a.cfg.Databases.List(ctx, after, pageSize) }}
	for {
		k, t := known.peek(), there.peek()
		if err := errors.Join(known.err, there.err); err != nil {
			return fmt.Errorf("platform: recover: %w", err)
		}
		switch {
		case k == "" && t == "":
			return nil
		case t == "" || k != "" && k < t:
			d := named[k]
			err = a.cfg.Store.RemoveDatabase(catalog.WithNote(ctx, undone(&d, "the server stopped before it was made")), k, d.ID)
			known.pop()
		case k == "" || t < k:
			err = a.cfg.Store.AdoptDatabases(ctx, a.cfg.Org, catalog.DefaultGroup, t)
			there.pop()
		default:
			known.pop()
			there.pop()
		}
		if err != nil {
			return fmt.Errorf("platform: recover: %w", err)
		}
	}
}

// Adopt adds a database to the default group that came into being without the
// API. It doesn't wait: what a crash loses, Recover finds.
func (a *API) Adopt(name string) {
	a.mu.Lock()
	a.orphans = append(a.orphans, name)
	a.mu.Unlock()
	select {
	case a.adopt <- struct{}{}:
	default: // somebody is about to look
	}
}

// adoptOrphans makes sure that the catalog has all databases that there are.
func (a *API) adoptOrphans(ctx context.Context) error {
	a.adopting.Lock()
	defer a.adopting.Unlock()
	a.mu.Lock()
	list := a.orphans
	a.orphans = nil
	a.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	err := a.cfg.Store.AdoptDatabases(ctx, a.cfg.Org, catalog.DefaultGroup, list...)
	if err != nil {
		a.mu.Lock()
		a.orphans = append(a.orphans, list...)
		a.mu.Unlock()
	}
	return err
}

// names reads a sorted list of names page by page.
type names struct {
	next  func(after string) ([]string, error)
	page  []string
	after string
	end   bool
	err   error
}

// peek returns the first name, "" at the end.
func (n *names) peek() string {
	if len(n.page) == 0 && !n.end && n.err == nil {
		n.page, n.err = n.next(n.after)
		n.end = len(n.page) == 0
	}
	if len(n.page) == 0 {
		return ""
	}
	return n.page[0]
}

func (n *names) pop() {
	n.after, n.page = n.page[0], n.page[1:]
}
