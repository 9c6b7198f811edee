package catalog

import (
	"context"
	"encoding/json"
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

// AuditUser adds an entry about somebody who is in no organisation alone: to
// each that the user is in; to the entry's if there is none.
func (s *Store) AuditUser(ctx context.Context, username string, e AuditEntry) error {
	if e.Created.IsZero() {
		e.Created = s.now()
	}
	return s.update(ctx, func(t *tx) error {
		orgs := []string{}
		err := rows(t.Conn, "SELECT org FROM members WHERE username = ?", func(st *sqlite.Stmt) { orgs = append(orgs, st.ColumnText(0)) }, username)
		if err != nil {
			return err
		}
		if len(orgs) == 0 {
			orgs = append(orgs, e.Org)
		}
		for _, e.Org = range orgs {
			if err := t.audit(e); err != nil {
				return err
			}
		}
		return nil
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
