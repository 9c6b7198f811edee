package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// Config is what New needs to know. Only DataDir has no default.
type Config struct {
	// DataDir holds everything the server keeps: the history of all
	// databases, the signing key, and cached files. It is created if it
	// doesn't exist. One server at a time uses it.
	DataDir string
	// Dev asks for no tokens, and creates a database at its first use. Serve
	// then refuses to listen on anything but a loopback address.
	Dev bool
	// Domain is the server's own host name. With it NAME.Domain is the
	// database NAME and every other host is the database "default". Without
	// it the first label of any host that has a dot, and is not an IP
	// address, is the name: agent7.localhost, agent7.example.com.
	Domain string
	// Organization is the name that Turso's API would have for the owner of
	// the server. With it the hosts NAME-Organization and
	// NAME--GROUP--Organization, which that API and its clients make, are the
	// database NAME too. A database whose own name ends so has no host.
	Organization string
	// Issuers are others whose tokens are taken beside the server's own.
	Issuers []Issuer
	// TLS makes Serve speak HTTPS. None by default.
	TLS *tls.Config
	// Retention is how long old revisions are kept. For ever by default. It
	// bounds how far back a database can be restored, forked or exported, and
	// how long a replica may stay away before it gets a snapshot.
	Retention time.Duration
	// CompactRate is how many bytes per second compactions of the history write
	// at most, so that they leave the disk to requests. They go faster while
	// commits have to wait for them. No limit by default.
	CompactRate int64
	// ExpiredExport is a directory that databases are exported to, as files
	// NAME-ID.db, before they are deleted because their time is over. By default
	// they are deleted.
	ExpiredExport string
	// Logger gets one line per request at level info. None by default.
	Logger *slog.Logger
	// TracerProvider takes spans of requests, of opening databases, and of their
	// commits. None by default. The header traceparent names their parents.
	TracerProvider trace.TracerProvider
	// Limits protect the server and its tenants from one another.
	Limits Limits
}

// Issuer is an identity provider, or an orchestrator, whose JSON Web Tokens open
// databases: they have "db", a database's name, or "o" and "g", an organisation
// and a group of it, and "a", the access, and an end.
type Issuer struct {
	// URL is what its tokens have as "iss".
	URL string
	// JWKS is where its public keys are; if empty, where the document at
	// URL/.well-known/openid-configuration says. They are fetched when they are
	// needed, and again after ten minutes.
	JWKS string
	// Audience is what its tokens must have as "aud"; if empty, anything.
	Audience string
}

// Limits of a server; a zero field is its default.
type Limits struct {
	// MaxBody is the largest request body in bytes, 64 MiB by default.
	MaxBody int64
	// MaxDecoded is the same once decompressed, 256 MiB by default.
	MaxDecoded int64
	// MaxTransaction is the largest transaction that a replica may push, in bytes, encoded;
	// 128 MiB by default.
	MaxTransaction int64
	// MaxMemory bounds the request bodies being worked on at any time, in
	// bytes, compressed and decompressed; 1 GiB by default. Requests above
	// it are turned away for a moment.
	MaxMemory int64
	// MaxConnections is how many connections Serve has open; 10,000 by
	// default. Those above it get an error.
	MaxConnections int
	// MaxHeader is the largest request header in bytes, 16 KiB by default.
	MaxHeader int
	// MaxUpload is the largest file, in bytes, that the Platform API makes a
	// database from; 1 GiB by default.
	MaxUpload int64
	// Rates bound how often databases and tokens are used. No limits by default.
	Rates RateLimits
	// MaxWait is how long a client may wait for news in one request, 50 s by
	// default; a client that asks for more gets this much.
	MaxWait time.Duration
	// MaxAnswer is the largest answer to SQL that is gathered before it is
	// sent, in bytes; 64 MiB by default.
	MaxAnswer int64
	// MaxTemp is how many bytes of temporary files a SQL statement may use, for
	// what it sorts and gathers; 1 GiB by default. All statements together may
	// use four times as many.
	MaxTemp int64
	// StatementTimeout bounds the time that a request's changes, or a SQL
	// statement, may take to execute, 30 s by default.
	StatementTimeout time.Duration
	// BusyTimeout is how long a request waits for a database that somebody
	// else writes to, 10 s by default.
	BusyTimeout time.Duration
	// TransactionIdle is how long a SQL transaction waits for its client's
	// next request before it is rolled back, 5 s by default: nobody else can
	// use the database meanwhile. A cursor whose client takes no rows for as
	// long is cut off.
	TransactionIdle time.Duration
	// TransactionTime bounds the time of a SQL transaction over several
	// requests, and of sending a cursor's rows of one statement; one minute
	// by default.
	TransactionTime time.Duration
	// IOTimeout is how long the server waits for a client that neither
	// sends nor takes bytes in the middle of a message, 30 s by default.
	IOTimeout time.Duration
	// IdleTimeout is how long a connection is kept between requests, 3
	// minutes by default.
	IdleTimeout time.Duration
	// DrainTime is how long Serve goes on when it is told to stop, while /readyz
	// says that it isn't ready, so that a balancer sends requests elsewhere. None
	// by default.
	DrainTime time.Duration
	// ShutdownTimeout is how long Serve waits for requests under way when
	// it is told to stop, 10 s by default.
	ShutdownTimeout time.Duration
}

// defaults fills the zero fields of a Config, and checks the others.
func (c Config) defaults() (Config, error) {
	if c.DataDir == "" {
		return c, errors.New("server: Config.DataDir is empty")
	}
	c.Domain = strings.ToLower(strings.Trim(c.Domain, "."))
	if strings.ContainsAny(c.Domain, ":/ ") {
		return c, fmt.Errorf("server: Config.Domain %q is not a host name", c.Domain)
	}
	if c.Organization != "" {
		if _, err := tenant.ParseName(c.Organization); err != nil {
			return c, fmt.Errorf("server: Config.Organization %q is not the part of a host name", c.Organization)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	l := &c.Limits
	orDefault(&l.MaxBody, 64<<20)
	orDefault(&l.MaxDecoded, 256<<20)
	orDefault(&l.MaxTransaction, 128<<20)
	orDefault(&l.MaxMemory, 1<<30)
	orDefault(&l.MaxUpload, 1<<30)
	orDefault(&l.MaxConnections, 10_000)
	orDefault(&l.MaxHeader, 16<<10)
	orDefault(&l.MaxWait, 50*time.Second)
	orDefault(&l.MaxAnswer, 64<<20)
	orDefault(&l.MaxTemp, 1<<30)
	orDefault(&l.StatementTimeout, 30*time.Second)
	orDefault(&l.BusyTimeout, 10*time.Second)
	orDefault(&l.TransactionIdle, 5*time.Second)
	orDefault(&l.TransactionTime, time.Minute)
	orDefault(&l.IOTimeout, 30*time.Second)
	orDefault(&l.IdleTimeout, 3*time.Minute)
	orDefault(&l.ShutdownTimeout, 10*time.Second)
	if l.MaxBody < wire.PageSize || l.MaxDecoded < wire.PageSize || l.MaxTransaction < wire.PageSize {
		return c, fmt.Errorf("server: a limit of Config.Limits is below %d bytes", wire.PageSize)
	}
	return c, nil
}

func orDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
