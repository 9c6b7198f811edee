package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// grant is what a request may do with its database.
type grant struct {
	access tenant.Access
	create bool // create the database if there is none
	scope  *tenant.Scope
}

// authorizeSync returns the database that a sync is for, and what it may do
// there.
func (s *Server) authorizeSync(w *recorder, r *http.Request) (string, grant, error) {
	name, c, err := s.requestClaims(w, r)
	var g grant
	if err == nil {
		g.scope, err = scopeOf(c)
	}
	if c.Access.CanPull() {
		g.access |= tenant.AccessPull
	}
	if c.Access.CanPush() {
		g.access |= tenant.AccessPush
		g.create = g.scope == nil
	}
	return name, g, err
}

// authorizeSQL is the same for a SQL client.
func (s *Server) authorizeSQL(w *recorder, r *http.Request) (string, tenant.SessionConfig, error) {
	name, c, err := s.requestClaims(w, r)
	if err != nil {
		return "", tenant.SessionConfig{}, err
	}
	cfg, err := sqlAccess(c)
	return name, cfg, err
}

// sqlAccess returns what claims allow a SQL client.
func sqlAccess(c catalog.Claims) (tenant.SessionConfig, error) {
	scope, err := scopeOf(c)
	if err != nil {
		return tenant.SessionConfig{}, err
	}
	switch c.Access {
	case catalog.AccessFull:
		return tenant.SessionConfig{Write: true, Create: scope == nil, Author: "sql", Scope: scope}, nil
	case catalog.AccessRead:
		return tenant.SessionConfig{Author: "sql", Scope: scope}, nil
	}
	return tenant.SessionConfig{}, &problem{code: CodeForbidden, message: "the token allows sync only: use one with access full or read for SQL"}
}

// scopeOf returns the tables that claims are for.
func scopeOf(c catalog.Claims) (*tenant.Scope, error) {
	scope, err := tenant.ParseScope(c.Permissions())
	if err != nil {
		return nil, &problem{code: CodeUnauthorized, message: "the token's permissions for tables are not ones that this server knows: get another token", err: err}
	}
	return scope, nil
}

// errWhole refuses what carries all tables.
var errWhole = &problem{code: CodeForbidden, message: "the token is for some tables only, and this carries whole databases: use SQL over HTTP, send changes in push mode, or use a token that has all:data_read, or no tables"}

// requestClaims is claims for the name and the token in a request, which w is to
// know of.
func (s *Server) requestClaims(w *recorder, r *http.Request) (string, catalog.Claims, error) {
	var token catalog.Token
	var err error
	if s.cfg.Dev {
		err = checkOrigin(r)
	} else {
		token, err = bearer(r.Header)
	}
	if err != nil {
		return "", catalog.Claims{}, err
	}
	name, said, err := s.verify(s.namedDatabase(r), string(token))
	var c catalog.Claims
	if err == nil {
		c, err = s.applyPolicy(name, said)
	}
	if err == nil {
		err = s.spend(name, string(token))
	}
	if err == nil && r.Header.Get("X-Turso-Encryption-Key") != "" {
		err = errEncryption
	}
	w.db, w.allowed = name, allowed{said, c.Access}
	return name, c, err
}

// errEncryption refuses clients that believe that their data is encrypted.
var errEncryption = &problem{code: CodeUnsupported, message: "this server doesn't encrypt with keys of clients: leave out the option for remote encryption, and encrypt the server's disk"}

// claims returns the database that a request is for, and what its token says;
// in dev mode everything. A request that names no database is for the one that
// its token is for.
func (s *Server) claims(name, token string) (string, catalog.Claims, error) {
	name, c, err := s.verify(name, token)
	if err == nil {
		c, err = s.applyPolicy(name, c)
	}
	return name, c, err
}

// verify is claims as the token alone says them.
func (s *Server) verify(name, token string) (string, catalog.Claims, error) {
	c := catalog.Claims{Database: catalog.AnyDatabase, Access: catalog.AccessFull}
	if !s.cfg.Dev {
		var err error
		if c, err = s.verifier.Verify(catalog.Token(token)); err != nil {
			return "", c, err
		}
	}
	switch {
	case name == "" && c.Database != catalog.AnyDatabase:
		name = c.Database
	case name == "":
		name = defaultDatabase
	}
	name, err := tenant.ParseName(name)
	return name, c, err
}

// applyPolicy checks claims against what the catalog says of the database, and
// returns what is left of them.
func (s *Server) applyPolicy(name string, c catalog.Claims) (catalog.Claims, error) {
	var p *catalog.Policy
	if s.store != nil {
		var err error
		if p, err = s.store.Policy(name); err != nil {
			return catalog.Claims{}, err
		}
	}
	if err := c.For(name, p); err != nil || p == nil || !p.Known {
		if err != nil {
			c = catalog.Claims{}
		}
		return c, err
	}
	if p.State != catalog.StateReady || p.Expired(time.Now()) {
		return catalog.Claims{}, &problem{code: CodeNotFound, message: "there is no such database any more, or not yet"}
	}
	if p.Idle > 0 {
		s.api.Used(name)
	}
	if c.Access = c.Access.Without(p.BlockReads, p.BlockWrites); c.Access == 0 {
		return c, &problem{code: CodeForbidden, message: "the configuration of the database blocks this: see block_reads and block_writes"}
	}
	return c, nil
}

// bearer returns the token of a request.
func bearer(h http.Header) (catalog.Token, error) {
	v := h.Get("Authorization")
	if v == "" {
		return "", &problem{code: CodeUnauthorized, message: "this server asks for a token: make one with 'agentdb token create NAME'"}
	}
	scheme, token, _ := strings.Cut(v, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", &problem{code: CodeUnauthorized, message: "the Authorization header must be 'Bearer TOKEN'"}
	}
	return catalog.Token(strings.TrimSpace(token)), nil
}

// checkOrigin turns away web pages of other sites: without tokens, any page in
// the developer's browser could otherwise write to the databases.
func checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" && strings.HasPrefix(r.UserAgent(), "Mozilla/") {
		origin = "http://" + r.Host // that of a page whose name has come to mean this machine
	}
	if origin == "" {
		return nil
	}
	if u, err := url.Parse(origin); err == nil && isLoopback(u.Host) {
		return nil
	}
	return &problem{code: CodeForbidden, message: "a server in dev mode takes no requests of web pages from elsewhere"}
}

// permit checks that the grant covers what a sync asks for.
func (g grant) permit(req *wire.Request) error {
	pushes := len(req.Changes) > 0 || req.Strict != nil || req.Mode&wire.ModeMoves != 0
	if pushes && !g.access.Has(tenant.AccessPush) {
		return &problem{code: CodeForbidden, message: "the token, or the database's configuration, doesn't allow sending changes: use one with access full or push, or open the database in pull mode"}
	}
	if req.Mode&(wire.ModePull|wire.ModeSnapshot) != 0 && !g.scope.ReadsAll() {
		return errWhole
	}
	if req.Mode&(wire.ModePull|wire.ModeSnapshot) != 0 && !g.access.Has(tenant.AccessPull) {
		return &problem{code: CodeForbidden, message: "the token, or the database's configuration, doesn't allow receiving changes: use one with access full, read or pull, or open the database in push mode"}
	}
	return nil
}

// TokenSpec says what a token is for.
type TokenSpec struct {
	// Database is the name of a database, or "*" for all of them.
	Database string
	// Access is full, read, push or pull; full if empty.
	Access string
	// Tables are permissions for tables, such as "tasks:data_read,data_add",
	// "all:data_read", or "read:tasks" and "push:results"; if empty, all tables
	// may be used as Access says.
	Tables []string
	// Expires is how long the token is good; forever if zero.
	Expires time.Duration
	// Subject names whom the token is for, if that matters to anybody.
	Subject string
}

// CreateToken makes a token for the server of a data directory, running or not.
// The signing key is made if there is none yet. The audit log has the token before
// it is returned, though not its text.
func CreateToken(dataDir string, spec TokenSpec) (string, error) {
	if spec.Database != catalog.AnyDatabase {
		if _, err := tenant.ParseName(spec.Database); err != nil {
			return "", fmt.Errorf("server: create token: %w", err)
		}
	}
	c := catalog.Claims{Database: spec.Database, Access: catalog.AccessFull, Subject: spec.Subject, Issued: time.Now()}
	if spec.Access != "" {
		a, err := catalog.ParseAccess(spec.Access)
		if err != nil {
			return "", fmt.Errorf("server: create token: %w", err)
		}
		c.Access = a
	}
	scope, err := tenant.ParseScope(spec.Tables)
	if err != nil {
		return "", fmt.Errorf("server: create token: %w", err)
	}
	c.Tables = strings.Join(scope.Permissions(), "\n")
	switch {
	case spec.Expires < 0:
		return "", fmt.Errorf("server: create token: it would have expired already, %v ago", -spec.Expires)
	case spec.Expires > 0:
		c.Expires = c.Issued.Add(spec.Expires)
	}
	key, err := catalog.OpenKey(dataDir)
	if err != nil {
		return "", fmt.Errorf("server: create token: %w", err)
	}
	t, err := key.Sign(c)
	if err == nil {
		err = noteToken(dataDir, &c, scope)
	}
	if err != nil {
		return "", fmt.Errorf("server: create token: %w", err)
	}
	return string(t), nil
}

// noteToken puts a token that the operator is about to make into the audit log.
func noteToken(dataDir string, c *catalog.Claims, scope *tenant.Scope) (err error) {
	about := map[string]any{"database": c.Database, "access": c.Access.String()}
	if c.Subject != "" {
		about["subject"] = c.Subject
	}
	if c.Tables != "" {
		about["permissions"] = scope.String()
	}
	if !c.Expires.IsZero() {
		about["expires_at"] = c.Expires.UTC().Truncate(time.Second)
	}
	data, err := json.Marshal(about)
	if err != nil {
		return err
	}
	store, err := catalog.OpenStore(dataDir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return store.AuditName(context.Background(), c.Database, catalog.AuditEntry{
		Code: "db-token-create", Message: "made a token for a database", Origin: "cli", Author: "operator", Data: data,
	})
}
