package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/agentdb/agentdb/server"
)

// serveCmd is "agentdb serve".
type serveCmd struct {
	Listen string     `default:"127.0.0.1:8080" help:"Address to listen on."`
	Data   string     `default:"./agentdb-data" type:"path" help:"Directory of the data; made if there is none."`
	Dev    bool       `help:"Ask for no tokens; on loopback only."`
	Domain string     `help:"The server's own host name: NAME.DOMAIN is then database NAME. Default: the first label of any host with a dot."`
	Config configFile `type:"existingfile" placeholder:"FILE" help:"JSON object of these settings, by their long names. Flags go before AGENTDB_… variables, and those before the file."`

	Issuer   []string `placeholder:"URL[=JWKS]" sep:"," help:"Take tokens of this issuer too; its keys are at JWKS, or where its OpenID configuration says."`
	Audience string   `help:"What tokens of other issuers must have as their audience."`

	TLSCert string `name:"tls-cert" type:"path" placeholder:"FILE" help:"Certificate, PEM: the server then speaks HTTPS. Read again when it changes."`
	TLSKey  string `name:"tls-key" type:"path" placeholder:"FILE" help:"Private key of the certificate, PEM."`

	ACME acmeFlags `embed:"" prefix:"acme-"`

	Org string `help:"Name of the organization: NAME-ORG.DOMAIN and NAME--GROUP--ORG.DOMAIN are then database NAME, too."`

	LogLevel  slog.Level `default:"info" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat string     `enum:"text,json" default:"text" help:"How the log is written to standard error: ${enum}."`

	Limits limitFlags `embed:""`

	Retention     lifetime `default:"never" help:"How long old revisions are kept, for restores, forks and exports: 12h, 30d, or never to drop any."`
	CompactRate   byteSize `placeholder:"SIZE" help:"Most bytes per second that compactions of the history write while no commit waits for them. Default: no limit."`
	ExpiredExport string   `type:"path" placeholder:"DIR" help:"Export databases to files here before they are deleted because their time is over."`
}

// limitFlags are the settings of server.Limits.
type limitFlags struct {
	MaxBody        byteSize      `default:"64MiB" help:"Largest request body."`
	MaxTransaction byteSize      `default:"128MiB" help:"Largest transaction that an agent may push."`
	MaxConnections int           `default:"10000" help:"Most connections at a time."`
	MaxTime        time.Duration `default:"30s" help:"Longest time that a request's changes may take to execute."`
	MaxUpload      byteSize      `default:"1GiB" help:"Largest file that a database is made from."`
	MaxWait        time.Duration `default:"50s" help:"Longest wait for news in one request."`
	RateDatabase   rate          `placeholder:"N[:BURST]" help:"Most requests per second for each database, and at once. Default: no limit."`
	RateToken      rate          `placeholder:"N[:BURST]" help:"The same for each token."`
	RateOrg        rate          `placeholder:"N[:BURST]" help:"The same for all databases of an organization together."`
	Drain          time.Duration `default:"0s" help:"How long to go on after SIGTERM while /readyz says no, for a balancer to notice."`
	Shutdown       time.Duration `default:"10s" help:"How long requests under way may go on after SIGTERM."`
}

// limits returns them.
func (l *limitFlags) limits() server.Limits {
	return server.Limits{
		MaxBody: int64(l.MaxBody), MaxDecoded: 4 * int64(l.MaxBody), MaxTransaction: int64(l.MaxTransaction),
		MaxConnections: l.MaxConnections, MaxUpload: int64(l.MaxUpload), MaxWait: l.MaxWait, StatementTimeout: l.MaxTime, ShutdownTimeout: l.Shutdown, DrainTime: l.Drain,
		Rates: server.RateLimits{Database: server.Rate(l.RateDatabase), Token: server.Rate(l.RateToken), Organization: server.Rate(l.RateOrg)},
	}
}

// Run implements the command.
func (s *serveCmd) Run(c *console) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer tuneRuntime()()
	// Listening first: a second server on the port learns of it before it
	// waits for the data directory.
	ln, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if s.Dev && !ln.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return errors.Join(
			fmt.Errorf("--dev asks for no tokens, so it listens on loopback only, not on %s: leave --dev out, or --listen 127.0.0.1:8080", s.Listen),
			ln.Close())
	}
	secure, start, err := s.tls(s.logger(c.err))
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	spans, flush, err := traces(ctx, s.logger(c.err))
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	srv, err := server.New(server.Config{
		TracerProvider: spans,
		TLS:            secure,
		Issuers:        s.issuers(),
		Retention:      time.Duration(s.Retention),
		CompactRate:    int64(s.CompactRate),
		ExpiredExport:  s.ExpiredExport,
		DataDir:        s.Data,
		Dev:            s.Dev,
		Domain:         s.Domain,
		Organization:   s.Org,
		Logger:         s.logger(c.err),
		Limits:         s.Limits.limits(),
	})
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	s.greet(c.out, ln.Addr().String())
	start(ctx)
	err = srv.Serve(ctx, ln)
	stop() // a second signal ends the process at once
	closing, cancel := context.WithTimeout(context.Background(), s.Limits.Shutdown)
	defer cancel()
	closed := srv.Close(closing)
	select {
	case <-srv.Failed(): // err tells why, and so does closed
	default:
		err = errors.Join(err, closed)
	}
	flush()
	return err
}

func (s *serveCmd) issuers() (all []server.Issuer) {
	for _, i := range s.Issuer {
		url, jwks, _ := strings.Cut(i, "=")
		all = append(all, server.Issuer{URL: url, JWKS: jwks, Audience: s.Audience})
	}
	return all
}

func (s *serveCmd) logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: s.LogLevel}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// greet says where the server is and how to get in.
func (s *serveCmd) greet(w io.Writer, addr string) {
	if !s.Dev {
		scheme := "http"
		if s.TLSCert != "" || len(s.ACME.Domain) > 0 {
			scheme = "https"
		}
		fmt.Fprintf(w, "agentdb is serving %s on %s://%s\nA token is required: agentdb token create NAME --data %s\n", s.Data, scheme, addr, s.Data)
		return
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = addr, ""
	}
	fmt.Fprintf(w, `agentdb is serving %s in dev mode, on loopback and without tokens.

  http://%s/db/NAME, or http://NAME.localhost:%s, is the database NAME; it is created at its first use.

Connect from Go:

  db, err := agentdb.Open(ctx, "agent.db", &agentdb.Options{URL: "http://%s/db/tasks"})
  _, err = db.Exec(ctx, "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT)")
  report, err := db.Sync(ctx)

Or look into it: agentdb shell http://%s/db/tasks
`, s.Data, addr, port, net.JoinHostPort(host, port), addr)
}
