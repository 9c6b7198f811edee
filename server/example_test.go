package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/agentdb/agentdb/server"
)

// A server of its own process listens, serves until it is told to stop, and is
// closed.
func Example() {
	dir, err := os.MkdirTemp("", "agentdb")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	srv, err := server.New(server.Config{DataDir: dir})
	if err != nil {
		panic(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- srv.Serve(ctx, ln) }()

	res, err := http.Get("http://" + ln.Addr().String() + "/healthz")
	if err != nil {
		panic(err)
	}
	res.Body.Close()
	fmt.Println(res.Status)

	stop()
	fmt.Println(<-served, srv.Close(context.Background()))
	// Output:
	// 200 OK
	// <nil> <nil>
}

// A token is for one database, or for all of them, and for some time.
func ExampleCreateToken() {
	dir, err := os.MkdirTemp("", "agentdb")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	token, err := server.CreateToken(dir, server.TokenSpec{Database: "tasks", Access: "pull", Expires: 24 * time.Hour})
	fmt.Println(token != "", err)
	_, err = server.CreateToken(dir, server.TokenSpec{Database: "Not a name"})
	fmt.Println(err != nil)
	// Output:
	// true <nil>
	// true
}
