package platform

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
)

// sweepEvery is how often expired databases are looked for. That their time is
// over is seen by every request.
const sweepEvery = 10 * time.Second

// adoption adds databases to the catalog until ctx ends.
func (a *API) adoption(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.adopt:
		}
		if err := a.adoptOrphans(ctx); err != nil && ctx.Err() == nil {
			a.cfg.Logger.Error("platform: add databases to the catalog", "err", err)
		}
	}
}

// sweep keeps what was used and removes what has expired until ctx ends.
func (a *API) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var clock Clock
	for {
		if err := errors.Join(a.keepUsage(ctx), a.CleanUp(ctx), a.expireBy(ctx, &clock), a.dropUploads()); err != nil && ctx.Err() == nil {
			a.cfg.Logger.Error("platform: keep usage, remove what has expired", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// expireBy is Expire, unless the clock has jumped ahead.
func (a *API) expireBy(ctx context.Context, clock *Clock) error {
	trust, jumped := clock.Trust(a.cfg.Now(), time.Now())
	if jumped {
		a.cfg.Logger.WarnContext(ctx, "platform: the clock has jumped ahead: nothing expires for a while", "for", holdTime)
	}
	if !trust {
		return nil
	}
	return a.Expire(ctx)
}

// Expire removes the databases whose time is over, and those that nobody has
// used for as long as they say. What can't be removed now waits for the next
// time, and doesn't keep the others.
func (a *API) Expire(ctx context.Context) error {
	a.expiring.Lock()
	defer a.expiring.Unlock()
	begun, err := a.cfg.Store.Unfinished()
	if err != nil {
		return err
	}
	over, err := a.cfg.Store.Expired(a.cfg.Now())
	if err != nil {
		return err
	}
	idle, err := a.cfg.Store.WithIdle()
	if err != nil {
		return err
	}
	var failed []error
	for _, list := range [][]catalog.Database{begun, over, idle} {
		for i := range list {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := a.expire(ctx, &list[i]); err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", list[i].Name, err))
			}
		}
	}
	if len(failed) > 1 {
		return fmt.Errorf("%d databases, the first of them %w", len(failed), failed[0])
	}
	return errors.Join(failed...)
}

// due says why a database is to be removed; "" if it is not.
func (a *API) due(d *catalog.Database) string {
	switch {
	case !d.Expires.IsZero() && !a.cfg.Now().Before(d.Expires):
		return "removed an expired database"
	case d.Idle > 0 && (d.State == catalog.StateExpired || a.idleFor(d) > d.Idle):
		return "removed a database that was idle for " + d.Idle.String()
	}
	return ""
}

// expire removes a database whose time is over. From the first step on nobody
// uses it; what a crash leaves, the next call goes on with.
func (a *API) expire(ctx context.Context, d *catalog.Database) error {
	if d.State == catalog.StateReady {
		var err error
		*d, err = a.cfg.Store.UpdateDatabase(ctx, d.Name, d.ID, func(d *catalog.Database) error {
			if d.State != catalog.StateReady || a.due(d) == "" {
				return catalog.ErrNotFound // somebody deletes it, or has put it off
			}
			d.State = catalog.StateExpired
			return nil
		})
		if errors.Is(err, catalog.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
	}
	if d.State != catalog.StateExpired {
		return nil // being made or deleted
	}
	about := map[string]any{"database": d.Name, "id": d.ID}
	if a.keeps(d) {
		file, err := a.exportExpired(ctx, d)
		if err != nil {
			return err
		}
		about["exported"] = file
	}
	return a.remove(catalog.WithNote(ctx, byServer(d, "db-expire", a.due(d), about)), d)
}

// Used notes that a database is being used.
func (a *API) Used(name string) {
	a.mu.Lock()
	a.used[name] = a.cfg.Now()
	a.mu.Unlock()
}

// idleFor returns for how long a database was not used. Nothing is known of the
// time before the server's start.
func (a *API) idleFor(d *catalog.Database) time.Duration {
	a.mu.Lock()
	last := a.used[d.Name]
	a.mu.Unlock()
	for _, t := range []time.Time{a.started, d.Created} {
		if t.After(last) {
			last = t
		}
	}
	return a.cfg.Now().Sub(last)
}
