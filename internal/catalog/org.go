package catalog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Names of what a new server has.
const (
	DefaultOrg   = "default"
	DefaultGroup = "default"
	DefaultUser  = "admin"
)

// Role is what a member of an organisation may do there.
type Role uint8

// The roles; each may do what those before it may.
const (
	RoleNone   Role = iota
	RoleViewer      // reads
	RoleMember      // makes, changes and removes databases and their tokens
	RoleAdmin       // manages groups and members too
	RoleOwner       // manages the organisation too
)

var roleNames = []string{"none", "viewer", "member", "admin", "owner"}

// String returns the role as it stands in the API.
func (r Role) String() string { return roleNames[min(int(r), len(roleNames)-1)] }

// ParseRole is the inverse of String.
func ParseRole(s string) (Role, error) {
	for i, n := range roleNames[1:] {
		if s == n {
			return Role(i + 1), nil
		}
	}
	return RoleNone, fmt.Errorf("role %q is not one of owner, admin, member, viewer", s)
}

// Org is an organisation.
type Org struct {
	Slug, Name string
	Overages   bool // kept for clients that ask for it
	Created    time.Time
}

// Member is somebody in an organisation.
type Member struct {
	Username, Email string
	Role            Role
}

// Invite is an invitation that was not accepted yet.
type Invite struct {
	ID, Email string
	Role      Role
	Created   time.Time
}

// Bootstrap makes an organisation with a default group and owner, if there is
// none.
func (s *Store) Bootstrap(ctx context.Context, org string) error {
	return s.update(ctx, func(t *tx) error {
		if n, err := t.QueryInt("SELECT count(*) FROM orgs"); err != nil || n > 0 {
			return err
		}
		return t.ensureOrg(org, s.now())
	})
}

// EnsureOrg makes an organisation as Bootstrap does, if there is none of that
// name.
func (s *Store) EnsureOrg(ctx context.Context, org string) error {
	return s.update(ctx, func(t *tx) error { return t.ensureOrg(org, s.now()) })
}

func (t *tx) ensureOrg(org string, now time.Time) error {
	n, err := t.QueryInt("SELECT count(*) FROM orgs WHERE slug = ?", sqlite.Text(org))
	if err != nil || n > 0 {
		return err
	}
	if err := t.insertOrg(Org{Slug: org, Name: org, Created: now}, DefaultUser); err != nil {
		return err
	}
	if _, err := exec(t.Conn, "UPDATE audit SET org = ? WHERE org = ''", org); err != nil { // see AuditName
		return err
	}
	return t.byItself(org, "org-create", "made its own organization", "organization", org, now)
}

func (t *tx) ensureGroup(org, group string, now time.Time) error {
	if err := t.ensureOrg(org, now); err != nil {
		return err
	}
	n, err := t.QueryInt("SELECT count(*) FROM groups WHERE org = ? AND name = ?", sqlite.Text(org), sqlite.Text(group))
	if err != nil || n > 0 {
		return err
	}
	if _, err = t.insertGroup(Group{ID: uuid.NewString(), Org: org, Name: group, Locations: []string{"local"}, Created: now}); err != nil {
		return err
	}
	return t.byItself(org, "group-create", "made a group for databases that clients make", "group", group, now)
}

// insertOrg adds an organisation with its owner and a default group.
func (t *tx) insertOrg(o Org, owner string) error {
	if _, err := exec(t.Conn, "INSERT INTO orgs (slug, name, overages, created) VALUES (?, ?, ?, ?)", o.Slug, o.Name, o.Overages, o.Created); err != nil {
		return kind(err, "")
	}
	if err := t.putMember(o.Slug, Member{Username: owner, Role: RoleOwner}, o.Created); err != nil {
		return err
	}
	_, err := t.insertGroup(Group{ID: uuid.NewString(), Org: o.Slug, Name: DefaultGroup, Locations: []string{"local"}, Created: o.Created})
	return err
}

// CreateOrg adds an organisation, with a default group.
func (s *Store) CreateOrg(ctx context.Context, o Org, owner string) (Org, error) {
	o.Created = s.now()
	return o, named(s.update(ctx, func(t *tx) error { return t.insertOrg(o, owner) }), "organization "+o.Slug)
}

// Orgs returns the organisations that somebody is a member of.
func (s *Store) Orgs(username string) ([]Org, error) {
	return list(s, scanOrg, "SELECT slug, name, overages, orgs.created FROM orgs JOIN members ON org = slug WHERE username = ? ORDER BY slug", username)
}

func scanOrg(st *sqlite.Stmt) Org {
	return Org{st.ColumnText(0), st.ColumnText(1), st.ColumnInt64(2) != 0, fromMillis(st.ColumnInt64(3))}
}

// UpdateOrg changes name and overages of an organisation as fn does.
func (s *Store) UpdateOrg(ctx context.Context, slug string, fn func(*Org) error) (o Org, err error) {
	err = s.update(ctx, func(t *tx) error {
		err := rows(t.Conn, "SELECT slug, name, overages, created FROM orgs WHERE slug = ?", func(st *sqlite.Stmt) {
			o = scanOrg(st)
		}, slug)
		switch {
		case err != nil:
			return err
		case o.Slug == "":
			return ErrNotFound
		}
		if err := fn(&o); err != nil {
			return err
		}
		_, err = exec(t.Conn, "UPDATE orgs SET name = ?, overages = ? WHERE slug = ?", o.Name, o.Overages, slug)
		return err
	})
	return o, named(err, "organization "+slug)
}

// DeleteOrg removes an organisation that has no databases. The last one stays.
// What the audit log has of it is kept under a name that no organisation can
// have: whoever takes the slug next must not read it.
func (s *Store) DeleteOrg(ctx context.Context, slug string) error {
	return named(s.update(ctx, func(t *tx) error {
		if n, err := t.QueryInt("SELECT count(*) FROM orgs"); err != nil || n == 1 {
			return errors.Join(ErrInUse, err)
		}
		n, err := exec(t.Conn, "DELETE FROM orgs WHERE slug = ?", slug)
		if sqlite.IsConstraint(err) {
			return ErrInUse
		}
		if err := found(n, err); err != nil {
			return err
		}
		if err := t.writeNote(); err != nil { // while it has its name
			return err
		}
		epoch, err := t.nextEpoch()
		if err != nil {
			return err
		}
		kept := fmt.Sprintf("%s#%d", slug, epoch)
		_, err = exec(t.Conn, "UPDATE audit SET org = ? WHERE org = ?", kept, slug)
		if err == nil {
			_, err = exec(t.Conn, "UPDATE usage SET org = ? WHERE org = ?", kept, slug)
		}
		return err
	}), "organization "+slug)
}

// Role returns what somebody may do in an organisation; RoleNone also if there
// is no such organisation.
func (s *Store) Role(org, username string) (r Role, err error) {
	var name string
	err = s.view(func(c *sqlite.Conn) error {
		return rows(c, "SELECT role FROM members WHERE org = ? AND username = ?", func(st *sqlite.Stmt) { name = st.ColumnText(0) }, org, username)
	})
	if err != nil || name == "" {
		return RoleNone, err
	}
	return ParseRole(name)
}

// Members returns the members of an organisation.
func (s *Store) Members(org string) ([]Member, error) {
	return list(s, func(st *sqlite.Stmt) Member {
		role, _ := ParseRole(st.ColumnText(2)) // it was written by PutMember
		return Member{st.ColumnText(0), st.ColumnText(1), role}
	}, "SELECT username, email, role FROM members WHERE org = ? ORDER BY username", org)
}

// PutMember adds somebody to an organisation, or changes the role. The last owner
// stays one.
func (s *Store) PutMember(ctx context.Context, org string, m Member) error {
	return named(s.update(ctx, func(t *tx) error {
		if err := t.putMember(org, m, s.now()); err != nil {
			return err
		}
		return t.mustHaveOwner(org)
	}), "member "+m.Username)
}

func (t *tx) putMember(org string, m Member, now time.Time) error {
	_, err := exec(t.Conn, `INSERT INTO members (org, username, email, role, created) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET role = excluded.role, email = iif(excluded.email = '', email, excluded.email)`,
		org, m.Username, m.Email, m.Role.String(), now)
	return kind(err, "organization "+org)
}

func (t *tx) mustHaveOwner(org string) error {
	n, err := t.QueryInt("SELECT count(*) FROM members WHERE org = ? AND role = 'owner'", sqlite.Text(org))
	if err == nil && n == 0 {
		err = fmt.Errorf("the last owner: %w", ErrInUse)
	}
	return err
}

// RemoveMember removes somebody from an organisation.
func (s *Store) RemoveMember(ctx context.Context, org, username string) error {
	return named(s.update(ctx, func(t *tx) error {
		n, err := exec(t.Conn, "DELETE FROM members WHERE org = ? AND username = ?", org, username)
		if err := found(n, err); err != nil {
			return err
		}
		return t.mustHaveOwner(org)
	}), "member "+username)
}

// Invites returns the open invitations of an organisation.
func (s *Store) Invites(org string) ([]Invite, error) {
	return list(s, func(st *sqlite.Stmt) Invite {
		role, _ := ParseRole(st.ColumnText(2)) // it was written by Invite
		return Invite{st.ColumnText(0), st.ColumnText(1), role, fromMillis(st.ColumnInt64(3))}
	}, "SELECT id, email, role, created FROM invites WHERE org = ? ORDER BY email", org)
}

// Invite invites somebody and returns the secret that accepts it. A second
// invitation takes the first one's place.
func (s *Store) Invite(ctx context.Context, org, email string, role Role) (Invite, Token, error) {
	v := Invite{ID: uuid.NewString(), Email: email, Role: role, Created: s.now()}
	secret, hash := newSecret("inv_")
	err := s.update(ctx, func(t *tx) error {
		_, err := exec(t.Conn, "INSERT OR REPLACE INTO invites (org, email, id, role, hash, created) VALUES (?, ?, ?, ?, ?, ?)",
			org, email, v.ID, role.String(), hash, v.Created)
		return kind(err, "organization "+org)
	})
	return v, secret, named(err, "invite "+email)
}

// DeleteInvite takes an invitation back.
func (s *Store) DeleteInvite(ctx context.Context, org, email string) error {
	return named(s.update(ctx, func(t *tx) error {
		n, err := exec(t.Conn, "DELETE FROM invites WHERE org = ? AND email = ?", org, email)
		return found(n, err)
	}), "invite "+email)
}

// newSecret makes a secret of 256 random bits, and the hash that is kept of it.
func newSecret(prefix string) (Token, []byte) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	t := Token(prefix + base64.RawURLEncoding.EncodeToString(b[:]))
	return t, hashSecret(t)
}

func hashSecret(t Token) []byte {
	h := sha256.Sum256([]byte(t))
	return h[:]
}
