package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/platform"
)

// remote are the flags of the commands that talk to the Platform API.
type remote struct {
	APIURL   string `name:"api-url" env:"AGENTDB_API_URL" setting:"" default:"http://127.0.0.1:8080" help:"Address of the server's Platform API (${env})."`
	APIToken string `name:"api-token" env:"AGENTDB_API_TOKEN" setting:"" help:"Token for it, from 'agentdb token api' (${env})."`
	Org      string `env:"AGENTDB_ORG" setting:"" help:"Organization; default: the server's own (${env})."`
	JSON     bool   `name:"json" help:"Write JSON, for programs."`
}

// AfterApply hands the flags to the command that is run.
func (r *remote) AfterApply(k *kong.Context) error {
	k.Bind(r)
	return nil
}

func (r *remote) client() *platform.Client {
	return platform.NewClient(platform.Config{Token: r.APIToken, Org: r.Org, BaseURL: r.APIURL})
}

// untilSignal returns a context that SIGINT and SIGTERM end.
func untilSignal() (context.Context, func()) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// explain says of an error what helps.
func explain(err error) string {
	if e := (*platform.Error)(nil); errors.As(err, &e) {
		return e.Message
	}
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	if e := (*net.OpError)(nil); errors.As(err, &e) && e.Op == "dial" && !errors.Is(err, agentdb.ErrOffline) {
		return fmt.Sprintf("no server answers at %s: start one with 'agentdb serve', or say where it is with --api-url", e.Addr)
	}
	return strings.TrimPrefix(err.Error(), "agentdb: ")
}

// point are the flags that name a point in a database's history.
type point struct {
	At       moment  `xor:"point" help:"Point in time: 2026-01-31T12:00:00Z, '2026-01-31 12:00:00' in local time, or 90m for so long ago."`
	Revision *uint64 `xor:"point" help:"Number of a revision."`
}

func (p *point) given() bool { return p.Revision != nil || !p.At.IsZero() }

func (p *point) point() platform.Point {
	switch {
	case p.Revision != nil:
		return platform.AtRevision(*p.Revision)
	case !p.At.IsZero():
		return platform.AtTime(p.At.Time)
	}
	return platform.Point{}
}

// moment is a point in time on the command line.
type moment struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *moment) UnmarshalText(text []byte) error {
	s := string(text)
	var ago lifetime
	if err := ago.UnmarshalText(text); err == nil && ago > 0 {
		m.Time = time.Now().Add(-time.Duration(ago))
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			m.Time = t
			return nil
		}
	}
	return fmt.Errorf("%q is not a time such as 2026-01-31T12:00:00Z, '2026-01-31 12:00:00', or 90m for so long ago", s)
}
