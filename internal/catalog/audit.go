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
	Origin  string // where it came from: "api", "server"
	Author  string // a username
	Created time.Time
	Data    json.RawMessage // an object
}

// Audit adds an entry. Its data must hold no secrets.
func (s *Store) Audit(ctx context.Context, e AuditEntry) error {
	if e.Created.IsZero() {
		e.Created = s.now()
	}
	if len(e.Data) == 0 {
		e.Data = json.RawMessage("{}")
	}
	return s.update(ctx, func(t *tx) error {
		_, err := exec(t.Conn, "INSERT INTO audit (org, code, message, origin, author, created, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
			e.Org, e.Code, e.Message, e.Origin, e.Author, e.Created, string(e.Data))
		return err
	})
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
