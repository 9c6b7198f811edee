package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agentdb/agentdb"
)

// plan is a planner's process. It has no network at first, and yet makes the
// tables and inserts its tasks, as the other planners do at the same time. Its
// file only sends: a planner needn't see the index.
func plan(ctx context.Context, o orders, l *link) error {
	db, err := agentdb.Open(ctx, o.File, &agentdb.Options{URL: o.URL, Sync: agentdb.SyncPush})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Sync(ctx); !errors.Is(err, agentdb.ErrOffline) {
		return fmt.Errorf("sync without a network: %w", errors.Join(err, errors.New("want ErrOffline")))
	}
	if _, err := db.Exec(ctx, schema); err != nil {
		return err
	}
	if err := insertTasks(ctx, db, o.Name, o.Dirs); err != nil {
		return err
	}
	l.tell(event{Kind: evPlanned, N: len(o.Dirs)})
	if err := l.wait(ctx); err != nil {
		return err
	}
	s, err := syncOnce(ctx, db)
	if err != nil {
		return err
	}
	l.tell(event{Kind: evSynced, Sync: s})
	return db.Close()
}

// syncOnce syncs, and says what that did.
func syncOnce(ctx context.Context, db *agentdb.DB) (*synced, error) {
	began := time.Now()
	rep, err := db.Sync(ctx)
	if err != nil {
		return nil, err
	}
	return &synced{
		Took:      time.Since(began),
		Pushed:    rep.Pushed,
		Conflicts: rep.Conflicts,
		IDs:       len(rep.IDs),
		Sent:      rep.BytesSent,
		Received:  rep.BytesReceived,
	}, nil
}
