package platform

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/agentdb/agentdb/internal/catalog"
)

// outcome is the name in an audit entry's data of how an action went that was
// noted before it. What has gone well has none.
const (
	outcome       = "outcome"
	outcomeBegun  = "begun" // and whether it was done isn't known
	outcomeFailed = "failed"
)

// entry is the audit log's entry of the request.
func (c *call) entry() (catalog.AuditEntry, error) {
	about := map[string]any{}
	for k, v := range c.params {
		about[k] = v
	}
	maps.Copy(about, c.audit)
	data, err := json.Marshal(about)
	return catalog.AuditEntry{Org: c.org, Code: c.rt.code, Message: c.rt.says, Origin: "api", Author: c.user, Data: data}, err
}

// noted returns the context of the write that is the request's action: the
// audit log's entry is part of it.
func (c *call) noted() context.Context {
	if c.note == nil {
		c.note = &catalog.Note{Entry: c.entry, User: c.user, Own: c.api.cfg.Org}
	}
	return catalog.WithNote(c.Context(), c.note)
}

// write notes an action that is no write to the catalog, and can't be lost.
func (c *call) write() error {
	return c.api.cfg.Store.Note(context.WithoutCancel(c.noted()), c.note)
}

// begin notes an action that is no write to the catalog, before it is done.
func (c *call) begin() error {
	c.audit[outcome] = outcomeBegun
	e, err := c.entry()
	if err == nil {
		c.begun, err = c.api.cfg.Store.Begin(c.Context(), e)
	}
	return err
}

// end completes the entry of begin, if there is one, though the client has left.
func (c *call) end(failed error) error {
	if c.begun == 0 {
		return nil
	}
	delete(c.audit, outcome)
	if failed != nil {
		c.audit[outcome], c.audit["error"] = outcomeFailed, asError(failed).message
	}
	e, err := c.entry()
	if err == nil {
		err = c.api.cfg.Store.End(context.WithoutCancel(c.Context()), c.begun, e.Data)
	}
	return err
}

// notedDelete returns the context of the write that deletes a database with its
// group.
func (c *call) notedDelete(d *catalog.Database) context.Context {
	return catalog.WithNote(c.Context(), &catalog.Note{Entry: func() (catalog.AuditEntry, error) {
		data, err := json.Marshal(map[string]string{"database": d.Name, "group": d.Group})
		return catalog.AuditEntry{Org: c.org, Code: "db-delete", Message: "deleted a database with its group", Origin: "api", Author: c.user, Data: data}, err
	}})
}

// undone is the entry of a database that was noted as created, and is not there.
func undone(d *catalog.Database, why string) *catalog.Note {
	return byServer(d, "db-create-undone", "took back the creation of a database", map[string]any{"database": d.Name, "error": why})
}

// byServer is the entry of what the server does without being asked.
func byServer(d *catalog.Database, code, message string, about map[string]any) *catalog.Note {
	return &catalog.Note{Entry: func() (catalog.AuditEntry, error) {
		data, err := json.Marshal(about)
		return catalog.AuditEntry{Org: d.Org, Code: code, Message: message, Origin: "server", Author: "server", Data: data}, err
	}}
}
