package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agentdb/agentdb"
)

// How long a worker waits for the network, and for the others' last packages.
const (
	offlinePause = 50 * time.Millisecond
	idlePause    = 50 * time.Millisecond
)

// worker is one worker's process, with a file of its own.
type worker struct {
	orders
	db      *agentdb.DB
	link    *link
	offline bool // what the last sync said
	kept    int  // packages indexed since the last sync that succeeded
}

// work claims tasks, indexes their packages and sends them, until the swarm is
// done. A worker that was killed starts like any other: its file has what it
// did, and the tasks that it had claimed are still its own.
func work(ctx context.Context, o orders, l *link) error {
	db, err := agentdb.Open(ctx, o.File, &agentdb.Options{URL: o.URL})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	w := &worker{orders: o, db: db, link: l}
	if err := w.begin(ctx); err != nil {
		return err
	}
	for {
		tasks, err := w.tasks(ctx)
		if err != nil {
			return err
		}
		if len(tasks) == 0 {
			break
		}
		for _, t := range tasks {
			if err := w.do(ctx, t); err != nil {
				return err
			}
		}
	}
	if err := w.finish(ctx); err != nil {
		return err
	}
	return db.Close()
}

// begin makes the tables, joins the database and waits for the start.
func (w *worker) begin(ctx context.Context) error {
	if _, err := w.db.Exec(ctx, schema); err != nil {
		return err
	}
	if err := w.syncUntilOnline(ctx); err != nil {
		return err
	}
	w.link.tell(event{Kind: evReady})
	return w.link.wait(ctx)
}

// tasks returns the worker's open tasks. If there are none it claims some; none
// at all are left when it returns an empty list.
func (w *worker) tasks(ctx context.Context) ([]task, error) {
	for {
		tasks, err := agentdb.All[task](ctx, w.db, "SELECT id, dir FROM tasks WHERE worker = ? AND state = 'claimed' ORDER BY id", w.Name)
		if err != nil || len(tasks) > 0 {
			return tasks, err
		}
		n, err := w.claim(ctx)
		switch {
		case errors.Is(err, agentdb.ErrOffline):
			if err := w.stuck(ctx); err != nil {
				return nil, err
			}
		case err != nil || n == 0:
			return nil, err
		}
	}
}

var errNothingToDo = errors.New("nothing to do")

// claim takes some open tasks. UpdateOnServer counts only if the server took
// the transaction as it is: of two workers that want the same task at the same
// time, one has its function run again, and finds other tasks.
func (w *worker) claim(ctx context.Context) (int, error) {
	var n, runs int
	before, began := w.db.Status(), time.Now()
	err := w.db.UpdateOnServer(ctx, func(tx *agentdb.Tx) error {
		runs++
		res, err := tx.Exec(ctx, `
			UPDATE tasks SET state = 'claimed', worker = ?
			WHERE id IN (SELECT id FROM tasks WHERE state = 'todo' ORDER BY id LIMIT ?)`, w.Name, w.Batch)
		if err == nil && res.RowsAffected == 0 {
			err = errNothingToDo
		}
		n = int(res.RowsAffected)
		return err
	})
	if errors.Is(err, errNothingToDo) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	after := w.db.Status()
	w.link.tell(event{Kind: evClaimed, N: n, Runs: runs, Sync: &synced{
		Took: time.Since(began), Sent: after.BytesSent - before.BytesSent, Received: after.BytesReceived - before.BytesReceived,
	}})
	return n, w.link.wait(ctx)
}

// do indexes one package. Without a network it goes on all the same.
func (w *worker) do(ctx context.Context, t task) error {
	if err := index(ctx, w.db, w.Source, t); err != nil {
		return err
	}
	w.kept++
	w.link.tell(event{Kind: evIndexed, Dir: t.Dir, N: w.kept})
	return w.sync(ctx)
}

// sync syncs if there is a network, and notices whether there is.
func (w *worker) sync(ctx context.Context) error {
	s, err := syncOnce(ctx, w.db)
	switch {
	case errors.Is(err, agentdb.ErrOffline):
		if !w.offline {
			w.offline = true
			w.link.tell(event{Kind: evOffline, N: w.kept})
		}
		return nil
	case err != nil:
		return fmt.Errorf("sync: %w", err)
	}
	if w.offline {
		w.offline = false
		w.link.tell(event{Kind: evOnline, N: w.kept})
	}
	w.kept = 0
	w.link.tell(event{Kind: evSynced, Sync: s})
	return nil
}

// stuck waits for the network when there is nothing to do without it.
func (w *worker) stuck(ctx context.Context) error {
	w.offline = true
	w.link.tell(event{Kind: evStuck, N: w.kept})
	return w.syncUntilOnline(ctx)
}

func (w *worker) syncUntilOnline(ctx context.Context) error {
	for {
		if err := w.sync(ctx); err != nil || !w.offline {
			return err
		}
		if err := sleep(ctx, offlinePause); err != nil {
			return err
		}
	}
}

// finish waits until everybody is done, and says what the worker's file holds then.
func (w *worker) finish(ctx context.Context) error {
	for {
		if err := w.sync(ctx); err != nil {
			return err
		}
		open, err := agentdb.Get[int](ctx, w.db, "SELECT count(*) FROM tasks WHERE state <> 'done'")
		if err != nil {
			return err
		}
		if open == 0 && !w.offline {
			break
		}
		if err := sleep(ctx, idlePause); err != nil {
			return err
		}
	}
	c, err := readContent(ctx, w.db, w.Query)
	if err != nil {
		return err
	}
	w.link.tell(event{Kind: evFinished, Found: c})
	return nil
}

// sleep waits, but not longer than the context.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
