package replica

import (
	"errors"
	"fmt"
	"slices"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// Tracker captures what one connection writes. Its methods follow the
// connection's transactions; the write lock is held during all of them.
type Tracker struct {
	r       *Replica
	conn    *sqlite.Conn
	cap     *change.Capture
	last    *change.Change // stored by BeforeCommit, for watchers
	checked int            // the schema that was last looked at for what other programs did
	foreign bool           // they did something, and no sync has dealt with it yet
	vacuum  bool           // a VACUUM is running, of a file whose schema is known

	strict   bool
	captured *change.Change
}

// Attach makes a connection capture. It must come before anything is prepared
// on the connection.
func (r *Replica) Attach(c *sqlite.Conn) (*Tracker, error) {
	k, err := change.Attach(c, change.Options{Guard: true, Pack: true, ReadOnly: r.cfg.Mode == PullOnly})
	if err != nil {
		return nil, err
	}
	return &Tracker{r: r, conn: c, cap: k}, nil
}

// Begin starts a transaction. In a file whose rows another program may have
// renumbered, those without a key can't be changed until a sync has mended it:
// what is captured would be about other rows. Nor can a schema be that another
// program changed: the note of what was changed here would hide it.
func (t *Tracker) Begin() error {
	if err := t.cap.Begin(); err != nil {
		return err
	}
	if t.cap.SchemaLoaded() == t.checked && !t.foreign {
		return nil
	}
	noted, err := schemaNoted(t.conn)
	if err != nil {
		return err
	}
	t.foreign = !noted
	err = renumbered(t.conn, t.cap)
	switch {
	case errors.Is(err, change.ErrForeign):
		t.cap.Distrust(fmt.Errorf("%w: sync before the next change to rows without a key: %w", ErrDiverged, err))
	case err != nil:
		return err
	default:
		t.cap.Distrust(nil)
	}
	t.checked = t.cap.SchemaLoaded()
	return nil
}

// BeforeStmt may refuse a statement that writes.
func (t *Tracker) BeforeStmt(st *sqlite.Stmt) (err error) {
	if err := t.cap.Before(st); err != nil {
		return err
	}
	if t.vacuum = t.cap.Vacuums(); t.vacuum {
		t.vacuum, err = schemaNoted(t.conn)
	}
	return err
}

// AfterStmt records how it ended.
func (t *Tracker) AfterStmt(st *sqlite.Stmt, err error) error {
	vacuum := t.vacuum && err == nil
	t.vacuum = false
	if err := t.cap.After(st, err); err != nil || !vacuum {
		return err
	}
	t.cap.Suspend() // the file has another schema version now, with the same schema
	defer t.cap.Resume()
	return noteSchema(t.conn)
}

// Savepoint notes a savepoint.
func (t *Tracker) Savepoint(name string) { t.cap.Savepoint(name) }

// RollbackTo forgets what came after a savepoint, or refuses.
func (t *Tracker) RollbackTo(name string) error {
	if err := t.cap.CheckRollbackTo(name); err != nil {
		return err
	}
	t.cap.RollbackTo(name)
	return nil
}

// Release forgets a savepoint.
func (t *Tracker) Release(name string) { t.cap.Release(name) }

// BeforeCommit stores what was captured beside the data.
func (t *Tracker) BeforeCommit() error {
	ch, err := t.cap.Finish()
	if err != nil {
		return err
	}
	if ch != nil && ch.ChangesSchema() && t.foreign {
		return fmt.Errorf("%w: another program changed the schema: sync before the next schema change", ErrDiverged)
	}
	if ch != nil && t.r.cfg.Mode == PushOnly {
		if err := t.checkRenames(ch); err != nil {
			return err
		}
	}
	if t.strict {
		if ch != nil {
			t.captured = ch.Unpacked()
		}
		return ErrStrictCaptured
	}
	if ch == nil {
		return nil
	}
	if err := checkSize(ch); err != nil {
		return err
	}
	t.cap.Suspend()
	defer t.cap.Resume()
	if err := store(t.conn, ch); err != nil {
		return err
	}
	if ch.ChangesSchema() {
		if err := noteSchema(t.conn); err != nil {
			return err
		}
	}
	t.last = ch
	return nil
}

// checkRenames refuses, in push mode, to rename a table whose rows may still get
// other ids: the file is told of these by the name that the table had.
func (t *Tracker) checkRenames(ch *change.Change) error {
	names := ch.RenamedTables()
	if len(names) == 0 {
		return nil
	}
	s, err := readState(t.conn)
	if err != nil {
		return err
	}
	list, _, err := load(t.conn, s.acked)
	if err != nil {
		return err
	}
	list = append(list, mine{ch: ch.Unpacked()})
	for _, name := range names {
		if slices.ContainsFunc(list, func(my mine) bool { return my.ch.GivesIDs(name) }) {
			return fmt.Errorf("%w: in push mode, a table can be renamed when all its new rows are pushed: %s has some that are not; Push first, then rename it in a transaction of its own", change.ErrUnsupported, name)
		}
	}
	return nil
}

// AfterCommit tells watchers and the background sync.
func (t *Tracker) AfterCommit() {
	ch := t.last
	t.last = nil
	t.cap.Discard()
	if ch != nil {
		t.r.committed(ch)
	}
}

// Rollback forgets what was captured.
func (t *Tracker) Rollback() {
	t.last = nil
	t.cap.Discard()
}

// Strict makes BeforeCommit capture the next transaction and refuse to commit
// it with ErrStrictCaptured; Captured returns it then, nil if it wrote nothing.
func (t *Tracker) Strict(on bool) { t.strict, t.captured = on, nil }

// Captured returns the strict transaction.
func (t *Tracker) Captured() *change.Change { return t.captured }

// committed is called after each local commit that captured something.
func (r *Replica) committed(ch *change.Change) {
	r.watch.local(ch)
	if r.bg != nil {
		r.bg.wake()
	}
}

// AllowGuarded lets a connection that only reads prepare statements that would
// write, to find out that they would.
func AllowGuarded(c *sqlite.Conn) error { return change.AllowGuarded(c) }
