package platform

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/tenant"
)

// noToken is what a server answers that asks for none.
const noToken = "none-needed"

// claims reads what a token for a database shall allow.
func (c *call) claims() (claims catalog.Claims, err error) {
	q := c.URL.Query()
	claims.Access = catalog.AccessFull
	switch v := q.Get("authorization"); v {
	case "", "full-access":
	case "read-only":
		claims.Access = catalog.AccessRead
	default:
		return claims, fail(http.StatusBadRequest, "authorization %q is not one of full-access, read-only", v)
	}
	if v := q.Get("access"); v != "" {
		if claims.Access, err = catalog.ParseAccess(v); err != nil {
			return claims, fail(http.StatusBadRequest, "%v", err)
		}
	}
	if claims.Tables, err = c.permissions(); err != nil {
		return claims, err
	}
	claims.Subject = q.Get("subject")
	claims.Issued = c.api.cfg.Now()
	life, err := parseLifetime(q.Get("expiration"))
	if life > 0 {
		claims.Expires = claims.Issued.Add(life)
	}
	c.audit["access"], c.audit["expiration"] = claims.Access.String(), q.Get("expiration")
	return claims, err
}

// permissions reads the tables that a token shall be for, as Turso's command line
// sends them.
func (c *call) permissions() (string, error) {
	var req struct {
		FineGrained []struct {
			Tables  []string `json:"t"` // none: all
			Actions []string `json:"a"`
		} `json:"fine_grained_permissions"`
	}
	if err := c.body(&req); err != nil {
		return "", err
	}
	var list []string
	for _, p := range req.FineGrained {
		if len(p.Tables) == 0 {
			p.Tables = []string{"all"}
		}
		for _, t := range p.Tables {
			list = append(list, t+":"+strings.Join(p.Actions, ","))
		}
	}
	scope, err := tenant.ParseScope(list)
	if err != nil {
		return "", fail(http.StatusUnprocessableEntity, "%s", strings.TrimPrefix(err.Error(), "tenant: "))
	}
	c.audit["permissions"] = scope.String()
	return strings.Join(scope.Permissions(), "\n"), nil
}

// sign makes a token. The audit log has it before anybody else.
func (c *call) sign(claims catalog.Claims) (_ any, err error) {
	t := catalog.Token(noToken)
	if c.api.cfg.Key != nil {
		t, err = c.api.cfg.Key.Sign(claims)
	}
	if err == nil {
		err = c.write()
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"jwt": string(t)}, nil
}

func (a *API) createDatabaseToken(c *call) (any, error) {
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	claims, err := c.claims()
	if err != nil {
		return nil, err
	}
	claims.Database, claims.Epoch = d.Name, d.Epoch
	return c.sign(claims)
}

func (a *API) createGroupToken(c *call) (any, error) {
	g, err := a.cfg.Store.Group(c.org, c.p("group"))
	if err != nil {
		return nil, err
	}
	claims, err := c.claims()
	if err != nil {
		return nil, err
	}
	claims.Org, claims.Group, claims.Epoch = g.Org, g.Name, g.Epoch
	return c.sign(claims)
}

func (a *API) rotateDatabase(c *call) (any, error) {
	d, err := c.mine()
	if err != nil {
		return nil, err
	}
	return map[string]any{}, a.cfg.Store.RotateDatabase(c.noted(), d.Name, d.ID)
}

func (a *API) rotateGroup(c *call) (any, error) {
	return map[string]any{}, a.cfg.Store.RotateGroup(c.noted(), c.org, c.p("group"))
}

func (a *API) listAPITokens(c *call) (any, error) {
	tokens, err := a.cfg.Store.APITokens(c.user, c.only)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, t := range tokens {
		list = append(list, apiTokenJSON(&t))
	}
	return map[string]any{"tokens": list}, nil
}

func apiTokenJSON(t *catalog.APIToken) map[string]any {
	j := map[string]any{"id": t.ID, "dbId": t.ID, "name": t.Name, "created_at": t.Created}
	if t.Org != "" {
		j["organization"] = t.Org
	}
	if !t.Expires.IsZero() {
		j["expires_at"] = t.Expires
	}
	return j
}

// listOrgAPITokens lists the API tokens for an organization alone: all for an
// admin, for others their own.
func (a *API) listOrgAPITokens(c *call) (any, error) {
	tokens, err := a.cfg.Store.OrgAPITokens(c.org)
	if err != nil {
		return nil, err
	}
	members, err := a.cfg.Store.Members(c.org)
	if err != nil {
		return nil, err
	}
	emails := map[string]string{}
	for _, m := range members {
		emails[m.Username] = m.Email
	}
	list := []any{}
	for _, t := range tokens {
		if c.role < admin && t.Username != c.user {
			continue
		}
		j := apiTokenJSON(&t)
		j["owner"] = map[string]any{"username": t.Username, "email": emails[t.Username]}
		list = append(list, j)
	}
	return map[string]any{"tokens": list}, nil
}

// revokeOrgAPIToken voids one that listOrgAPITokens lists.
func (a *API) revokeOrgAPIToken(c *call) (any, error) {
	username := c.user
	if c.role >= admin {
		username = ""
	}
	err := a.cfg.Store.RevokeOrgAPIToken(c.noted(), username, c.org, c.p("token"), func(t *catalog.APIToken) {
		c.auditToken(t)
		c.audit["username"] = t.Username
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"token": c.p("token")}, nil
}

// tokenOrg returns the organization that a new API token is to be for. One that
// was made with another one is for no more than that.
func (c *call) tokenOrg() (string, error) {
	var req struct {
		Organization, Group string
		Scopes              []string
	}
	if err := c.body(&req); err != nil {
		return "", err
	}
	switch role, err := c.api.cfg.Store.Role(req.Organization, c.user); {
	case err != nil:
		return "", err
	case req.Group != "" || len(req.Scopes) > 0:
		return "", fail(http.StatusUnprocessableEntity, "API tokens for a group, or with scopes, are not made here: leave group and scopes out for one of the organization, or make a token of the group's databases")
	case req.Organization == "":
		return c.only, nil
	case role == catalog.RoleNone, c.only != "" && c.only != req.Organization:
		return "", fail(http.StatusNotFound, "organization %s not found, or you are not a member of it", req.Organization)
	}
	return req.Organization, nil
}

// createAPIToken makes a token of the caller's. It ends with the caller's own at
// the latest, or stealing one would be having it for good. It answers in the form of the first version of the API, or in that
// of the second, which Turso's command line reads.
func (a *API) createAPIToken(c *call) (any, error) {
	life, err := parseLifetime(c.URL.Query().Get("expiration"))
	if err != nil {
		return nil, err
	}
	t := catalog.APIToken{ID: uuid.NewString(), Name: c.p("token"), Username: c.user}
	if t.Org, err = c.tokenOrg(); err != nil {
		return nil, err
	}
	if len(t.Name) > 128 || !visible(t.Name) {
		return nil, fail(http.StatusBadRequest, "the name of an API token has at most 128 bytes, all of them to be seen")
	}
	switch {
	case life > 0:
		t.Expires = a.cfg.Now().Add(life)
	case c.URL.Query().Get("expiration") == "":
		t.Expires = c.until
	}
	if !c.until.IsZero() && (t.Expires.IsZero() || t.Expires.After(c.until)) {
		return nil, fail(http.StatusForbidden, "the API token of this request ends at %s: it can't make one that outlives it", c.until.Format(time.RFC3339))
	}
	c.auditToken(&t)
	t, secret, err := a.cfg.Store.CreateAPIToken(c.noted(), t)
	if errors.Is(err, catalog.ErrExists) {
		err = fail(http.StatusConflict, "an API token named %s already exists", t.Name)
	}
	if err != nil {
		return nil, err
	}
	j := apiTokenJSON(&t)
	if c.second() {
		j["value"] = string(secret)
		return map[string]any{"token": j}, nil
	}
	j["token"] = string(secret)
	return j, nil
}

func (a *API) revokeAPIToken(c *call) (any, error) {
	if err := a.cfg.Store.RevokeAPIToken(c.noted(), c.user, c.only, c.p("token"), c.auditToken); err != nil {
		return nil, err
	}
	return map[string]any{"token": c.p("token")}, nil
}

// auditToken says in the audit log which API token it was; never its secret.
func (c *call) auditToken(t *catalog.APIToken) {
	c.audit["id"], c.audit["token"] = t.ID, t.Name // in the path it may be either
	if t.Org != "" {
		c.audit["organization"] = t.Org
	}
	if !t.Expires.IsZero() {
		c.audit["expires_at"] = t.Expires
	}
}

// validate says until when the caller's token is good: seconds since 1970, or -1
// for ever.
func (a *API) validate(c *call) (any, error) {
	exp := int64(-1)
	if t, err := a.cfg.Store.APIToken(c.bearer()); err == nil && !t.Expires.IsZero() {
		exp = t.Expires.Truncate(time.Second).Unix()
	}
	return map[string]any{"exp": exp}, nil
}
