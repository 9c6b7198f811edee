package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// apiTokenPrefix tells API tokens from those of databases.
const apiTokenPrefix = "adb_"

// APIToken opens the Platform API for somebody.
type APIToken struct {
	ID, Name, Username string
	Org                string // the only organisation that it is for; "": all of the user's
	Created            time.Time
	Expires            time.Time // zero: never
}

const apiTokenColumns = "id, name, username, coalesce(org, ''), created, expires"

func scanAPIToken(st *sqlite.Stmt) APIToken {
	return APIToken{st.ColumnText(0), st.ColumnText(1), st.ColumnText(2), st.ColumnText(3), fromMillis(st.ColumnInt64(4)), fromMillis(st.ColumnInt64(5))}
}

// CreateAPIToken makes an API token, with an ID if it has none. The secret is returned here alone: the
// catalog keeps its hash.
func (s *Store) CreateAPIToken(ctx context.Context, t APIToken) (APIToken, Token, error) {
	if t.ID == "" {
		t.ID = uuid.NewString()
	}
	t.Created = s.now()
	secret, hash := newSecret(apiTokenPrefix)
	err := s.update(ctx, func(x *tx) error {
		if _, err := exec(x.Conn, "DELETE FROM api_tokens WHERE username = ? AND name = ? AND expires > 0 AND expires <= ?", t.Username, t.Name, t.Created); err != nil {
			return err // of one that has ended
		}
		_, err := exec(x.Conn, "INSERT INTO api_tokens (id, username, name, org, hash, created, expires) VALUES (?, ?, ?, nullif(?, ''), ?, ?, ?)",
			t.ID, t.Username, t.Name, t.Org, hash, t.Created, t.Expires)
		return kind(err, "organization "+t.Org)
	})
	return t, secret, named(err, "API token "+t.Name)
}

// APIToken returns the token with that secret, or ErrToken or ErrExpired.
func (s *Store) APIToken(secret Token) (t APIToken, err error) {
	if len(secret) > maxToken {
		return t, fmt.Errorf("%w: %d bytes long", ErrToken, len(secret))
	}
	err = s.view(func(c *sqlite.Conn) error {
		return rows(c, "SELECT "+apiTokenColumns+" FROM api_tokens WHERE hash = ?", func(st *sqlite.Stmt) { t = scanAPIToken(st) }, hashSecret(secret))
	})
	switch {
	case err != nil:
		return t, err
	case t.ID == "":
		return t, ErrToken
	case !t.Expires.IsZero() && !s.now().Before(t.Expires):
		return t, ErrExpired
	}
	return t, nil
}

// APITokens returns somebody's API tokens: those for an organisation, or all if
// that is empty.
func (s *Store) APITokens(username, org string) ([]APIToken, error) {
	return list(s, scanAPIToken, "SELECT "+apiTokenColumns+" FROM api_tokens WHERE username = ?1 AND (?2 = '' OR org = ?2) ORDER BY name", username, org)
}

// OrgAPITokens returns the API tokens for an organisation alone.
func (s *Store) OrgAPITokens(org string) ([]APIToken, error) {
	return list(s, scanAPIToken, "SELECT "+apiTokenColumns+" FROM api_tokens WHERE org = ? ORDER BY username, name", org)
}

// RevokeAPIToken voids somebody's API token, named by its name or ID; if org isn't
// empty, only one for that organisation. fn, if it isn't nil, is told first which
// one it is.
func (s *Store) RevokeAPIToken(ctx context.Context, username, org, name string, fn func(*APIToken)) error {
	return s.revoke(ctx, "username = ?1 AND (?2 = '' OR org = ?2) AND (name = ?3 OR id = ?3)", fn, username, org, name)
}

// RevokeOrgAPIToken voids an API token for an organisation, named by its ID; if
// username isn't empty, only one of theirs.
func (s *Store) RevokeOrgAPIToken(ctx context.Context, username, org, id string, fn func(*APIToken)) error {
	return s.revoke(ctx, "(?1 = '' OR username = ?1) AND org = ?2 AND id = ?3", fn, username, org, id)
}

// revoke voids the API token that a condition is true of; the last argument names
// it.
func (s *Store) revoke(ctx context.Context, which string, fn func(*APIToken), username, org, name string) error {
	err := s.update(ctx, func(t *tx) error {
		var revoked APIToken
		err := rows(t.Conn, "DELETE FROM api_tokens WHERE "+which+" RETURNING "+apiTokenColumns,
			func(st *sqlite.Stmt) { revoked = scanAPIToken(st) }, username, org, name)
		if err == nil && revoked.ID == "" {
			err = ErrNotFound
		}
		if err == nil && fn != nil {
			fn(&revoked)
		}
		return err
	})
	return named(err, "API token "+name)
}
