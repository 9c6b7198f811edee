package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
)

// APITokenSpec says what a token of the Platform API is for.
type APITokenSpec struct {
	// Name tells it from the user's other tokens.
	Name string
	// Username is whose it is; "admin", the first owner, if empty.
	Username string
	// Expires is how long the token is good; forever if zero.
	Expires time.Duration
	// Organization is Config.Organization, for a data directory that no server
	// has used yet.
	Organization string
}

// CreateAPIToken makes a token of the Platform API of the server of a data
// directory, running or not. The catalog is made if there is none yet.
func CreateAPIToken(ctx context.Context, dataDir string, spec APITokenSpec) (token string, err error) {
	if spec.Name == "" || len(spec.Name) > 128 {
		return "", errors.New("server: create API token: its name must have 1 to 128 bytes")
	}
	if spec.Username == "" {
		spec.Username = catalog.DefaultUser
	}
	if spec.Organization == "" {
		spec.Organization = catalog.DefaultOrg
	}
	if _, err := catalog.OpenKey(dataDir); err != nil { // makes the directory
		return "", fmt.Errorf("server: create API token: %w", err)
	}
	store, err := catalog.OpenStore(dataDir, nil)
	if err != nil {
		return "", fmt.Errorf("server: create API token: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := store.Bootstrap(ctx, spec.Organization); err != nil {
		return "", fmt.Errorf("server: create API token: %w", err)
	}
	t := catalog.APIToken{Name: spec.Name, Username: spec.Username}
	if spec.Expires > 0 {
		t.Expires = time.Now().Add(spec.Expires)
	}
	t, secret, err := store.CreateAPIToken(ctx, t)
	if err == nil {
		err = auditToken(ctx, store, spec.Organization, &t)
	}
	if err != nil {
		return "", fmt.Errorf("server: create API token: %w", err)
	}
	return string(secret), nil
}

// auditToken notes an API token that the operator made.
func auditToken(ctx context.Context, store *catalog.Store, org string, t *catalog.APIToken) error {
	about := map[string]any{"id": t.ID, "token": t.Name, "username": t.Username}
	if !t.Expires.IsZero() {
		about["expires_at"] = t.Expires
	}
	data, err := json.Marshal(about)
	if err != nil {
		return err
	}
	return store.AuditUser(ctx, t.Username, catalog.AuditEntry{
		Org: org, Code: "api-token-create", Message: "made an API token", Origin: "cli", Author: "operator", Data: data,
	})
}
