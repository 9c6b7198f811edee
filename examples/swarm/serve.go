package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/agentdb/agentdb/server"
)

// serve is the server's process: every database below one data directory.
func serve(ctx context.Context, o orders, l *link) error {
	srv, err := server.New(server.Config{
		DataDir: o.Dir,
		Dev:     true,
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		l.tell(event{Kind: evListening, Addr: ln.Addr().String()})
		err = srv.Serve(ctx, ln)
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, srv.Close(stop))
}
