package platform

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Access is what a token allows.
type Access string

// The accesses.
const (
	AccessFull Access = "full"
	AccessRead Access = "read"
	AccessPush Access = "push" // sending changes by sync only. agentdb only
	AccessPull Access = "pull" // receiving by sync only. agentdb only
)

// TokenOptions say what a token for a database or a group is good for.
type TokenOptions struct {
	Access     Access        // Default AccessFull
	Expiration time.Duration // in whole seconds. Default 0: it never expires
	// Tables are what may be done with which tables, each as TABLE:ACTION,… with
	// data_read, data_add, data_update and data_delete; the table may be all.
	// Default: everything that Access allows, with all tables.
	Tables  []string
	Subject string // whom it is for. Default "": it doesn't say. agentdb only
}

func (o *TokenOptions) query() url.Values {
	q := url.Values{"expiration": {"never"}, "authorization": {"full-access"}}
	if o.Expiration > 0 {
		q.Set("expiration", formatSpan(o.Expiration))
	}
	switch o.Access {
	case "", AccessFull:
	case AccessRead:
		q.Set("authorization", "read-only")
	default:
		// An API that doesn't know the access must not make it full.
		q.Set("authorization", "read-only")
		q.Set("access", string(o.Access))
	}
	if o.Subject != "" {
		q.Set("subject", o.Subject)
	}
	return q
}

// permission is what may be done with tables; none are all tables.
type permission struct {
	Tables  []string `json:"t"`
	Actions []string `json:"a"`
}

func (o *TokenOptions) body() any {
	var list []permission
	for _, p := range o.Tables {
		table, actions := p, ""
		if i := strings.LastIndexByte(p, ':'); i >= 0 {
			table, actions = p[:i], p[i+1:]
		}
		switch {
		case strings.HasPrefix(actions, "data_"):
		case table == "read":
			table, actions = actions, "data_read"
		case table == "push":
			table, actions = actions, "data_add,data_update,data_delete"
		}
		one := permission{Tables: []string{table}, Actions: strings.Split(actions, ",")}
		if table == "all" {
			one.Tables = nil
		}
		list = append(list, one)
	}
	if list == nil {
		return struct{}{}
	}
	return map[string]any{"fine_grained_permissions": list}
}

// token makes a token for a database or a group.
func (c *conn) token(ctx context.Context, path string, o TokenOptions) (string, error) {
	var ans struct{ JWT string }
	err := c.call(ctx, &request{method: http.MethodPost, path: path, query: o.query(), json: o.body()}, &ans)
	return ans.JWT, err
}

// APITokens are the caller's tokens of the API itself.
type APITokens struct{ c *conn }

// APIToken is a token of the API.
type APIToken struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Organization string    `json:"organization"` // the only one that it is for; "": all of the caller's
	CreatedAt    time.Time `json:"created_at"`   // agentdb only
	ExpiresAt    time.Time `json:"expires_at"`   // zero: never. agentdb only
}

// List returns the caller's tokens.
func (s *APITokens) List(ctx context.Context) ([]APIToken, error) {
	var ans struct{ Tokens []APIToken }
	err := s.c.get(ctx, "auth/api-tokens", nil, &ans)
	return ans.Tokens, err
}

// Create makes a token that is good for so long, or as long as the client's own
// if that is 0. One that outlives the client's own is refused. The secret is not
// kept anywhere else. An expiration is agentdb only.
func (s *APITokens) Create(ctx context.Context, name string, expiration time.Duration) (t APIToken, secret string, err error) {
	return s.CreateFor(ctx, "", name, expiration)
}

// CreateFor is Create for a token that is for one organization alone.
func (s *APITokens) CreateFor(ctx context.Context, org, name string, expiration time.Duration) (t APIToken, secret string, err error) {
	r := &request{method: http.MethodPost, path: join("auth/api-tokens", name)}
	if org != "" {
		r.json = map[string]any{"organization": org}
	}
	if expiration > 0 {
		r.query = url.Values{"expiration": {formatSpan(expiration)}}
	}
	var ans struct {
		APIToken
		Token string
	}
	err = s.c.call(ctx, r, &ans)
	return ans.APIToken, ans.Token, err
}

// Revoke voids a token.
func (s *APITokens) Revoke(ctx context.Context, name string) error {
	return s.c.delete(ctx, join("auth/api-tokens", name))
}

// Validate checks the client's own token, and returns until when it is good;
// zero is for ever.
func (s *APITokens) Validate(ctx context.Context) (time.Time, error) {
	var ans struct{ Exp int64 }
	if err := s.c.get(ctx, "auth/validate", nil, &ans); err != nil || ans.Exp <= 0 {
		return time.Time{}, err
	}
	return time.Unix(ans.Exp, 0), nil
}
