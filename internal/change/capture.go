package change

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Errors of captured statements, to branch on.
var (
	// ErrReadOnly refuses a write to a database that only receives.
	ErrReadOnly = errors.New("the database is read-only: it is synced in pull mode")
	// ErrUnsupported refuses what can't be synced, before anything changes.
	ErrUnsupported = errors.New("not possible in a synced database")
	// ErrTooMuch stops a transaction that writes more than Options.MaxBytes.
	ErrTooMuch = errors.New("change: the transaction writes too much")
)

// Options say how a connection captures.
type Options struct {
	// Guard keeps triggers on every synced table that make writes by other
	// programs fail: their changes could not be captured. For client files.
	Guard bool
	// Pack keeps inserts and deletes encoded: what Finish returns is to be
	// appended as a whole, or unpacked.
	Pack bool
	// ReadOnly refuses every write of a user with ErrReadOnly.
	ReadOnly bool
	// MaxBytes bounds the values that a transaction records, however many
	// rows its triggers write; 0: no bound. Beyond it the statement is
	// interrupted and the transaction fails with ErrTooMuch.
	MaxBytes int64
	// MaxHeld bounds the values that the triggers of one row, within one
	// another, may hold at a time, in bytes; 0: no bound. Beyond it SQLite
	// refuses the row with SQLITE_TOOBIG.
	MaxHeld int
	// Authorize, if not nil, hears every action of every statement that is
	// prepared, and decides on them. It must not use
	// the connection.
	Authorize func(sqlite.Action) sqlite.Verdict
}

// Capture records what is written through one connection. It must be attached
// before anything is prepared on the connection. Its methods follow the
// connection's transactions and statements, and like the connection they are
// for one goroutine at a time.
type Capture struct {
	conn   *sqlite.Conn
	opt    Options
	schema *schema
	gather *facts // where the authorizer's callback puts what it hears
	texts  texts  // of executors' statements
	// renumbered, if not nil, refuses changes to rows that have no key: their
	// rowids can't be trusted.
	renumbered error
	off        bool           // triggers are
	row        []sqlite.Value // scratch of packRow
	recording
	inFlight
}

// recording is a capture's state about the running transaction.
type recording struct {
	events  []Event
	pack    pack
	slab    []sqlite.Value // for values to come
	seqs    []Sequence
	marks   []savepoint
	bytes   int64 // of the values recorded
	err     error // the first failure in the hook; fails the commit
	dirty   bool  // FTS5 may hold unflushed rows
	blobs   bool  // some events wait for their new values
	altered bool  // the schema was changed, maybe in vain
}

// inFlight is its state about the running statement.
type inFlight struct {
	cur       *facts
	before    int64 // total changes
	start     position
	suspended bool
	objects   map[string]string // the schema before a DDL statement
	again     bool              // an insert is the second half of an update, see Event.again
}

type savepoint struct {
	name string
	at   position
	ddl  int // schema changes so far
}

// Attach installs capture on a connection.
func Attach(c *sqlite.Conn, opt Options) (*Capture, error) {
	k := &Capture{conn: c, opt: opt, schema: newSchema(c)}
	if opt.Guard {
		if err := AllowGuarded(c); err != nil {
			return nil, err
		}
	}
	c.PreUpdate(k.hook)
	c.Authorize(k.observe)
	return k, nil
}

// Begin starts recording; call it right after BEGIN IMMEDIATE.
func (k *Capture) Begin() error {
	k.Discard()
	return k.schema.refresh()
}

// Discard forgets what was recorded; call it after ROLLBACK.
func (k *Capture) Discard() {
	k.conn.ForgetRows()
	k.slab = nil
	k.events, k.pack, k.seqs, k.marks = nil, pack{}, nil, k.marks[:0]
	k.err, k.cur, k.suspended, k.objects, k.dirty, k.bytes = nil, nil, false, nil, false, 0
	if k.altered {
		k.altered = false
		k.schema.forget() // its version may come again, for another schema
	}
}

// MayViolate reports whether running a change can leave a foreign key violated,
// as the schema was when the transaction began.
func (k *Capture) MayViolate(c *Change) bool {
	return k.schema.fks || slices.ContainsFunc(c.Events, func(e Event) bool { return e.Op > OpDelete })
}

// Suspend stops recording until Resume: for agentdb's own writes.
func (k *Capture) Suspend() { k.suspended = true }

// Resume records again.
func (k *Capture) Resume() { k.suspended = false }

// Distrust makes statements that change rows without a key fail with err; nil
// ends that.
func (k *Capture) Distrust(err error) { k.renumbered = err }

// SchemaLoaded returns a number that changes when the schema was read again.
func (k *Capture) SchemaLoaded() int { return k.schema.loaded }

// Schema re-reads the schema if it has changed since.
func (k *Capture) Schema() error { return k.schema.refresh() }

// Before prepares for a statement that is not read-only. An error refuses the
// statement, nothing has happened then.
func (k *Capture) Before(st *sqlite.Stmt) error {
	k.cur = nil
	f, err := k.facts(st)
	if err != nil {
		return err
	}
	if !f.plain {
		if err := k.check(st, f); err != nil {
			return err
		}
		f.plain = !f.ddl && !f.vacuum && f.pragma == ""
	}
	if f.uses++; f.uses == passAfter && k.opt.Guard {
		if err := k.passGuards(st); err != nil {
			return err
		}
	}
	if k.renumbered != nil && f.finds && !f.ddl {
		for _, name := range f.direct {
			if r := k.schema.find(name); r != nil && r.kind == relTable && !r.skip && !r.NoRowid && r.IPK == "" && len(r.PK) == 0 {
				return k.renumbered
			}
		}
	}
	// A full-text index that is flushed when the statement begins keeps what it
	// wrote even if the statement fails: it has to be told apart.
	if err := k.flush(); err != nil {
		return err
	}
	k.cur, k.before, k.start = f, k.conn.TotalChanges(), k.here()
	if f.ddl {
		return k.beforeDDL(f)
	}
	for _, name := range f.writes {
		if err := k.noteSequence(name); err != nil {
			return err
		}
	}
	return nil
}

// Vacuums reports whether the statement that Before prepared for is a VACUUM of
// the file.
func (k *Capture) Vacuums() bool { return k.cur != nil && k.cur.vacuum }

// check refuses statements that capture can't follow.
func (k *Capture) check(st *sqlite.Stmt, f *facts) error {
	if k.opt.ReadOnly && (f.ddl || len(f.direct) > 0) {
		return ErrReadOnly
	}
	if err := k.checkNames(st, f); err != nil {
		return err
	}
	if f.vacuum {
		return k.checkVacuum()
	}
	return nil
}

// modules are the virtual tables that can be synced.
var modules = []string{"fts3", "fts4", "fts5", "fts5vocab", "rtree", "rtree_i32", "geopoly", "vec0"}

// checkNames refuses what would touch agentdb's own tables, by triggers too, and
// writes through views whose rows could not be told apart.
func (k *Capture) checkNames(st *sqlite.Stmt, f *facts) error {
	if f.ddl {
		for _, name := range []string{f.create, f.drops, f.on} {
			if whose := owner(name); whose != "" {
				return fmt.Errorf("%w: %s", ErrUnsupported, whose)
			}
		}
		// Others see past the tables, into the file.
		if f.module != "" && !slices.Contains(modules, f.module) {
			return fmt.Errorf("%w: virtual tables of %s", ErrUnsupported, f.module)
		}
		// What the new name of a table is, and what a trigger writes to, is
		// only in the statement's text.
		if f.kind == DDLOther && containsFold(st.SQL(), TursoPrefix) {
			return fmt.Errorf("%w: %s", ErrUnsupported, owner(TursoPrefix))
		}
		if f.kind == DDLOther && !isView(st.SQL()) && containsFold(st.SQL(), Prefix) {
			return fmt.Errorf("%w: %s", ErrUnsupported, owner(Prefix))
		}
		return nil
	}
	for _, name := range f.writes {
		if whose := owner(name); whose != "" && !strings.EqualFold(name, ConflictsTable) {
			return fmt.Errorf("%w: %s: %s", ErrUnsupported, name, whose)
		}
	}
	if !f.view {
		return nil
	}
	for _, s := range f.steps {
		subject, target := k.schema.find(k.schema.triggers[s.trigger]), k.schema.find(s.table)
		if subject != nil && subject.kind == relView && target != nil && (target.kind == relView || target.kind == relVirtual) {
			return fmt.Errorf("%w: a write to a view whose trigger writes to %s, a view or virtual table itself", ErrUnsupported, s.table)
		}
	}
	return nil
}

func isView(sql string) bool {
	words := strings.Fields(strings.ToLower(normalDDL(sql)))
	return len(words) > 1 && words[0] == "create" && words[1] == "view"
}

func isVacuum(sql string) bool {
	s := strings.TrimLeft(normalDDL(sql), ";")
	return strings.HasPrefix(s, "vacuum") && !strings.Contains(s, "into")
}

// checkVacuum refuses VACUUM while there are rows that it would renumber.
func (k *Capture) checkVacuum() error {
	if err := k.schema.refresh(); err != nil {
		return err
	}
	for _, r := range k.schema.rels {
		if r.kind == relTable && !r.skip && !r.NoRowid && r.IPK == "" {
			return fmt.Errorf("%w: VACUUM would renumber the rows of %s, which has no INTEGER PRIMARY KEY", ErrUnsupported, r.Name)
		}
	}
	return nil
}

// After records how a statement ended. Failed statements leave no trace,
// unless some of their rows stay, as with OR FAIL.
func (k *Capture) After(st *sqlite.Stmt, err error) error {
	f := k.cur
	if f == nil {
		return nil
	}
	k.cur = nil
	if f.ddl {
		return k.afterDDL(st, f, err)
	}
	if err != nil {
		return k.afterFailure()
	}
	if errors.Is(k.err, ErrUnsupported) {
		return k.err
	}
	if f.vtab != nil {
		k.dirty = true
		if c := k.schema.rels[f.vtab.Name+"_content"]; c == nil || c.content == nil {
			k.events = append(k.events, Event{Op: OpSQL, Intent: true, Statement: &Statement{SQL: st.SQL(), Args: st.Bound()}})
		}
	}
	return nil
}

// spend counts values against the limit.
func (k *Capture) spend(vals []sqlite.Value) {
	if k.opt.MaxBytes == 0 {
		return
	}
	for i := range vals {
		k.bytes += int64(len(vals[i].B)) + 9
	}
	if k.bytes > k.opt.MaxBytes && k.err == nil {
		k.err = ErrTooMuch
		k.events, k.pack = nil, pack{}
		k.conn.Interrupt()
	}
}

// noteSequence remembers the AUTOINCREMENT counter of a table that is about to
// be written, once a transaction.
func (k *Capture) noteSequence(table string) error {
	r := k.schema.rels[table]
	if r == nil || !r.autoinc {
		return nil
	}
	for i := range k.seqs {
		if k.seqs[i].Table == r.Name {
			return nil
		}
	}
	v, err := readSequence(k.conn, r.Name)
	if err != nil {
		return err
	}
	k.seqs = append(k.seqs, Sequence{Table: r.Name, Before: v})
	return nil
}

// readSequence returns a table's AUTOINCREMENT counter, -1 if it has none.
func readSequence(c *sqlite.Conn, table string) (int64, error) {
	st, err := c.Cached("SELECT seq FROM sqlite_sequence WHERE name=?")
	if err != nil {
		return 0, fmt.Errorf("change: read sequence: %w", err)
	}
	defer st.Done()
	if err := st.BindText(1, table); err != nil {
		return 0, err
	}
	if row, err := st.Step(); err != nil || !row {
		return -1, err
	}
	return st.ColumnInt64(0), nil
}

// Savepoint notes that a savepoint was set.
func (k *Capture) Savepoint(name string) {
	k.marks = append(k.marks, savepoint{name, k.here(), k.countDDL()})
}

// CheckRollbackTo refuses ROLLBACK TO a savepoint across a schema change.
func (k *Capture) CheckRollbackTo(name string) error {
	if i := k.mark(name); i >= 0 && k.marks[i].ddl != k.countDDL() {
		return fmt.Errorf("%w: ROLLBACK TO a savepoint across a schema change; roll back the whole transaction", ErrUnsupported)
	}
	return nil
}

// RollbackTo forgets what was recorded since a savepoint.
func (k *Capture) RollbackTo(name string) {
	if i := k.mark(name); i >= 0 {
		k.backTo(k.marks[i].at)
		k.marks = k.marks[:i+1]
		k.schema.forget()
	}
}

// Release notes that a savepoint is gone.
func (k *Capture) Release(name string) {
	if i := k.mark(name); i >= 0 {
		k.marks = k.marks[:i]
	}
}

func (k *Capture) mark(name string) int {
	for i := len(k.marks) - 1; i >= 0; i-- {
		if strings.EqualFold(k.marks[i].name, name) {
			return i
		}
	}
	return -1
}

func (k *Capture) countDDL() int {
	n := 0
	for i := range k.events {
		if k.events[i].Op == OpDDL {
			n++
		}
	}
	return n
}

// Finish returns what was recorded, nil if nothing was. Call it just before
// COMMIT, or between the changes of a longer transaction.
func (k *Capture) Finish() (*Change, error) {
	if err := k.flush(); err != nil {
		return nil, err
	}
	if k.err != nil {
		return nil, k.err
	}
	if k.blobs {
		k.blobs = false
		if err := k.settleBlobs(); err != nil {
			return nil, err
		}
	}
	if len(k.events) == 0 && k.pack.n == 0 {
		k.seqs = nil
		return nil, nil
	}
	c := &Change{Events: k.events, Sequences: k.seqs, packed: k.pack}
	k.events, k.seqs, k.pack = nil, nil, pack{}
	for i := range c.Sequences {
		v, err := readSequence(k.conn, c.Sequences[i].Table)
		if err != nil {
			v = -1 // the table was dropped, and sqlite_sequence may be too
		}
		c.Sequences[i].After = v
	}
	return c, nil
}

// flush makes FTS5 write what it holds in memory, so that the hook sees it.
func (k *Capture) flush() error {
	if !k.dirty {
		return nil
	}
	k.dirty = false
	if err := k.conn.Exec("SAVEPOINT agentdb_flush; RELEASE agentdb_flush"); err != nil {
		return fmt.Errorf("change: flush full-text index: %w", err)
	}
	return nil
}

// Abandon forgets what was recorded since the last Finish; call it when that
// much was rolled back, and the transaction goes on.
func (k *Capture) Abandon() error {
	k.events, k.pack, k.seqs, k.cur, k.dirty, k.err = nil, pack{}, nil, nil, false, nil
	return k.schema.refresh()
}
