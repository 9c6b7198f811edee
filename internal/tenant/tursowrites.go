package tenant

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/turso"
	"github.com/agentdb/agentdb/internal/wire"
)

// tursoOp is an operation on its way to the executor.
type tursoOp struct {
	e    *change.Event
	auto bool  // it inserts a row that is known by an id only
	id   int64 // as the client knows it; 0 for a row without a key
	rows *localRows
	// doubt says that it is not certain which row it means.
	doubt bool
}

// writes runs the statements of the push.
func (t *tursoRun) writes() error {
	t.x = change.NewExecutor(t.d.cap)
	t.x.Conflict = t.conflict
	t.in = change.NewIntents(t.x)
	t.state = t.before.next(t.p.Gen)
	t.state.Based, t.state.Boot = t.base != nil, t.d.m.pulls.boot
	if t.state.Based {
		t.state.Base, t.state.Others = t.base.seq, t.others
	}
	t.batch, t.deleted = nil, map[string]map[int64]bool{}
	t.replay = nil
	if t.known != nil {
		t.replay = t.known.copy(t.known.Gen)
	}
	for _, s := range []*tursoState{t.replay, t.state} {
		if s == nil {
			continue
		}
		for table, ids := range s.IDs {
			for from, to := range ids {
				t.x.Moved(table, from, to)
			}
		}
	}
	failed := t.watch()
	if t.parsed == nil {
		t.parse()
	}
	t.waiting = map[int][]int{}
	for i := range t.parsed {
		if i == t.replays {
			if err := t.endReplay(); err != nil {
				return err
			}
		}
		wait, err := t.early(i)
		if err == nil && !wait {
			err = t.write(i)
		}
		for _, j := range t.waiting[i] {
			if err == nil {
				err = t.write(j)
			}
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(t.flush(), *failed)
}

// watch lets the executor ask what the client has seen. What fails of that is in
// the error.
func (t *tursoRun) watch() *error {
	failed := new(error)
	row := func(table string, rowid int64) string {
		return (&change.Event{Op: change.OpInsert, Table: &change.Table{Name: table}, NewRowID: rowid}).RowKey()
	}
	t.x.Seen = func(table string, rowid int64) bool {
		known, err := t.unseen.knows(row(table, rowid))
		*failed = errors.Join(*failed, err)
		return known
	}
	written := map[string]bool{}
	t.x.Unseen = func(table string, rowid int64, column string) bool {
		since, key := &t.unseen, row(table, rowid)
		if t.exact && t.replay != nil {
			since = &t.unseenBy
		}
		known, err := since.saw(key, column)
		*failed = errors.Join(*failed, err)
		mine := written[key+"\x00"+column]
		written[key+"\x00"+column] = true
		return !known && !mine
	}
	return failed
}

// endReplay ends the statements that the client has run again: from here on, ids
// mean what they mean on the base, unless the client has put a row of its own
// there.
func (t *tursoRun) endReplay() error {
	if t.replay == nil {
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	for table, ids := range t.replay.IDs {
		for id := range ids {
			if !t.state.owns(table, id) {
				t.x.Moved(table, id, id)
			}
		}
	}
	t.replay = nil
	return nil
}

// parse takes the statements apart, and notes where rows are inserted.
func (t *tursoRun) parse() {
	t.parsed = make([]turso.Write, len(t.p.Writes))
	t.inserts = map[string]int{}
	for i := range t.parsed {
		w := turso.ParseWrite(t.p.Writes[i].SQL)
		t.parsed[i] = w
		if w.Op == turso.OpInsert && len(w.Key) > 0 {
			t.inserts[rowText(w.Table, keyVals(&w, t.p.Writes[i].Args))] = i
		}
	}
}

func rowText(table string, key []sqlite.Value) string {
	b := []byte(table)
	for _, v := range key {
		b = append(b, 0, byte(v.Kind))
		b = binary.AppendVarint(b, v.I)
		b = binary.AppendUvarint(b, uint64(len(v.B)))
		b = append(b, v.B...)
	}
	return string(b)
}

// early reports whether a statement has to wait for one that comes later, and
// puts it there: what a trigger did to a new row comes before the row.
func (t *tursoRun) early(i int) (bool, error) {
	w, args := &t.parsed[i], t.p.Writes[i].Args
	if w.Op != turso.OpUpdate || w.RowID || len(args) != len(w.Cols)+len(w.Key) {
		return false, nil
	}
	key := args[len(w.Cols):]
	at, ok := t.inserts[rowText(w.Table, key)]
	if !ok || at < i || !t.in.Table(w.Table) {
		return false, nil
	}
	var there bool
	if id, auto := t.keyID(w.Table, w.Key, key); auto {
		var err error
		if there = t.owns(w.Table, id); !there {
			if there, err = t.in.Exists(w.Table, id); err == nil && there {
				there, err = t.base.has(w.Table, id)
			}
		}
		if err != nil {
			return false, err
		}
	} else {
		if err := t.flush(); err != nil {
			return false, err
		}
		row, err := t.in.Sole(w.Table, w.Key, w.Key, key)
		if err != nil {
			return false, err
		}
		there = row != nil
	}
	if !there {
		t.waiting[at] = append(t.waiting[at], i)
	}
	return !there, nil
}

// write takes one statement.
func (t *tursoRun) write(i int) error {
	q, w := &t.p.Writes[i], &t.parsed[i]
	args := q.Args
	want := len(w.Cols)
	if w.Op != turso.OpInsert {
		want += len(w.Key)
	}
	if w.RowID {
		want++
	}
	if w.Op == turso.OpOther || len(args) != want || w.RowID && args[want-1].Kind != sqlite.KindInteger {
		return t.other(q)
	}
	op := &tursoOp{doubt: t.doubts(w, args)}
	var err error
	switch w.Op {
	case turso.OpInsert:
		err = t.insert(op, w, args)
	case turso.OpUpdate:
		err = t.update(op, w, args)
	default:
		if skip, err := t.replaces(i); err != nil || skip {
			return err
		}
		err = t.delete(op, w, args)
	}
	if errors.Is(err, change.ErrNoTable) {
		return t.other(q) // SQLite says what is wrong with it
	}
	if errors.Is(err, errVague) {
		return t.conflict(change.StatementConflict(q.SQL, q.Args, err))
	}
	if err == nil {
		t.batch = append(t.batch, op)
	}
	return err
}

// doubts reports whether an operation may mean the row that has its id now, not
// the client's own that had it before a pull: one of several pulls.
func (t *tursoRun) doubts(w *turso.Write, args []sqlite.Value) bool {
	if t.replay == nil || !t.again || w.Op == turso.OpInsert {
		return false
	}
	id, ok := t.keyID(w.Table, w.Key, args[len(w.Cols):])
	if !ok || t.state.owns(w.Table, id) {
		return false
	}
	_, moved := t.replay.IDs[w.Table][id]
	return moved
}

// keyID returns the id that a statement names its row by, if it does.
func (t *tursoRun) keyID(table string, key []string, vals []sqlite.Value) (int64, bool) {
	if len(key) != 1 || len(vals) != 1 || vals[0].Kind != sqlite.KindInteger || !t.in.AutoKey(table) {
		return 0, false
	}
	return vals[0].I, true
}

// keyVals returns the values of an insertion's key.
func keyVals(w *turso.Write, args []sqlite.Value) []sqlite.Value {
	var vals []sqlite.Value
	for _, k := range w.Key {
		for i, c := range w.Cols {
			if c == k && i < len(args) {
				vals = append(vals, args[i])
			}
		}
	}
	return vals
}

// replaces reports whether a DELETE is to be left out that the client sends
// before it inserts the same row.
//
// A client that pulls before it pushes runs its changes again, on the new rows.
// If an id that it had given to a row was taken meanwhile, it deletes the row
// that has it. So a row which the client can't have seen when it last pushed is
// not deleted: the insertion then gets another id. Rows with other keys are
// merged.
func (t *tursoRun) replaces(i int) (bool, error) {
	if i+1 == len(t.parsed) {
		return false, nil
	}
	w, next := &t.parsed[i], &t.parsed[i+1]
	if next.Op != turso.OpInsert || next.Table != w.Table || w.RowID || len(next.Key) != len(w.Key) {
		return false, nil
	}
	args, nextArgs := t.p.Writes[i].Args, t.p.Writes[i+1].Args
	key := keyVals(next, nextArgs)
	if len(key) != len(args) {
		return false, nil
	}
	for i := range key {
		if next.Key[i] != w.Key[i] || !key[i].Equal(args[i]) {
			return false, nil
		}
	}
	id, ok := t.keyID(w.Table, w.Key, args)
	if !ok {
		return !t.in.AutoKey(w.Table), nil
	}
	if t.exact && t.replay == nil || t.owns(w.Table, id) || t.deleted[w.Table][id] {
		return false, nil
	}
	had, err := t.origin.has(w.Table, id)
	if err != nil || had || t.putBefore().put(w.Table, id) {
		return false, err
	}
	if t.deleted[w.Table] == nil {
		t.deleted[w.Table] = map[int64]bool{}
	}
	t.deleted[w.Table][id] = true // the insertion is of a new row
	return true, nil
}

// putBefore returns what the client put into the state that the statements were
// made on, with its pushes before.
func (t *tursoRun) putBefore() *tursoState {
	if t.exact {
		return t.replay
	}
	return t.before
}

// flush runs the operations that were collected.
func (t *tursoRun) flush() error {
	if len(t.batch) == 0 {
		return nil
	}
	c := &change.Change{}
	for _, op := range t.batch {
		c.Events = append(c.Events, *op.e)
	}
	t.x.Expect(c)
	for i, op := range t.batch {
		if op.doubt {
			t.x.Doubt(i)
		}
	}
	if t.refuse != "" {
		for i := range c.Events {
			t.x.Skip(i, t.refuse)
		}
	}
	res, err := t.x.Run(c)
	if err != nil {
		return err
	}
	refused := map[uint32]bool{}
	for _, r := range res {
		refused[r.Index] = r.Code == wire.OpRejected
	}
	for i, op := range t.batch {
		if !op.auto {
			continue
		}
		if op.rows != nil {
			here := c.Events[i].RowID
			if refused[uint32(i)] {
				here = nowhere
			}
			op.rows.add(here)
			if t.replay != nil { // the client has numbered it anew
				l, err := t.rowsOn(t.state, op.e.Table.Name, t.base, t.others)
				if err != nil {
					return err
				}
				l.add(here)
			}
		} else if to := t.x.Where(op.e.Table.Name, op.id); to != op.id {
			t.state.moved(op.e.Table.Name, op.id, to)
		}
	}
	t.batch = nil
	return nil
}

// nowhere is the rowid of rows that are not here.
const nowhere = -1 << 62

// other runs a statement of another form: a schema change, or what the
// application made of a change. What fails is recorded.
func (t *tursoRun) other(q *Query) error {
	if err := t.flush(); err != nil {
		return err
	}
	if isSchemaChange(q.SQL) && len(q.Args) == 0 {
		_, err := t.x.Run(&change.Change{Events: []change.Event{*change.DDL(strings.TrimRight(q.SQL, "; \n"))}})
		return err
	}
	if err, ok := t.skipped[q]; ok {
		return t.conflict(change.StatementConflict(q.SQL, q.Args, err))
	}
	g := &t.d.guest
	g.active = true
	defer func() { g.active = false }()
	p, err := g.single(t.d.conn, q.SQL)
	if err == nil && p == nil {
		return nil
	}
	if err != nil {
		return t.failed(q, err)
	}
	defer g.cache.put(p)
	if p.st == nil || p.control != "" || p.readOnly {
		return t.failed(q, logic("not possible in a push"))
	}
	if err := bind(p.st, q); err != nil {
		return t.failed(q, err)
	}
	if t.refuse != "" {
		return t.failed(q, logic(t.refuse))
	}
	k := t.d.cap
	if err := k.Before(p.st); err != nil {
		return t.failed(q, err)
	}
	stepErr := (&watch{st: p.st}).step(nil, nil)
	if err := k.After(p.st, stepErr); err != nil {
		return err
	}
	if stepErr != nil {
		return t.failed(q, g.explain(stepErr))
	}
	return nil
}

func isSchemaChange(sql string) bool {
	word, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
	switch strings.ToUpper(word) {
	case "CREATE", "DROP", "ALTER":
		return true
	}
	return false
}

// failed records a statement that failed, unless the database did.
func (t *tursoRun) failed(q *Query, err error) error {
	g := &t.d.guest
	was := g.active
	g.active = false
	defer func() { g.active = was }()
	if t.d.conn.AutoCommit() {
		if t.skipped == nil {
			t.skipped = map[*Query]error{}
		}
		t.skipped[q] = err
		return errAgain
	}
	if sqlite.IsInterrupt(err) || sqlite.IsFull(err) || errors.Is(err, change.ErrTooMuch) {
		return err
	}
	return t.conflict(change.StatementConflict(q.SQL, q.Args, err))
}
