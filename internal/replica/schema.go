package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// The file's own note of its schema, in agentdb_schema, tells schema changes by
// other programs, which no trigger can refuse: SQLite's schema version, and the
// objects that were there.

// noteSchema writes the note, unless it is up to date.
func noteSchema(c *sqlite.Conn) error {
	ok, err := schemaNoted(c)
	if err != nil || ok {
		return err
	}
	objects, err := change.Objects(c)
	if err != nil {
		return err
	}
	b, err := json.Marshal(objects)
	if err != nil {
		return err
	}
	version, err := c.QueryInt("PRAGMA schema_version")
	if err != nil {
		return err
	}
	return c.ExecArgs("INSERT OR REPLACE INTO agentdb_schema(id,version,objects) VALUES(1,?,?)", sqlite.Int(version), sqlite.TextBytes(b))
}

// schemaNoted reports whether the note has SQLite's present schema version.
func schemaNoted(c *sqlite.Conn) (bool, error) {
	have, err := c.QueryInt("SELECT coalesce((SELECT version FROM agentdb_schema),-1)")
	if err != nil {
		return false, err
	}
	version, err := c.QueryInt("PRAGMA schema_version")
	return have == version, err
}

// notedObjects returns the objects in the note; nil if there is none yet.
func notedObjects(c *sqlite.Conn) (map[string]string, error) {
	text, err := c.QueryText("SELECT objects FROM agentdb_schema")
	if errors.Is(err, sqlite.ErrNoRow) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return nil, fmt.Errorf("agentdb_schema: %w", err)
	}
	return m, nil
}

// renumbered returns change.ErrForeign if another program may have given rows
// other rowids.
func renumbered(c *sqlite.Conn, k *change.Capture) error {
	known, err := notedObjects(c)
	if err != nil || known == nil {
		return err
	}
	if noted, err := schemaNoted(c); err != nil || noted {
		return err
	}
	return k.Renumbered(known)
}

// adoptBytes is about how many bytes of rows a change has that adopts them.
const adoptBytes = 8 << 20

// adopt turns what no capture has seen, because it was there before the file
// was synced or because another program made it, into a change to be sent. It
// returns change.ErrForeign if what was seen is not there any more.
func (r *Replica) adopt(c *sqlite.Conn, k *change.Capture) error {
	if err := k.Begin(); err != nil {
		return err
	}
	if err := renumbered(c, k); err != nil {
		return err
	}
	known, err := notedObjects(c)
	if err != nil {
		return err
	}
	changes, err := k.Adopt(known, adoptBytes)
	if err != nil {
		return err
	}
	for _, ch := range changes {
		if r.cfg.Mode == PullOnly {
			return errors.New("the file holds tables that did not come from the server: it can't be synced in pull mode")
		}
		r.cfg.Logger.Info("sync adopts what it finds in the file", "path", r.cfg.Path, "rows", ch.Rows())
		if err := store(c, ch); err != nil {
			return err
		}
	}
	return noteSchema(c)
}

// checkSchema looks for schema changes by other programs before a sync. foreign
// says that there are some that can't be adopted.
func (r *Replica) checkSchema(ctx context.Context) (foreign error, err error) {
	err = r.locked(ctx, func(c *sqlite.Conn, k *change.Capture) error { return r.adopt(c, k) })
	if errors.Is(err, change.ErrForeign) {
		return err, nil
	}
	return nil, err
}
