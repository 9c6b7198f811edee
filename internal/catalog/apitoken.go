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
	Created            time.Time
	Expires            time.Time // zero: never
}

const apiTokenColumns = "id, name, username, created, expires"

func scanAPIToken(st *sqlite.Stmt) APIToken {
	return APIToken{st.ColumnText(0), st.ColumnText(1), st.ColumnText(2), fromMillis(st.ColumnInt64(3)), fromMillis(st.ColumnInt64(4))}
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
		_, err := exec(x.Conn, "INSERT INTO api_tokens (id, username, name, hash, created, expires) VALUES (?, ?, ?, ?, ?, ?)",
			t.ID, t.Username, t.Name, hash, t.Created, t.Expires)
		return kind(err, "")
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

// APITokens returns somebody's API tokens.
func (s *Store) APITokens(username string) ([]APIToken, error) {
	return list(s, scanAPIToken, "SELECT "+apiTokenColumns+" FROM api_tokens WHERE username = ? ORDER BY name", username)
}

// RevokeAPIToken voids somebody's API token, named by its name or ID. fn, if
// it isn't nil, is told first which one it is.
func (s *Store) RevokeAPIToken(ctx context.Context, username, name string, fn func(*APIToken)) error {
	err := s.update(ctx, func(t *tx) error {
		var revoked APIToken
		err := rows(t.Conn, "DELETE FROM api_tokens WHERE username = ? AND (name = ? OR id = ?) RETURNING "+apiTokenColumns,
			func(st *sqlite.Stmt) { revoked = scanAPIToken(st) }, username, name, name)
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
