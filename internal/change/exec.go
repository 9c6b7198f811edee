package change

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// ErrRolledBack is returned by Executor.Run when an operation rolled back the
// whole transaction, as a trigger's RAISE(ROLLBACK) does. The caller begins
// again and passes the operation to Skip.
var ErrRolledBack = errors.New("change: an operation rolled the transaction back")

// ErrStrict is returned for a strict change that can't be applied as it is.
// The caller rolls back.
var ErrStrict = errors.New("change: not applied, the rows have changed")

// Executor runs the intents of changes, one after the other, on a connection
// with a capture: on the server, and on a client that redoes its own on a newer
// base. It carries from change to change which ids became which.
type Executor struct {
	conn *sqlite.Conn
	cap  *Capture
	// Conflict records an overwritten or refused value; nil records nothing.
	Conflict func(*Conflict) error
	// Seen, if not nil, reports whether the author of the changes knew a row as
	// it is: then an insertion over it is an update like any other.
	Seen func(table string, rowid int64) bool
	// Unseen, if not nil, reports whether a row, or with a column named that
	// column of it, has a value that the author of the changes can't have seen:
	// for changes that don't tell what they overwrite.
	Unseen func(table string, rowid int64, column string) bool

	// Unknown, if not nil, returns a function that reports whether others wrote a
	// row since the base of the changes, by its event; nil if they wrote none.
	Unknown func() (func(*Event) bool, error)

	ids  map[idKey]int64   // own rows: the id they were written with, the id they have
	went travels           // what others did to rows since the base
	keys map[string]rowKey // natural keys that rows were given, or given in vain: the one they have
	back []idChange        // what Run did to ids, see Back

	retabled []retabling // what Run did to the tables' names in went
	others   []retabling // tables that others have renamed since the base

	origins, originsBack map[string]string // see origin; before Run

	keysBack map[string]rowKey // keys before Run
	asked    map[string]int64  // the highest id that a table's inserts ask for
	strict   bool
	running
}

// running is the executor's state about the change that it runs.
type running struct {
	saved  map[idKey]int64 // ids set aside by reserve for inserts
	free   *Event          // the first operation, if it inserts a row whose id reserve saw is not taken
	forced map[int]int64   // ids that inserts must get, by operation
	skip   map[int]string  // operations not to run, and why
	broke  int             // the operation that left a foreign key violated, -1: none
	doubt  map[int]bool    // operations that may mean another row
	res    []wire.OpResult

	op    int       // index of the running operation
	next  *Event    // the insert that makes the running delete an update, see Event.again
	lost  bool      // the last delete found no row, or was refused
	left  int64     // the id of the row that it deleted
	at    int64     // the id of the row that the last update found, before it
	wrote int64     // rows that its last statement wrote itself
	began time.Time // when it did
	spent int64     // bytes of values recorded before it
}

type idKey struct {
	table string
	id    int64
}

// NewExecutor returns an executor that writes through the capture's
// connection.
func NewExecutor(k *Capture) *Executor {
	x := &Executor{conn: k.conn, cap: k}
	x.Reset()
	return x
}

// Reset makes the executor what NewExecutor returned. It keeps small maps, so
// that a transaction of one row doesn't pay for new ones.
func (x *Executor) Reset() {
	x.went.reset()
	back := x.back[:0]
	if cap(back) > fewKeys {
		back = nil
	}
	*x = Executor{conn: x.conn, cap: x.cap, ids: emptied(x.ids), went: x.went, keys: emptied(x.keys), asked: emptied(x.asked), back: back}
}

// emptied returns an empty map: m, if it was small.
func emptied[K comparable, V any](m map[K]V) map[K]V {
	if m == nil || len(m) > fewKeys {
		return map[K]V{}
	}
	clear(m)
	return m
}

// fewKeys is the size up to which maps are used again.
const fewKeys = 64

// SetStrict makes Run refuse, with ErrStrict, whatever would not apply
// unchanged.
func (x *Executor) SetStrict(on bool) { x.strict = on }

// Skip marks an operation of the next change as refused before it runs.
func (x *Executor) Skip(index int, why string) {
	if x.skip == nil {
		x.skip = map[int]string{}
	}
	x.skip[index] = why
}

// Doubt marks an operation of the next change as one that may mean another row:
// what it overwrites is recorded.
func (x *Executor) Doubt(index int) {
	if x.doubt == nil {
		x.doubt = map[int]bool{}
	}
	x.doubt[index] = true
}

// unseen reports whether the running operation overwrites, in a row or one
// column of it, what its author can't have seen.
func (x *Executor) unseen(r *relation, rowid int64, column string) bool {
	return x.doubt[x.op] || x.Unseen != nil && !r.NoRowid && x.Unseen(r.Name, rowid, column)
}

// Expect notes which ids the changes to come ask for, so that none of them is
// given to another row.
func (x *Executor) Expect(c *Change) {
	for i := range c.Events {
		e := &c.Events[i]
		if e.Intent && e.Op == OpInsert && !e.Table.NoRowid && e.RowID > x.asked[e.Table.Name] {
			x.asked[e.Table.Name] = e.RowID
		}
	}
}

// Run executes the change's intents and rewrites their ids in place to those
// that the rows have. An operation that fails is recorded and reported, and
// the others go on. The results list the operations that did not simply apply.
// The capture's Finish then has the effects.
func (x *Executor) Run(c *Change) ([]wire.OpResult, error) {
	x.res, x.back, x.keysBack, x.retabled, x.broke = nil, x.back[:0], nil, nil, -1
	if len(x.keys) > 0 {
		x.keysBack = maps.Clone(x.keys)
	}
	x.originsBack = maps.Clone(x.origins)
	in := c.Intents()
	x.reserve(in)
	for i, e := range in {
		x.op, x.began, x.spent, x.next = i, time.Now(), x.cap.bytes, second(in, i)
		if why, ok := x.skip[i]; ok {
			x.lost = x.lost || e.Op == OpDelete
			kind := "raise"
			if strings.HasPrefix(why, "FOREIGN KEY") {
				kind = "foreign-key"
			}
			if m := x.moving(e); m != nil {
				x.refusedMove(m, e)
				e.vain = true
			}
			if err := x.reject(e, kind, why, nil); err != nil {
				return nil, err
			}
			continue
		}
		if err := x.run(e); err != nil {
			return nil, err
		}
		if x.forced != nil {
			if err := x.noteViolation(); err != nil {
				return nil, err
			}
		}
	}
	x.skip, x.forced, x.doubt = nil, nil, nil
	return x.res, nil
}

// noteViolation notes whether the running operation left a foreign key violated.
func (x *Executor) noteViolation() error {
	violated, err := x.conn.DeferredFKs()
	switch {
	case !violated:
		x.broke = -1
	case x.broke < 0:
		x.broke = x.op
	}
	return err
}

// Violated returns the index of the operation from which on, in the last Run
// after Force, a foreign key was violated; -1 if none was.
func (x *Executor) Violated() int { return x.broke }

// Op returns the index of the operation that ran last.
func (x *Executor) Op() int { return x.op }

// Cost returns how long that operation ran, up to now, and how many bytes of
// values it wrote.
func (x *Executor) Cost() (time.Duration, int64) { return time.Since(x.began), x.cap.bytes - x.spent }

// reserve gives new ids to inserts whose id is taken before anything runs, so
// that rows which refer to a later row of the same change find it.
func (x *Executor) reserve(in []*Event) {
	x.saved, x.free = nil, nil
	freed := map[idKey]bool(nil)
	if len(in) > 1 {
		freed = map[idKey]bool{}
	}
	for i, e := range in {
		if e.Op > OpDelete || e.Table.NoRowid {
			continue
		}
		r := x.cap.schema.find(e.Table.Name)
		if r == nil || !r.autoKey() && (r.ipkFK || !hasNullKey(e)) {
			continue
		}
		k := idKey{e.Table.Name, e.RowID}
		switch {
		case freed == nil && e.Op != OpInsert: // there is nobody to take it
		case e.Op == OpDelete:
			freed[k] = true
		case e.Op == OpUpdate:
			freed[k] = freed[k] || e.NewRowID != e.RowID
		case e.Op == OpInsert:
			if id, ok := x.forced[i]; ok {
				if !freed[k] { // else the id still means the row that leaves it
					x.save(k, id)
				}
				continue
			}
			if freed[k] || x.strict {
				continue
			}
			taken, err := x.taken(r, e.RowID)
			switch {
			case err != nil:
			case taken:
				if id, err := x.freeID(r); err == nil {
					x.save(k, id)
				}
			case i == 0:
				x.free = e
			}
		}
	}
}

// save sets an id aside for an insert of the running change.
func (x *Executor) save(k idKey, id int64) {
	if x.saved == nil {
		x.saved = map[idKey]int64{}
	}
	x.saved[k] = id
	x.setTo(k, id)
}

func (x *Executor) run(e *Event) error {
	switch e.Op {
	case OpDDL:
		return x.ddl(e)
	case OpSQL:
		return x.script(e)
	}
	r := x.cap.schema.find(e.Table.Name)
	if r == nil {
		return x.reject(e, "schema", "no such table: "+e.Table.Name, nil)
	}
	if r.kind == relView || r.kind == relShadow || r.skip {
		return x.reject(e, "schema", e.Table.Name+" is not a table that can be written", nil)
	}
	if r.NoRowid != e.Table.NoRowid {
		return x.reject(e, "schema", e.Table.Name+" is another kind of table now", nil)
	}
	if col := r.lacksKey(e.Table); col != "" {
		return x.reject(e, "schema", "no such column: "+col, nil)
	}
	x.mapReferences(r, e)
	switch e.Op {
	case OpInsert:
		if e.again && x.lost {
			return x.reject(e, "missing", "the row was deleted", nil)
		}
		return x.insert(r, e)
	case OpUpdate:
		return x.move(r, e)
	default:
		return x.delete(r, e)
	}
}

// mapReferences rewrites the row's references to parents whose id changed.
func (x *Executor) mapReferences(r *relation, e *Event) {
	e.self = nil
	x.mapKeys(r, e)
	for _, fk := range r.fks {
		if fk.col < 0 {
			e.RowID = x.resolve(fk.parent, e.RowID)
			e.NewRowID = x.resolve(fk.parent, e.NewRowID)
			continue
		}
		i := e.Table.column(r.Cols[fk.col])
		if i < 0 {
			continue
		}
		if e.Op == OpInsert && fk.parent == r.Name && e.New[i].Kind == sqlite.KindInteger && e.New[i].I == e.RowID {
			if e.self == nil {
				e.self = newBitset(len(e.Table.Cols))
			}
			e.self.set(i)
			continue // it follows the row's own id, whoever had that id before
		}
		for _, vals := range [][]sqlite.Value{e.Old, e.New} {
			if i < len(vals) && vals[i].Kind == sqlite.KindInteger {
				vals[i].I = x.resolve(fk.parent, vals[i].I)
			}
		}
	}
}

// stmt returns a cached statement for a text made once.
func (x *Executor) stmt(k stmtKey, sql func() string) (*sqlite.Stmt, error) {
	return x.conn.Cached(x.cap.texts.of(x.cap.schema.loaded).get(k, sql))
}

// do runs one writing statement under the capture. refused is why SQLite
// refused it; err is anything worse.
func (x *Executor) do(st *sqlite.Stmt) (refused *sqlite.Error, err error) {
	if err := x.cap.Before(st); err != nil {
		return asRefusal(err)
	}
	defer x.bound(st)()
	for {
		row, stepErr := st.Step()
		if row && stepErr == nil {
			continue
		}
		x.wrote = x.conn.Changes()
		if err := x.cap.After(st, stepErr); err != nil {
			if x.cap.err == nil && errors.Is(err, ErrUnsupported) {
				return asRefusal(err) // it was taken back
			}
			return nil, err
		}
		if stepErr == nil {
			return nil, nil
		}
		if x.cap.err != nil { // it may have interrupted the statement
			stepErr = x.cap.err
		}
		if x.conn.AutoCommit() {
			return nil, fmt.Errorf("%w: %w", ErrRolledBack, stepErr)
		}
		return asRefusal(stepErr)
	}
}

// bound keeps what the triggers of a statement hold below Options.MaxHeld, until
// the function that it returns is called.
func (x *Executor) bound(st *sqlite.Stmt) (end func()) {
	if x.cap.opt.MaxHeld == 0 || !st.HasTriggers() {
		return func() {}
	}
	was := x.conn.Limit(sqlite.LimitLength, -1)
	x.conn.Limit(sqlite.LimitLength, min(was, max(x.cap.opt.MaxHeld/st.Registers(), minHeld)))
	return func() { x.conn.Limit(sqlite.LimitLength, was) }
}

// minHeld is the length of a value that every trigger may hold.
const minHeld = 10_000

// doRow is do for a statement that must write one row. A trigger may have
// ignored it.
func (x *Executor) doRow(st *sqlite.Stmt) (refused *sqlite.Error, err error) {
	refused, err = x.do(st)
	if refused == nil && err == nil && x.wrote == 0 {
		refused = &sqlite.Error{Code: constraintTrigger, Message: "a trigger ignored the row"}
	}
	return refused, err
}

// asRefusal tells a statement that can't be run from a database that doesn't
// work: full disk, lost memory, interruption and the like.
func asRefusal(err error) (*sqlite.Error, error) {
	var se *sqlite.Error
	if errors.As(err, &se) {
		switch se.Primary() {
		case sqliteError, sqliteConstraint, sqliteMismatch, sqliteTooBig, sqliteRange, sqliteAuth:
			return se, nil
		}
	}
	if errors.Is(err, ErrUnsupported) {
		return &sqlite.Error{Code: sqliteError, Message: err.Error()}, nil
	}
	return nil, err
}

// Primary result codes, see https://www.sqlite.org/rescode.html.
const (
	sqliteError      = 1
	sqliteTooBig     = 18
	sqliteConstraint = 19
	sqliteMismatch   = 20
	sqliteAuth       = 23
	sqliteRange      = 25
)

// note reports the running operation's fate.
func (x *Executor) note(code wire.OpCode, id int64) {
	x.res = append(x.res, wire.OpResult{Index: uint32(x.op), Code: code, NewID: id})
}
