// Package loopback gives the examples a server to talk to: the one that
// AGENTDB_URL names, or else one in this very process. A real agent takes the
// URL of its server from its configuration; see "agentdb serve --dev".
package loopback

import (
	"context"
	"net"
	"os"

	"github.com/agentdb/agentdb/server"
)

// Database returns the URL of a database. Call stop when it isn't needed any more.
func Database(name string) (url string, stop func(), err error) {
	if url := os.Getenv("AGENTDB_URL"); url != "" {
		return url, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "agentdb-example-")
	if err != nil {
		return "", nil, err
	}
	forget := func() { _ = os.RemoveAll(dir) }
	srv, err := server.New(server.Config{DataDir: dir, Dev: true})
	if err != nil {
		forget()
		return "", nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		_ = srv.Close(context.Background())
		forget()
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ctx, ln) // whatever it is, the example's sync will fail
	}()
	stop = func() {
		cancel()
		<-done
		_ = srv.Close(context.Background()) // the data is thrown away next
		forget()
	}
	return "http://" + ln.Addr().String() + "/db/" + name, stop, nil
}
