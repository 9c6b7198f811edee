package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// headerTimeout is how long a client may take for a request's header.
const headerTimeout = 10 * time.Second

// Serve answers requests on a listener until ctx ends. Then it isn't ready any
// more, and goes on for Limits.DrainTime. After that it stops accepting,
// answers those that wait for news, waits for the others, and returns nil. It
// closes the listener, not the server; after it only Close is left to do. When the
// disk fails it stops at once, and returns an error.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if s.cfg.Dev && !isLoopback(ln.Addr().String()) {
		return errors.Join(
			fmt.Errorf("server: serve: dev mode asks for no tokens, so it listens on loopback only, not on %s", ln.Addr()),
			ln.Close())
	}
	lim := newLimitListener(ln, s.cfg.Limits.MaxConnections)
	hs := s.httpServer()
	failed := make(chan error, 1)
	go func() {
		if hs.TLSConfig != nil {
			failed <- hs.ServeTLS(lim, "", "")
			return
		}
		failed <- hs.Serve(lim)
	}()
	err := s.until(ctx, failed)
	if err == nil {
		s.draining.Store(true)
		draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Limits.DrainTime)
		err = s.until(draining, failed)
		cancel()
	}
	if err != nil {
		return fmt.Errorf("server: serve: %w", errors.Join(err, hs.Close()))
	}
	err = s.shutDown(ctx, hs)
	if serr := <-failed; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	if broken := s.dbs.Err(); broken != nil {
		err = errors.Join(fmt.Errorf("server: serve: %w", broken), err)
	}
	return err
}

// until waits for the end of ctx, or for the disk to fail. It returns an error if
// what speaks HTTP ended before.
func (s *Server) until(ctx context.Context, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-s.Failed():
	case <-ctx.Done():
	}
	return nil
}

// shutDown ends what waits, and waits for the other requests under way.
func (s *Server) shutDown(ctx context.Context, hs *http.Server) error {
	s.stop()
	s.dbs.Drain()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Limits.ShutdownTimeout)
	defer cancel()
	if err := hs.Shutdown(stop); err != nil {
		return fmt.Errorf("server: serve: requests were cut off after %v: %w", s.cfg.Limits.ShutdownTimeout, errors.Join(err, hs.Close()))
	}
	return nil
}

// httpServer returns what speaks HTTP.
func (s *Server) httpServer() *http.Server {
	hs := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       s.cfg.Limits.IdleTimeout,
		MaxHeaderBytes:    s.cfg.Limits.MaxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ConnState:         s.countConn,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if lc, ok := c.(*limitConn); ok && lc.over {
				return context.WithValue(ctx, overLimit{}, true)
			}
			return ctx
		},
	}
	if s.cfg.TLS != nil {
		hs.TLSConfig = s.cfg.TLS.Clone()
	}
	return hs
}

func (s *Server) countConn(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.metrics.connections.Inc()
	case http.StateClosed, http.StateHijacked:
		s.metrics.connections.Dec()
	}
}

// overLimit is the context key of connections that only get an error.
type overLimit struct{}

// limitListener bounds the connections: those above max are marked to get a
// clear error, and a few of them at a time are enough.
type limitListener struct {
	net.Listener
	slots chan struct{} // one token per open connection
	max   int
	close sync.Once
	done  chan struct{}
}

func newLimitListener(ln net.Listener, limit int) *limitListener {
	extra := 16 + limit/20
	return &limitListener{Listener: ln, slots: make(chan struct{}, limit+extra), max: limit, done: make(chan struct{})}
}

func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitConn{Conn: c, release: func() { <-l.slots }, over: len(l.slots) > l.max}, nil
}

func (l *limitListener) Close() error {
	l.close.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// limitConn gives its slot back when it is closed.
type limitConn struct {
	net.Conn
	release func()
	once    sync.Once
	over    bool
}

func (c *limitConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}
