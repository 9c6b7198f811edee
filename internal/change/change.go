package change

import (
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Names of the tables that agentdb keeps in a synced file. All of them begin
// with Prefix; only ConflictsTable is synced.
const (
	Prefix         = "agentdb_"
	ConflictsTable = "agentdb_conflicts"
	// TursoMarks is where Turso's sync clients keep how far they have pushed.
	// What else belongs to it begins with TursoPrefix, too.
	TursoMarks  = "turso_sync_last_change_id"
	TursoPrefix = "turso_sync_"
)

// owner says whose a name is, that applications can't use; "" if nobody's.
func owner(name string) string {
	switch {
	case hasPrefixFold(name, Prefix):
		return "names that begin with " + Prefix + " are agentdb's own"
	case hasPrefixFold(name, TursoPrefix):
		return "names that begin with " + TursoPrefix + " are those of Turso's sync clients"
	}
	return ""
}

// Op is what an event does.
type Op uint8

// The operations. Their numbers are part of the encoding.
const (
	OpInsert Op = iota + 1
	OpUpdate
	OpDelete
	OpDDL // SQL changes the schema
	OpSQL // SQL, with Args, writes to a virtual table: an intent only
)

// String returns the operation's name in SQL's words.
func (op Op) String() string {
	switch op {
	case OpInsert:
		return "INSERT"
	case OpUpdate:
		return "UPDATE"
	case OpDelete:
		return "DELETE"
	case OpDDL:
		return "DDL"
	}
	return "SQL"
}

// DDLKind says how a schema change is undone.
type DDLKind uint8

// The kinds of schema changes.
const (
	DDLOther       DDLKind = iota // can't be undone row by row
	DDLCreateTable                // undone by DROP TABLE
	DDLCreateIndex                // undone by DROP INDEX
)

// Table describes the rows of events: which table, and which of its columns,
// by name, so that a change outlives columns added or dropped elsewhere.
type Table struct {
	Name    string
	IPK     string   // the INTEGER PRIMARY KEY column, "" if there is none
	Cols    []string // stored columns without IPK, in the table's order
	PK      []int    // indexes into Cols of a declared, non-rowid primary key
	NoRowid bool     // a WITHOUT ROWID table: PK identifies rows

	computed []string // generated columns that hide a name of the rowid, if the schema is known
}

// Event is one row's change, or one statement. There is one for every row that
// a transaction writes: it is kept small.
type Event struct {
	Op      Op
	Kind    DDLKind
	Intent  bool // what the user did
	Effect  bool // what happened
	renamed bool // an insert that got another id than was
	waits   bool // an update of which New is not known yet, see settleBlobs
	// vain says that an update's new key was taken at its author's when it was
	// last run there: whoever speaks of that key later means another row.
	vain bool
	// again says that an insert into a full-text table, or into where it keeps
	// its rows, is the second half of an update, which deletes its row first.
	again bool

	Table    *Table // of row events
	RowID    int64  // before an update or delete, of an insert
	NewRowID int64  // after an update
	was      int64

	// Old and New hold the values of Table.Cols; nil where the operation or
	// the encoding has none. Of an update, Known says which columns of Old
	// are there, and Changed which of New are.
	Old, New []sqlite.Value
	Known    bitset
	Changed  bitset
	self     bitset // of an insert: columns that refer to the row itself

	*Statement // of OpDDL and OpSQL
}

// Statement is the SQL of an event that is no row's.
type Statement struct {
	Name string // OpDDL: the object's name
	SQL  string
	Args []sqlite.Value
}

// Sequence is the AUTOINCREMENT counter of a table before and after a change;
// -1 stands for none.
type Sequence struct {
	Table         string
	Before, After int64
}

// Change is one captured transaction, or several merged into one.
type Change struct {
	Events    []Event
	Sequences []Sequence
	packed    pack // see Options.Pack
}

// Undoable reports whether Undo can take the change back row by row.
func (c *Change) Undoable() bool {
	for i := range c.Events {
		if e := &c.Events[i]; e.Op == OpDDL && e.Kind == DDLOther && e.Effect {
			return false
		}
	}
	return true
}

// Intents returns the user's operations in order. They alias c.
func (c *Change) Intents() []*Event {
	var in []*Event
	for i := range c.Events {
		if c.Events[i].Intent {
			in = append(in, &c.Events[i])
		}
	}
	return in
}

// ChangesSchema reports whether the change has effects on the schema.
func (c *Change) ChangesSchema() bool {
	for i := range c.Events {
		if c.Events[i].Op == OpDDL && c.Events[i].Effect {
			return true
		}
	}
	return false
}

// Still reports whether the effects rename no table, delete and move no row with a
// rowid: ids that other changes refer to mean what they did.
func (c *Change) Still() bool {
	for i := range c.Events {
		if e := &c.Events[i]; !e.still() && e.rowsOf() != "" || e.renamesTable() {
			return false
		}
	}
	return true
}

// Rows returns how many rows the change's effects touch.
func (c *Change) Rows() int {
	n := 0
	for i := range c.Events {
		if e := &c.Events[i]; e.Effect && e.Op <= OpDelete {
			n++
		}
	}
	return n
}

// Effects returns how many effects the change has.
func (c *Change) Effects() int {
	n := 0
	for i := range c.Events {
		if c.Events[i].Effect {
			n++
		}
	}
	return n
}

// Merge appends the events of o to c. The sequences keep c's first before and
// o's last after.
func (c *Change) Merge(o *Change) {
	if len(c.Events) == 0 {
		c.Events = slices.Clip(o.Events)
	} else {
		c.Events = append(c.Events, o.Events...)
	}
next:
	for _, s := range o.Sequences {
		for i := range c.Sequences {
			if c.Sequences[i].Table == s.Table {
				c.Sequences[i].After = s.After
				continue next
			}
		}
		c.Sequences = append(c.Sequences, s)
	}
}

// Internal reports whether a table is agentdb's or SQLite's own and stays out
// of capture.
func Internal(table string) bool {
	if len(table) < 7 {
		return false
	}
	if strings.EqualFold(table, TursoMarks) {
		return true
	}
	if hasPrefixFold(table, Prefix) {
		return !strings.EqualFold(table, ConflictsTable)
	}
	return hasPrefixFold(table, "sqlite_")
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// bitset is a set of column indexes; nil is the empty set.
type bitset = *words

type words []uint64

func newBitset(n int) bitset {
	w := make(words, (n+63)/64)
	return &w
}

func (b *words) set(i int) { (*b)[i/64] |= 1 << (i % 64) }

func (b *words) has(i int) bool {
	return b != nil && i/64 < len(*b) && (*b)[i/64]&(1<<(i%64)) != 0
}

func (b *words) empty() bool {
	if b != nil {
		for _, w := range *b {
			if w != 0 {
				return false
			}
		}
	}
	return true
}

// byte returns the eight indexes from i, a multiple of eight, as bits.
func (b *words) byte(i int) byte {
	if b == nil || i/64 >= len(*b) {
		return 0
	}
	return byte((*b)[i/64] >> (i % 64))
}

// all returns a set of the first n indexes.
func all(n int) bitset {
	b := newBitset(n)
	for i := range n {
		b.set(i)
	}
	return b
}
