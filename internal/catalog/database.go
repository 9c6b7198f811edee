package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// State is how far a database has come.
type State uint8

// The states. What a crash leaves creating or deleting is removed at the next
// start; what is expired stays so until it is exported, if it is to be.
const (
	// StateReady: it can be used.
	StateReady State = iota
	// StateCreating: its first contents are being written.
	StateCreating
	// StateDeleting: it is being removed.
	StateDeleting
	// StateExpired: its time is over, and it will be removed.
	StateExpired
)

// Database is what the catalog keeps of a database.
type Database struct {
	ID    string // a UUID, its own for good
	Name  string // unique on the server
	Org   string
	Group string
	State State

	Parent   string // ID of the database that it was forked from, or ""
	ForkedAt uint64 // revision of the parent

	Created time.Time
	Expires time.Time     // when it is removed by itself; zero: never
	Idle    time.Duration // unused for so long, it is removed; 0: never
	// OnExpiry is ExpiryExport, ExpiryDrop, or "" for what the server does.
	OnExpiry string

	SizeLimit   int64 // bytes; 0: the server's
	RateLimit   int64 // requests per second; 0: the server's
	BlockReads  bool
	BlockWrites bool
	AllowAttach bool // kept for clients that ask for it: attaching is not possible
	Protected   bool // can't be deleted

	Epoch   int64     // what tokens of the database carry
	Rotated time.Time // tokens made on the command line before it are void
}

// What becomes of a database whose time is over.
const (
	ExpiryExport = "export" // it is written to a file, then removed
	ExpiryDrop   = "drop"   // it is removed
)

const databaseColumns = `name, id, org, grp, state, parent, forked_at, created, expires, idle,
	size_limit, block_reads, block_writes, allow_attach, protected, epoch, rotated, rate_limit, on_expiry`

func scanDatabase(st *sqlite.Stmt) Database {
	on := func(i int) bool { return st.ColumnInt64(i) != 0 }
	return Database{
		Name: st.ColumnText(0), ID: st.ColumnText(1), Org: st.ColumnText(2), Group: st.ColumnText(3), State: State(st.ColumnInt64(4)),
		Parent: st.ColumnText(5), ForkedAt: uint64(st.ColumnInt64(6)),
		Created: fromMillis(st.ColumnInt64(7)), Expires: fromMillis(st.ColumnInt64(8)), Idle: time.Duration(st.ColumnInt64(9)) * time.Millisecond,
		SizeLimit: st.ColumnInt64(10), BlockReads: on(11), BlockWrites: on(12), AllowAttach: on(13), Protected: on(14),
		Epoch: st.ColumnInt64(15), Rotated: fromMillis(st.ColumnInt64(16)), RateLimit: st.ColumnInt64(17), OnExpiry: st.ColumnText(18),
	}
}

// CreateDatabase adds a database, with an ID, an epoch and the time of its
// creation if it has none. Its group must exist.
func (s *Store) CreateDatabase(ctx context.Context, d Database) (Database, error) {
	err := s.update(ctx, func(t *tx) error {
		return t.insertDatabase(&d, "INSERT INTO", s.now())
	})
	return d, named(err, "database "+d.Name)
}

// AdoptDatabases adds databases that have come into being without the catalog,
// as by a first push, to a group, which is made if it was deleted. Those that are
// there already are left alone.
func (s *Store) AdoptDatabases(ctx context.Context, org, group string, names ...string) error {
	return s.update(ctx, func(t *tx) error {
		if err := t.ensureGroup(org, group, s.now()); err != nil {
			return err
		}
		for _, name := range names {
			err := t.insertDatabase(&Database{Name: name, Org: org, Group: group}, "INSERT OR IGNORE INTO", s.now())
			if err == nil && t.Changes() > 0 {
				err = t.byItself(org, "db-create", "added a database that a client has made", "database", name, s.now())
			}
			if err != nil {
				return named(err, "database "+name)
			}
		}
		return nil
	})
}

func (t *tx) insertDatabase(d *Database, insert string, now time.Time) (err error) {
	if d.ID == "" {
		d.ID = uuid.NewString()
	}
	if d.Created.IsZero() {
		d.Created = now
	}
	d.Created = fromMillis(millis(d.Created))
	if d.Epoch, err = t.nextEpoch(); err != nil {
		return err
	}
	t.touched = append(t.touched, d.Name)
	_, err = exec(t.Conn, insert+" databases ("+databaseColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		d.Name, d.ID, d.Org, d.Group, int(d.State), d.Parent, int64(d.ForkedAt), d.Created, d.Expires, d.Idle,
		d.SizeLimit, d.BlockReads, d.BlockWrites, d.AllowAttach, d.Protected, d.Epoch, d.Rotated, d.RateLimit, d.OnExpiry)
	return kind(err, "group "+d.Group)
}

// Database returns what the catalog keeps of a database.
func (s *Store) Database(name string) (d Database, err error) {
	err = s.view(func(c *sqlite.Conn) error { d, err = database(c, name); return err })
	return d, named(err, "database "+name)
}

func database(c *sqlite.Conn, name string) (d Database, err error) {
	err = rows(c, "SELECT "+databaseColumns+" FROM databases WHERE name = ?", func(st *sqlite.Stmt) { d = scanDatabase(st) }, name)
	if err == nil && d.ID == "" {
		err = ErrNotFound
	}
	return d, err
}

// Filter selects databases.
type Filter struct {
	Org    string
	Group  string // "": all
	Parent string // ID; "": all
	After  string // names greater than it
	Limit  int    // at most so many
}

// Databases returns the databases of an organisation that are ready, by name.
func (s *Store) Databases(f Filter) ([]Database, error) {
	where, args := "org = ? AND name > ? AND state = 0", []any{f.Org, f.After}
	if f.Group != "" {
		where, args = where+" AND grp = ?", append(args, f.Group)
	}
	if f.Parent != "" {
		where, args = where+" AND parent = ?", append(args, f.Parent)
	}
	return list(s, scanDatabase, "SELECT "+databaseColumns+" FROM databases WHERE "+where+" ORDER BY name LIMIT ?", append(args, f.Limit)...)
}

// AllDatabases returns up to n databases whose names are greater than after, of
// all organisations and in any state.
func (s *Store) AllDatabases(after string, n int) ([]Database, error) {
	return list(s, scanDatabase, "SELECT "+databaseColumns+" FROM databases WHERE name > ? ORDER BY name LIMIT ?", after, n)
}

// Unfinished returns the databases that are not ready.
func (s *Store) Unfinished() ([]Database, error) {
	return list(s, scanDatabase, "SELECT "+databaseColumns+" FROM databases WHERE state > 0")
}

// Expired returns the databases whose time is over.
func (s *Store) Expired(now time.Time) ([]Database, error) {
	return list(s, scanDatabase, "SELECT "+databaseColumns+" FROM databases WHERE expires > 0 AND expires <= ? AND state = 0 ORDER BY expires", now)
}

// WithIdle returns the databases that are removed when they are idle.
func (s *Store) WithIdle() ([]Database, error) {
	return list(s, scanDatabase, "SELECT "+databaseColumns+" FROM databases WHERE idle > 0 AND state = 0")
}

// UpdateDatabase changes what fn changes of a database: its state, limits,
// flags and times. Its name, ID and owner stay. It returns the outcome, or
// ErrNotFound if the name is another database's than that of the ID.
func (s *Store) UpdateDatabase(ctx context.Context, name, id string, fn func(*Database) error) (d Database, err error) {
	err = s.update(ctx, func(t *tx) error {
		if d, err = database(t.Conn, name); err != nil {
			return err
		}
		if d.ID != id {
			return ErrNotFound
		}
		if err := fn(&d); err != nil {
			return err
		}
		t.touched = append(t.touched, name)
		_, err = exec(t.Conn, `UPDATE databases SET state = ?, expires = ?, idle = ?, size_limit = ?, block_reads = ?, block_writes = ?,
			allow_attach = ?, protected = ?, rate_limit = ?, on_expiry = ? WHERE name = ?`,
			int(d.State), d.Expires, d.Idle, d.SizeLimit, d.BlockReads, d.BlockWrites, d.AllowAttach, d.Protected, d.RateLimit, d.OnExpiry, name)
		return err
	})
	return d, named(err, "database "+name)
}

// RotateDatabase voids all tokens of a database.
func (s *Store) RotateDatabase(ctx context.Context, name, id string) error {
	return named(s.update(ctx, func(t *tx) error {
		epoch, err := t.nextEpoch()
		if err != nil {
			return err
		}
		t.touched = append(t.touched, name)
		n, err := exec(t.Conn, "UPDATE databases SET epoch = ?, rotated = ? WHERE name = ? AND id = ?", epoch, s.now(), name, id)
		return found(n, err)
	}), "database "+name)
}

// RemoveDatabase forgets a database, unless the name is another one's by now.
func (s *Store) RemoveDatabase(ctx context.Context, name, id string) error {
	return named(s.update(ctx, func(t *tx) error {
		t.touched = append(t.touched, name)
		n, err := exec(t.Conn, "DELETE FROM databases WHERE name = ? AND id = ?", name, id)
		return found(n, err)
	}), "database "+name)
}

// found makes ErrNotFound of a write that met nothing.
func found(n int64, err error) error {
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// kind maps a constraint to what it means: a taken name, or an owner that is not
// there.
func kind(err error, owner string) error {
	const foreignKey = 787 // SQLITE_CONSTRAINT_FOREIGNKEY
	switch {
	case err == nil || !sqlite.IsConstraint(err):
		return err
	case sqlite.Code(err) == foreignKey:
		return fmt.Errorf("%s: %w", owner, ErrNotFound)
	}
	return ErrExists
}

// named says what an error is about.
func named(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
