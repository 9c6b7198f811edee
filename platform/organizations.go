package platform

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Organizations are the organizations that the caller is a member of. What has
// to do with members is about the client's own.
type Organizations struct{ c *conn }

// Organization is an organization.
type Organization struct {
	Name          string `json:"name"`
	Slug          string `json:"slug"` // for Config.Org
	Type          string `json:"type"`
	Overages      bool   `json:"overages"`
	BlockedReads  bool   `json:"blocked_reads"`
	BlockedWrites bool   `json:"blocked_writes"`
}

// Member is somebody in an organization.
type Member struct {
	Username string `json:"username"`
	Email    string `json:"email"`
	Role     string `json:"role"` // owner, admin, member or viewer
}

// Invite is an invitation.
type Invite struct {
	Email     string    `json:"email"`
	Role      string    `json:"role"`
	Token     string    `json:"token"` // what accepts it; of a new one only
	CreatedAt time.Time `json:"created_at"`
}

type orgAnswer struct{ Organization *Organization }

// List returns the caller's organizations.
func (s *Organizations) List(ctx context.Context) ([]Organization, error) {
	var raw json.RawMessage
	if err := s.c.get(ctx, "organizations", nil, &raw); err != nil {
		return nil, err
	}
	var ans struct{ Organizations []Organization }
	if len(raw) > 0 && raw[0] == '[' { // as Turso documents it
		return ans.Organizations, json.Unmarshal(raw, &ans.Organizations)
	}
	return ans.Organizations, json.Unmarshal(raw, &ans)
}

// Create makes an organization, with the caller as its owner. agentdb only.
func (s *Organizations) Create(ctx context.Context, slug string) (*Organization, error) {
	var ans orgAnswer
	err := s.c.post(ctx, "organizations", map[string]string{"name": slug, "slug": slug}, &ans)
	return ans.Organization, err
}

// SetOverages sets whether an organization may use more than its plan has.
func (s *Organizations) SetOverages(ctx context.Context, slug string, allowed bool) (*Organization, error) {
	var ans orgAnswer
	err := s.c.patch(ctx, join("organizations", slug), map[string]bool{"overages": allowed}, &ans)
	return ans.Organization, err
}

// Delete deletes an organization that has no databases.
func (s *Organizations) Delete(ctx context.Context, slug string) error {
	return s.c.delete(ctx, join("organizations", slug))
}

// Members returns who is in the client's organization.
func (s *Organizations) Members(ctx context.Context) ([]Member, error) {
	var ans struct{ Members []Member }
	err := s.c.get(ctx, s.c.in("members"), nil, &ans)
	return ans.Members, err
}

// AddMember adds somebody in a role.
func (s *Organizations) AddMember(ctx context.Context, username, role string) error {
	return s.c.post(ctx, s.c.in("members"), map[string]string{"member": username, "role": role}, nil)
}

// SetRole changes somebody's role.
func (s *Organizations) SetRole(ctx context.Context, username, role string) error {
	return s.c.patch(ctx, s.c.in("members", username), map[string]string{"role": role}, nil)
}

// RemoveMember removes somebody.
func (s *Organizations) RemoveMember(ctx context.Context, username string) error {
	return s.c.delete(ctx, s.c.in("members", username))
}

// Invites returns the open invitations.
func (s *Organizations) Invites(ctx context.Context) ([]Invite, error) {
	var ans struct{ Invites []Invite }
	err := s.c.call(ctx, &request{method: http.MethodGet, path: s.c.in("invites"), v2: s.c.org != ""}, &ans)
	return ans.Invites, err
}

// Invite invites somebody. A server of agentdb sends no mail: hand on the token.
func (s *Organizations) Invite(ctx context.Context, email, role string) (*Invite, error) {
	var ans struct{ Invited *Invite }
	body := map[string]string{"email": email, "role": role}
	err := s.c.call(ctx, &request{method: http.MethodPost, path: s.c.in("invites"), json: body, v2: s.c.org != ""}, &ans)
	return ans.Invited, err
}

// DeleteInvite takes an invitation back.
func (s *Organizations) DeleteInvite(ctx context.Context, email string) error {
	return s.c.delete(ctx, s.c.in("invites", email))
}

// Usage returns what all databases of the client's organization have used.
func (s *Organizations) Usage(ctx context.Context) (Usage, error) {
	var ans struct{ Organization struct{ Usage Usage } }
	err := s.c.get(ctx, s.c.in("usage"), nil, &ans)
	return ans.Organization.Usage, err
}

// Backup makes a backup of the whole server while it runs, and returns where it
// is there. It is for owners of the server's own organization. agentdb only.
func (s *Organizations) Backup(ctx context.Context) (path string, err error) {
	var ans struct{ Backup struct{ Path string } }
	err = s.c.call(ctx, &request{method: http.MethodPost, path: s.c.in("backups"), long: true}, &ans)
	return ans.Backup.Path, err
}

// AuditEntry says who did what.
type AuditEntry struct {
	Code      string          `json:"code"` // such as db-create
	Message   string          `json:"message"`
	Origin    string          `json:"origin"`
	Author    string          `json:"author"`
	CreatedAt time.Time       `json:"created_at"`
	Data      json.RawMessage `json:"data"`
}

// auditPage is how many entries are asked for at a time.
const auditPage = 100

// AuditLog yields the entries of the audit log, the newest first. It fetches
// page after page, so that one may come twice if there are new ones meanwhile.
func (s *Organizations) AuditLog(ctx context.Context) iter.Seq2[AuditEntry, error] {
	return func(yield func(AuditEntry, error) bool) {
		for n, last := 1, 1; n <= last; n++ {
			q := url.Values{"page": {strconv.Itoa(n)}, "page_size": {strconv.Itoa(auditPage)}}
			var page struct {
				Entries    []AuditEntry `json:"audit_logs"`
				Pagination struct {
					Pages int `json:"total_pages"`
				}
			}
			if err := s.c.get(ctx, s.c.in("audit-logs"), q, &page); err != nil {
				yield(AuditEntry{}, err)
				return
			}
			for _, e := range page.Entries {
				if !yield(e, nil) {
					return
				}
			}
			last = page.Pagination.Pages
		}
	}
}
