package catalog

import (
	"context"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Note is the audit log's entry of an action that a write is. A write that is
// made under WithNote writes the entry too, so that a crash leaves both or
// neither; of several writes the first that succeeds does.
type Note struct {
	// Entry returns the entry. It is called after what the write does. One
	// without an organisation goes to each that User is in, to Own if there is
	// none.
	Entry     func() (AuditEntry, error)
	User, Own string
	// Also is another organisation that the entry goes to, "" for none.
	Also string

	written bool // set before the write returns
}

type noteKey struct{}

// WithNote returns a context whose next write is the action of a note.
func WithNote(ctx context.Context, n *Note) context.Context {
	return context.WithValue(ctx, noteKey{}, n)
}

func noteOf(ctx context.Context) *Note {
	n, _ := ctx.Value(noteKey{}).(*Note)
	return n
}

// writeNote adds the entry of the write that is being made, unless it is there.
func (t *tx) writeNote() error {
	if t.note == nil || t.note.written || t.noted {
		return nil
	}
	e, err := t.note.Entry()
	if err != nil {
		return err
	}
	t.noted = true
	if e.Created.IsZero() {
		e.Created = t.now()
	}
	if e.Org == "" {
		return t.auditUser(t.note.User, t.note.Own, e)
	}
	err = t.audit(e)
	if e.Org = t.note.Also; err == nil && e.Org != "" {
		err = t.audit(e)
	}
	return err
}

// auditUser adds an entry to each organisation that somebody is in, to own if
// there is none.
func (t *tx) auditUser(username, own string, e AuditEntry) error {
	orgs := []string{}
	err := rows(t.Conn, "SELECT org FROM members WHERE username = ?", func(st *sqlite.Stmt) { orgs = append(orgs, st.ColumnText(0)) }, username)
	if err != nil {
		return err
	}
	if len(orgs) == 0 {
		orgs = append(orgs, own)
	}
	for _, e.Org = range orgs {
		if err := t.audit(e); err != nil {
			return err
		}
	}
	return nil
}
