package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthCmd is "agentdb health": it asks the server of this machine whether it is
// ready, for a container that has no other program.
type healthCmd struct {
	Listen  string        `default:"127.0.0.1:8080" help:"Address that the server listens on."`
	Timeout time.Duration `default:"5s" help:"How long to wait for its answer."`
}

// Run implements the command. A server that speaks HTTPS is asked by it; its
// certificate is for the names of others, and isn't looked at.
func (h *healthCmd) Run(c *console) error {
	host, port, err := net.SplitHostPort(h.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.Timeout)
	defer cancel()
	address := "://" + net.JoinHostPort(host, port) + "/readyz"
	status, body, err := ask(ctx, "http"+address)
	if err == nil && status == http.StatusBadRequest {
		status, body, err = ask(ctx, "https"+address)
	}
	switch {
	case err != nil:
		return errors.New(err.Error()) // not explained as that of a command with --api-url
	case status != http.StatusOK:
		return errors.New(body)
	}
	_, err = fmt.Fprintln(c.out, body)
	return err
}

func ask(ctx context.Context, url string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	t := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer t.CloseIdleConnections()
	res, err := (&http.Client{Transport: t}).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	return res.StatusCode, strings.TrimSpace(string(b)), err
}
