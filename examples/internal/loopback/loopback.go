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
	dir, forget, err := directory()
	if err != nil {
		return "", nil, err
	}
	host, stop, err := serve(server.Config{DataDir: dir, Dev: true}, forget)
	return "http://" + host + "/db/" + name, stop, err
}

// Platform returns the URL of a Platform API, of a server that asks for tokens,
// and a token for it: those in AGENTDB_API_URL and AGENTDB_API_TOKEN, or of a
// server in this very process. Call stop when it isn't needed any more.
func Platform(ctx context.Context) (url, token string, stop func(), err error) {
	if url := os.Getenv("AGENTDB_API_URL"); url != "" {
		return url, os.Getenv("AGENTDB_API_TOKEN"), func() {}, nil
	}
	dir, forget, err := directory()
	if err != nil {
		return "", "", nil, err
	}
	token, err = server.CreateAPIToken(ctx, dir, server.APITokenSpec{Name: "example"})
	if err != nil {
		forget()
		return "", "", nil, err
	}
	host, stop, err := serve(server.Config{DataDir: dir}, forget)
	return "http://" + host, token, stop, err
}

func directory() (dir string, forget func(), err error) {
	dir, err = os.MkdirTemp("", "agentdb-example-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// serve runs a server on a free port until stop is called, and then forgets its
// data.
func serve(cfg server.Config, forget func()) (host string, stop func(), err error) {
	srv, err := server.New(cfg)
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
	return ln.Addr().String(), func() {
		cancel()
		<-done
		_ = srv.Close(context.Background()) // the data is thrown away next
		forget()
	}, nil
}
