package platform

import (
	"net/http"
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/catalog"
)

// route is one operation of the API. The table of them is what the server does,
// what its OpenAPI document is made from, and who may do what.
type route struct {
	method string
	path   string       // below /v1/organizations/{org}/ or /v1/; see global
	global bool         // of no organisation
	role   catalog.Role // least role in the organisation
	code   string       // in the audit log; "": it changes nothing
	says   string       // in the audit log
	do     func(*call) (any, error)
	public bool // needs no token
	wide   bool // not for API tokens of one organisation

	segments []string // of path
}

// Shorter names for the table.
const (
	viewer = catalog.RoleViewer
	member = catalog.RoleMember
	admin  = catalog.RoleAdmin
	owner  = catalog.RoleOwner

	get   = http.MethodGet
	post  = http.MethodPost
	patch = http.MethodPatch
	del   = http.MethodDelete
)

func (a *API) table() []*route { return append(a.orgRoutes(), a.globalRoutes()...) }

func (a *API) orgRoutes() []*route {
	return []*route{
		{method: get, path: "databases", role: viewer, do: a.listDatabases},
		{method: post, path: "databases", role: member, code: "db-create", says: "created a database", do: a.createDatabase},
		{method: post, path: "databases/dumps", role: member, code: "dump-upload", says: "uploaded a dump", do: a.uploadDump},
		{method: get, path: "databases/{database}", role: viewer, do: a.getDatabase},
		{method: del, path: "databases/{database}", role: member, code: "db-delete", says: "deleted a database", do: a.deleteDatabase},
		{method: get, path: "databases/{database}/configuration", role: viewer, do: a.getConfiguration},
		{method: patch, path: "databases/{database}/configuration", role: member, code: "db-configure", says: "configured a database", do: a.configure},
		{method: get, path: "databases/{database}/usage", role: viewer, do: a.databaseUsage},
		{method: get, path: "databases/{database}/stats", role: viewer, do: a.databaseStats},
		{method: get, path: "databases/{database}/instances", role: viewer, do: a.listInstances},
		{method: get, path: "databases/{database}/instances/{instance}", role: viewer, do: a.getInstance},
		{method: post, path: "databases/{database}/auth/tokens", role: member, code: "db-token-create", says: "made a token for a database", do: a.createDatabaseToken},
		{method: post, path: "databases/{database}/auth/rotate", role: member, code: "db-token-rotate", says: "voided the tokens of a database", do: a.rotateDatabase},
		{method: post, path: "databases/{database}/update", role: member, do: a.updateVersion},
		{method: post, path: "databases/{database}/seed", role: member, code: "db-seed", says: "loaded a database", do: a.seedDatabase},
		{method: post, path: "databases/{database}/restore", role: member, code: "db-restore", says: "took a database back to an earlier revision", do: a.restoreDatabase},
		{method: get, path: "databases/{database}/export", role: viewer, do: a.exportDatabase},

		{method: get, path: "groups", role: viewer, do: a.listGroups},
		{method: post, path: "groups", role: admin, code: "group-create", says: "created a group", do: a.createGroup},
		{method: get, path: "groups/{group}", role: viewer, do: a.getGroup},
		{method: del, path: "groups/{group}", role: admin, code: "group-delete", says: "deleted a group", do: a.deleteGroup},
		{method: get, path: "groups/{group}/configuration", role: viewer, do: a.getGroupConfiguration},
		{method: patch, path: "groups/{group}/configuration", role: admin, code: "group-configure", says: "configured a group", do: a.configureGroup},
		{method: get, path: "groups/{group}/usage", role: viewer, do: a.groupUsage},
		{method: post, path: "groups/{group}/locations/{location}", role: admin, code: "group-location-add", says: "added a location to a group", do: a.addLocation},
		{method: del, path: "groups/{group}/locations/{location}", role: admin, code: "group-location-remove", says: "removed a location from a group", do: a.removeLocation},
		{method: post, path: "groups/{group}/auth/tokens", role: admin, code: "group-token-create", says: "made a token for a group", do: a.createGroupToken},
		{method: post, path: "groups/{group}/auth/rotate", role: admin, code: "group-token-rotate", says: "voided the tokens of a group", do: a.rotateGroup},
		{method: post, path: "groups/{group}/update", role: admin, do: a.updateGroup},
		{method: post, path: "groups/{group}/unarchive", role: admin, do: a.getGroup},
		{method: post, path: "groups/{group}/transfer", role: admin, code: "group-transfer", says: "gave a group to another organization", do: a.transferGroup},
		{method: get, path: "members", role: viewer, do: a.listMembers},
		{method: post, path: "members", role: admin, code: "member-add", says: "added a member", do: a.addMember},
		{method: post, path: "members/{username}", role: admin, code: "member-add", says: "added a member", do: a.addMember},
		{method: get, path: "members/{username}", role: viewer, do: a.getMember},
		{method: patch, path: "members/{username}", role: admin, code: "member-update", says: "changed a member's role", do: a.updateMember},
		{method: del, path: "members/{username}", role: admin, code: "member-remove", says: "removed a member", do: a.removeMember},
		{method: get, path: "invites", role: admin, do: a.listInvites},
		{method: post, path: "invites", role: admin, code: "member-invite", says: "invited somebody", do: a.invite},
		{method: del, path: "invites/{email}", role: admin, code: "member-invite-delete", says: "took an invitation back", do: a.deleteInvite},
		{method: get, path: "api-tokens", role: viewer, do: a.listOrgAPITokens},
		{method: del, path: "api-tokens/{token}", role: viewer, code: "api-token-revoke", says: "voided an API token", do: a.revokeOrgAPIToken},
		{method: get, path: "audit-logs", role: admin, do: a.auditLog},
		{method: get, path: "usage", role: viewer, do: a.orgUsage},
		{method: post, path: "backups", role: owner, code: "backup", says: "made a backup of the server", do: a.backup},
		{method: get, path: "invoices", role: viewer, do: a.invoices},
		{method: get, path: "plans", role: viewer, do: a.plans},
		{method: get, path: "subscription", role: viewer, do: a.subscription},
		{method: patch, path: "", role: owner, code: "org-update", says: "changed the organization", do: a.updateOrg},
		{method: del, path: "", role: owner, code: "org-delete", says: "deleted the organization", do: a.deleteOrg},
	}
}

func (a *API) globalRoutes() []*route {
	return []*route{
		{method: get, path: "openapi.json", global: true, public: true, do: a.openAPI},
		{method: get, path: "organizations", global: true, do: a.listOrgs},
		{method: post, path: "organizations", global: true, wide: true, code: "org-create", says: "created the organization", do: a.createOrg},
		{method: get, path: "locations", global: true, do: a.locations},
		{method: get, path: "user", global: true, do: a.user},
		{method: get, path: "current-user", global: true, do: a.user},
		{method: get, path: "auth/validate", global: true, do: a.validate},
		{method: get, path: "auth/api-tokens", global: true, do: a.listAPITokens},
		{method: get, path: "auth/api-tokens/validate", global: true, do: a.validate},
		{method: post, path: "auth/api-tokens/{token}", global: true, code: "api-token-create", says: "made an API token", do: a.createAPIToken},
		{method: del, path: "auth/api-tokens/{token}", global: true, code: "api-token-revoke", says: "voided an API token", do: a.revokeAPIToken},
	}
}

// match finds the route of a request and the parts of its path. An organisation
// that is not in the path is the default one.
func (a *API) match(c *call) (*route, error) {
	_, rest := cutSegment(c.URL.EscapedPath())
	rest = strings.TrimSuffix(rest, "/")
	org, inOrg := a.cfg.Org, false
	if below, ok := strings.CutPrefix(rest, "organizations/"); ok {
		named, path, _ := strings.Cut(below, "/")
		if named != "" { // Turso's command line leaves it out, but not its slashes
			org = unescape(named)
		}
		rest, inOrg = strings.TrimPrefix(path, "/"), true
	}
	var segments []string
	if rest != "" {
		segments = strings.Split(rest, "/")
	}
	var allowed []string
	for _, rt := range a.routes {
		params, ok := rt.fits(segments)
		if !ok || rt.global && inOrg || rt.path == "" && !inOrg {
			continue
		}
		if allowed = append(allowed, rt.method); rt.method == get {
			allowed = append(allowed, http.MethodHead)
		}
		if !slices.Contains(allowed, c.Method) {
			continue
		}
		c.params = params
		if !rt.global {
			c.org = org
		}
		return rt, nil
	}
	if allowed != nil {
		c.w.Header().Set("Allow", strings.Join(allowed, ", "))
		return nil, fail(http.StatusMethodNotAllowed, "%s is not possible here", c.Method)
	}
	return nil, fail(http.StatusNotFound, "the API has no such path")
}

// fits compares a path with the route's.
func (rt *route) fits(segments []string) (params map[string]string, ok bool) {
	if len(segments) != len(rt.segments) {
		return nil, false
	}
	params = map[string]string{}
	for i, s := range rt.segments {
		switch {
		case s[0] == '{':
			if segments[i] == "" {
				return nil, false
			}
			params[s[1:len(s)-1]] = unescape(segments[i])
		case s != segments[i]:
			return nil, false
		}
	}
	return params, true
}
