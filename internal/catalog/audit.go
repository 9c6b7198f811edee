package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// AuditEntry says who did what.
type AuditEntry struct {
	Org     string
	Code    string // such as "db-create"
	Message string
	Origin  string // where it came from: "api", "cli", "server"
	Author  string // a username, "operator" or "server"
	Created time.Time
	Data    json.RawMessage // an object
}

// Audit adds an entry. Its data must hold no secrets.
func (s *Store) Audit(ctx context.Context, e AuditEntry) error {
	if e.Created.IsZero() {
		e.Created = s.now()
	}
	return s.update(ctx, func(t *tx) error { return t.audit(e) })
}

// Note adds the entry of an action that is no write to the catalog.
func (s *Store) Note(ctx context.Context, n *Note) error {
	return s.update(WithNote(ctx, n), func(*tx) error { return nil })
}

// AuditName adds an entry about whatever database has a name, now or later: to
// the organisation of the one that has it; to all organisations if none has it, or
// if it is AnyDatabase; to the first that there will be if there is none yet.
func (s *Store) AuditName(ctx context.Context, name string, e AuditEntry) error {
	e.Created = s.now()
	return s.update(ctx, func(t *tx) error {
		orgs := []string{}
		add := func(st *sqlite.Stmt) { orgs = append(orgs, st.ColumnText(0)) }
		err := rows(t.Conn, "SELECT org FROM databases WHERE name = ?", add, name)
		if err == nil && len(orgs) == 0 {
			err = rows(t.Conn, "SELECT slug FROM orgs", add)
		}
		if err == nil && len(orgs) == 0 {
			orgs = append(orgs, "") // see ensureOrg
		}
		for _, e.Org = range orgs {
			err = errors.Join(err, t.audit(e))
		}
		return err
	})
}

// Begin adds the entry of an action that is about to be done elsewhere, and
// returns its number for End.
func (s *Store) Begin(ctx context.Context, e AuditEntry) (id int64, err error) {
	if e.Created.IsZero() {
		e.Created = s.now()
	}
	err = s.update(ctx, func(t *tx) error {
		if err := t.audit(e); err != nil {
			return err
		}
		id = t.LastInsertRowID()
		return nil
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// End gives an entry of Begin its data, once it is known how the action went.
func (s *Store) End(ctx context.Context, id int64, data json.RawMessage) error {
	return s.update(ctx, func(t *tx) error {
		n, err := exec(t.Conn, "UPDATE audit SET data = ? WHERE id = ?", string(data), id)
		return found(n, err)
	})
}

func (t *tx) audit(e AuditEntry) error {
	if len(e.Data) == 0 {
		e.Data = json.RawMessage("{}")
	}
	_, err := exec(t.Conn, "INSERT INTO audit (org, code, message, origin, author, created, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
		e.Org, e.Code, e.Message, e.Origin, e.Author, e.Created, string(e.Data))
	return err
}

// byItself adds an entry of what the server did without being asked.
func (t *tx) byItself(org, code, message, what, name string, now time.Time) error {
	data, err := json.Marshal(map[string]string{what: name})
	if err != nil {
		return err
	}
	return t.audit(AuditEntry{org, code, message, "server", "server", now, data})
}

// AuditLog returns a page of an organisation's entries, the newest first, and how
// many there are in all. Pages count from 1.
func (s *Store) AuditLog(org string, page, size int) (all []AuditEntry, total int, err error) {
	err = s.view(func(c *sqlite.Conn) error {
		n, err := c.QueryInt("SELECT count(*) FROM audit WHERE org = ?", sqlite.Text(org))
		if err != nil {
			return err
		}
		total = int(n)
		return rows(c, `SELECT org, code, message, origin, author, created, data FROM audit WHERE org = ? ORDER BY id DESC LIMIT ? OFFSET ?`,
			func(st *sqlite.Stmt) {
				all = append(all, AuditEntry{
					st.ColumnText(0), st.ColumnText(1), st.ColumnText(2), st.ColumnText(3), st.ColumnText(4),
					fromMillis(st.ColumnInt64(5)), json.RawMessage(st.ColumnText(6)),
				})
			}, org, size, (page-1)*size)
	})
	return all, total, err
}
