package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

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
	// For is the only organization that the token is for; all of the user's if
	// empty.
	For string
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
	t := catalog.APIToken{Name: spec.Name, Username: spec.Username, Org: spec.For}
	if spec.Expires > 0 {
		t.Expires = time.Now().Add(spec.Expires)
	}
	t.ID = uuid.NewString()
	_, secret, err := store.CreateAPIToken(catalog.WithNote(ctx, noteOf(&t, spec.Organization)), t)
	if err != nil {
		return "", fmt.Errorf("server: create API token: %w", err)
	}
	return string(secret), nil
}

// noteOf is the audit log's entry of an API token that the operator makes.
func noteOf(t *catalog.APIToken, org string) *catalog.Note {
	about := map[string]any{"id": t.ID, "token": t.Name, "username": t.Username}
	if t.Org != "" {
		about["organization"] = t.Org
	}
	if !t.Expires.IsZero() {
		about["expires_at"] = t.Expires
	}
	return &catalog.Note{User: t.Username, Own: org, Entry: func() (catalog.AuditEntry, error) {
		data, err := json.Marshal(about)
		return catalog.AuditEntry{Code: "api-token-create", Message: "made an API token", Origin: "cli", Author: "operator", Data: data}, err
	}}
}
