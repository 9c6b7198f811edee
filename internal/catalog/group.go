package catalog

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Group is a set of databases that are placed, protected and opened by tokens
// together.
type Group struct {
	ID        string // a UUID
	Org, Name string
	Locations []string // the first is the primary one
	Protected bool     // can't be deleted
	Epoch     int64    // what tokens of the group carry
	Created   time.Time
	Rotated   time.Time // tokens of other issuers before it are void
}

const groupColumns = "org, name, id, locations, protected, epoch, created, rotated"

func scanGroup(st *sqlite.Stmt) Group {
	return Group{
		Org: st.ColumnText(0), Name: st.ColumnText(1), ID: st.ColumnText(2), Locations: strings.Fields(st.ColumnText(3)),
		Protected: st.ColumnInt64(4) != 0, Epoch: st.ColumnInt64(5), Created: fromMillis(st.ColumnInt64(6)), Rotated: fromMillis(st.ColumnInt64(7)),
	}
}

// CreateGroup adds a group.
func (s *Store) CreateGroup(ctx context.Context, g Group) (Group, error) {
	g.ID, g.Created = uuid.NewString(), s.now()
	err := s.update(ctx, func(t *tx) (err error) {
		g.Epoch, err = t.insertGroup(g)
		return err
	})
	return g, named(err, "group "+g.Name)
}

func (t *tx) insertGroup(g Group) (epoch int64, err error) {
	if epoch, err = t.nextEpoch(); err != nil {
		return 0, err
	}
	_, err = exec(t.Conn, "INSERT INTO groups ("+groupColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		g.Org, g.Name, g.ID, strings.Join(g.Locations, " "), g.Protected, epoch, g.Created, g.Rotated)
	return epoch, kind(err, "organization "+g.Org)
}

// Group returns a group.
func (s *Store) Group(org, name string) (g Group, err error) {
	err = s.view(func(c *sqlite.Conn) error { g, err = group(c, org, name); return err })
	return g, named(err, "group "+name)
}

func group(c *sqlite.Conn, org, name string) (g Group, err error) {
	err = rows(c, "SELECT "+groupColumns+" FROM groups WHERE org = ? AND name = ?", func(st *sqlite.Stmt) { g = scanGroup(st) }, org, name)
	if err == nil && g.ID == "" {
		err = ErrNotFound
	}
	return g, err
}

// Groups returns the groups of an organisation, by name.
func (s *Store) Groups(org string) ([]Group, error) {
	return list(s, scanGroup, "SELECT "+groupColumns+" FROM groups WHERE org = ? ORDER BY name", org)
}

// UpdateGroup changes locations and protection of a group as fn does.
func (s *Store) UpdateGroup(ctx context.Context, org, name string, fn func(*Group) error) (g Group, err error) {
	err = s.update(ctx, func(t *tx) error {
		if g, err = group(t.Conn, org, name); err != nil {
			return err
		}
		if err := fn(&g); err != nil {
			return err
		}
		_, err = exec(t.Conn, "UPDATE groups SET locations = ?, protected = ? WHERE org = ? AND name = ?",
			strings.Join(g.Locations, " "), g.Protected, org, name)
		return err
	})
	return g, named(err, "group "+name)
}

// RotateGroup voids all tokens of a group and of its databases.
func (s *Store) RotateGroup(ctx context.Context, org, name string) error {
	return named(s.update(ctx, func(t *tx) error {
		epoch, err := t.nextEpoch()
		if err != nil {
			return err
		}
		n, err := exec(t.Conn, "UPDATE groups SET epoch = ?, rotated = ? WHERE org = ? AND name = ?", epoch, s.now(), org, name)
		if err := found(n, err); err != nil {
			return err
		}
		_, err = exec(t.Conn, "UPDATE databases SET epoch = ?, rotated = ? WHERE org = ? AND grp = ?", epoch, s.now(), org, name)
		t.touched = append(t.touched, everything)
		return err
	}), "group "+name)
}

// TransferGroup gives a group with its databases to another organisation, which
// has none of that name. Tokens of the group are void then, those of its databases
// are not. What was used until then stays the first organisation's.
func (s *Store) TransferGroup(ctx context.Context, org, name, to string) error {
	return named(s.update(ctx, func(t *tx) error {
		if _, err := group(t.Conn, org, name); err != nil {
			return err
		}
		if n, err := t.QueryInt("SELECT count(*) FROM orgs WHERE slug = ?", sqlite.Text(to)); err != nil || n == 0 {
			return errors.Join(ErrNotFound, err)
		}
		if n, err := t.QueryInt("SELECT count(*) FROM groups WHERE org = ? AND name = ?", sqlite.Text(to), sqlite.Text(name)); err != nil || n > 0 {
			return errors.Join(ErrExists, err)
		}
		t.touched = append(t.touched, everything)
		if err := t.Exec("PRAGMA defer_foreign_keys = ON"); err != nil { // until both are moved
			return err
		}
		if _, err := exec(t.Conn, "UPDATE groups SET org = ? WHERE org = ? AND name = ?", to, org, name); err != nil {
			return err
		}
		_, err := exec(t.Conn, "UPDATE databases SET org = ? WHERE org = ? AND grp = ?", to, org, name)
		return err
	}), "group "+name)
}

// DeleteGroup removes a group that has no databases.
func (s *Store) DeleteGroup(ctx context.Context, org, name string) error {
	return named(s.update(ctx, func(t *tx) error {
		g, err := group(t.Conn, org, name)
		switch {
		case err != nil:
			return err
		case g.Protected:
			return ErrProtected
		}
		if _, err = exec(t.Conn, "DELETE FROM groups WHERE org = ? AND name = ?", org, name); sqlite.IsConstraint(err) {
			return ErrInUse
		}
		return err
	}), "group "+name)
}
