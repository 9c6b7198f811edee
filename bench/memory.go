package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// memory measures what our server holds with 10,000 databases of which 200 are in use.
func memory(ctx context.Context, s *settings, r *report) (err error) {
	total, hot := s.scaled(10_000, 400), 200
	l, stop, err := newOurLoad(ctx, s)
	if err != nil {
		return err
	}
	defer stop()
	hotAgents, err := l.agents(agents, hot, "hot")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(hotAgents)) }()
	look := func(what string) (usage, error) {
		if _, err := load(ctx, hotAgents, time.Duration(max(2, 30*s.scale)*float64(time.Second))); err != nil {
			return usage{}, fmt.Errorf("%s: %w", what, err)
		}
		u, err := usageOf(l.product.server.pid())
		progress("server: %s: RSS %s, %d descriptors", what, size.format(u.rss), u.fds)
		return u, err
	}
	few, err := look("200 databases, all hot")
	if err != nil {
		return err
	}
	progress("server: creating %d databases", total-hot)
	coldAgents, err := l.agents(1, total-hot, "cold")
	if err != nil {
		return err
	}
	if err := closeAll(coldAgents); err != nil {
		return err
	}
	many, err := look(fmt.Sprintf("%d databases, 200 hot", total))
	if err != nil {
		return err
	}
	r.add(newRow(fmt.Sprintf("memory with %d databases, 200 hot: RSS", total), size, []float64{many.rss}, "", nil, oursAtMost(300e6)),
		newRow("open descriptors per cold database, the store's files aside", count, []float64{float64(many.fds-many.store-(few.fds-few.store)) / float64(total-hot)}, "", nil, oursAtMost(0)),
		newRow("open descriptors of the store's files", count, []float64{float64(many.store)}, "", nil, target{}),
		newRow("open descriptors in all, 64 of them connections", count, []float64{float64(many.fds)}, "", nil, target{}),
		newRow("memory with 200 databases, all hot: RSS", size, []float64{few.rss}, "", nil, target{}))
	return nil
}
