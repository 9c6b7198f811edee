package sqlite

import (
	"fmt"
	"strings"
	"unsafe"

	lib "modernc.org/sqlite/lib"
)

// stmtState says which calls a statement accepts now.
type stmtState uint8

const (
	stateClosed  stmtState = iota // finalized
	stateIdle                     // in the cache, belongs to nobody
	stateReady                    // may be bound and stepped
	stateRow                      // has a current row
	stateDone                     // has returned its last row or an error
	stateRunning                  // inside Step
)

// Stmt is a prepared statement.
type Stmt struct {
	// Tag belongs to the user of the statement. It stays with the statement in
	// the cache.
	Tag any

	c     *Conn
	p     uintptr
	text  string
	state stmtState
	fail  bool // the last Step failed, so Reset repeats its error

	row  uintptr // cells of the current row, 0 without one
	cols int     // cells in the row

	slots  []buffer // one per parameter, see bindBytes
	params []string // names of the parameters, nil until asked
	meta   columnMeta

	prev, next *Stmt // Conn.stmts
	entry      cacheEntry
}

// Prepare compiles the first statement of sql and returns the text after it.
// The statement is nil if there is only white space or a comment.
func (c *Conn) Prepare(sql string) (*Stmt, string, error) {
	return c.prepare(sql, lib.SQLITE_PREPARE_PERSISTENT)
}

func (c *Conn) prepare(sql string, flags uint32) (*Stmt, string, error) {
	if c.db == 0 {
		return nil, "", ErrClosed
	}
	if c.frozen {
		return nil, "", errFrozen
	}
	if i := strings.IndexByte(sql, 0); i >= 0 {
		return nil, "", &Error{Code: lib.SQLITE_ERROR, Message: "NUL in SQL text", Offset: i}
	}
	if len(sql) > c.Limit(LimitSQLLength, -1) {
		return nil, "", &Error{Code: lib.SQLITE_TOOBIG, Message: "statement too long", Offset: -1}
	}
	if !c.sql.set(c.tls, sql) {
		return nil, "", c.errcode(lib.SQLITE_NOMEM, "")
	}
	start := c.sql.p
	c.running++
	rc := lib.Xsqlite3_prepare_v3(c.tls, c.db, start, int32(len(sql)+1), flags, c.scratch+slotOut, c.scratch+slotTail)
	c.running--
	p := readPtr(c.scratch + slotOut)
	if rc != lib.SQLITE_OK || c.hooks.err != nil {
		lib.Xsqlite3_finalize(c.tls, p)
		if err := c.takeHookError(); err != nil {
			return nil, "", err
		}
		return nil, "", c.errcode(rc, sql)
	}
	end := int(readPtr(c.scratch+slotTail) - start)
	if c.sql.cap > keepSQLBuffer {
		c.sql.release(c.tls)
	}
	if p == 0 {
		return nil, sql[end:], nil
	}
	s := &Stmt{c: c, p: p, text: sql[:end], state: stateReady}
	s.next = c.stmts
	if s.next != nil {
		s.next.prev = s
	}
	c.stmts = s
	return s, sql[end:], nil
}

// PassTriggers compiles a statement that is ready again, with its bindings, so
// that it fires no triggers but those of the temp database. SQLite compiles it
// once more by itself, with all triggers, when the schema changes.
func (s *Stmt) PassTriggers() error {
	if s.state != stateReady {
		return s.refuse("PassTriggers")
	}
	// DBConfig would make SQLite compile all other statements again.
	flags := &(*lib.Tsqlite3)(ptr(s.c.db)).Fflags
	was := *flags & lib.SQLITE_EnableTrigger
	*flags &^= lib.SQLITE_EnableTrigger
	defer func() { *flags |= was }()
	n, _, err := s.c.Prepare(s.text)
	if err != nil || n == nil {
		return err
	}
	lib.Xsqlite3_transfer_bindings(s.c.tls, s.p, n.p)
	(*lib.TVdbe)(ptr(n.p)).FaCounter[lib.SQLITE_STMTSTATUS_REPREPARE] = s.Reprepared() + 1
	s.p, n.p = n.p, s.p
	n.Finalize()
	return nil
}

// keepSQLBuffer is the largest text buffer kept between two prepares.
const keepSQLBuffer = 64 << 10

// SQL returns the text of the statement.
func (s *Stmt) SQL() string { return s.text }

// ReadOnly reports whether the statement itself writes nothing to the
// database. It is true for BEGIN and COMMIT.
func (s *Stmt) ReadOnly() bool {
	return s.p != 0 && lib.Xsqlite3_stmt_readonly(s.c.tls, s.p) != 0
}

// IsExplain reports whether the statement is an EXPLAIN or EXPLAIN QUERY PLAN.
func (s *Stmt) IsExplain() bool {
	return s.p != 0 && lib.Xsqlite3_stmt_isexplain(s.c.tls, s.p) != 0
}

// TakeSteps returns how many rows the statement's loops have visited since it was
// called last: those of tables, indexes, sorters and temporary tables, also in its
// triggers. A loop over part of an index counts the row after its last one, not
// its first. A row that is looked up by its key isn't counted.
func (s *Stmt) TakeSteps() int64 {
	if s.p == 0 {
		return 0
	}
	// OP_Next and its like count in the slot that their P5 names: 0, where
	// sqlite3_stmt_status has nothing, unless the loop is a full scan.
	n := &(*lib.TVdbe)(ptr(s.p)).FaCounter
	steps := int64(n[0]) + int64(n[lib.SQLITE_STMTSTATUS_FULLSCAN_STEP]) + int64(n[lib.SQLITE_STMTSTATUS_AUTOINDEX])
	if n[lib.SQLITE_STMTSTATUS_FULLSCAN_STEP] > 0 {
		steps++ // the first row
	}
	n[0], n[lib.SQLITE_STMTSTATUS_FULLSCAN_STEP], n[lib.SQLITE_STMTSTATUS_AUTOINDEX] = 0, 0, 0
	return steps
}

// Step runs the statement up to its next row. After it has returned false or
// an error, the statement needs Reset.
func (s *Stmt) Step() (bool, error) {
	if s.state != stateReady && s.state != stateRow {
		return false, s.refuse("Step")
	}
	c := s.c
	if c.frozen {
		return false, errFrozen
	}
	s.row = 0
	s.state = stateRunning
	c.running++
	rc := lib.Xsqlite3_step(c.tls, s.p)
	c.running--
	if c.hooks.err == nil {
		if rc == lib.SQLITE_ROW {
			v := (*lib.TVdbe)(ptr(s.p))
			s.row, s.cols, s.state = v.FpResultRow, int(v.FnResColumn), stateRow
			return true, nil
		}
		if rc == lib.SQLITE_DONE {
			s.state = stateDone
			return false, nil
		}
	}
	return false, s.stepError(rc)
}

// stepError is the slow end of Step.
func (s *Stmt) stepError(rc int32) error {
	s.state = stateDone
	if err := s.c.takeHookError(); err != nil {
		s.fail = rc != lib.SQLITE_ROW && rc != lib.SQLITE_DONE
		return err
	}
	s.fail = true
	if rc&0xff == lib.SQLITE_BUSY && lib.Xsqlite3_is_interrupted(s.c.tls, s.c.db) != 0 {
		return &Error{Code: lib.SQLITE_INTERRUPT, Message: "interrupted", SQL: s.text, Offset: -1}
	}
	return s.c.errcode(rc, s.text)
}

// refuse explains why a call does not fit the state.
func (s *Stmt) refuse(call string) error {
	switch s.state {
	case stateClosed:
		return ErrClosed
	case stateIdle:
		return misuse(call + " on a statement already given back")
	case stateRunning:
		return misuse(call + " inside a callback of the same statement")
	case stateDone:
		return misuse(call + " without Reset")
	}
	return misuse(call + " while rows are being read")
}

// Reset ends the execution, so that the statement can be bound and stepped
// again. Bindings are kept. An error that Step has returned is not repeated.
func (s *Stmt) Reset() error {
	switch s.state {
	case stateClosed, stateIdle, stateRunning:
		return s.refuse("Reset")
	}
	if s.c.frozen {
		return errFrozen
	}
	return s.reset()
}

func (s *Stmt) reset() error {
	c := s.c
	fail := s.fail
	s.row, s.fail, s.state = 0, false, stateRunning
	c.running++
	rc := lib.Xsqlite3_reset(c.tls, s.p)
	c.running--
	s.state = stateReady
	if c.hooks.err != nil {
		return c.takeHookError()
	}
	if rc != lib.SQLITE_OK && !fail {
		return c.errcode(rc, s.text)
	}
	return nil
}

// ClearBindings sets all parameters to NULL.
func (s *Stmt) ClearBindings() {
	if s.state == stateReady {
		lib.Xsqlite3_clear_bindings(s.c.tls, s.p)
	}
}

// Done resets the statement, clears its bindings and gives it back to the
// cache. A statement that did not come from Cached is finalized. To learn
// whether leaving a RETURNING statement early failed, call Reset first.
func (s *Stmt) Done() {
	switch s.state {
	case stateClosed, stateIdle, stateRunning:
		return
	}
	if s.c.frozen {
		return
	}
	if !s.entry.cached {
		s.close()
		return
	}
	_ = s.reset()
	if s.BindCount() > 0 {
		lib.Xsqlite3_clear_bindings(s.c.tls, s.p)
	}
	s.state = stateIdle
}

// Finalize destroys the statement. Finalizing twice is allowed; inside a
// callback of the statement itself, or one that must not use the connection, it
// does nothing.
func (s *Stmt) Finalize() {
	if s.state == stateClosed || s.state == stateRunning || s.c.frozen {
		return
	}
	s.close()
}

func (s *Stmt) close() {
	c := s.c
	if s.entry.cached {
		c.cache.drop(s)
	}
	s.state, s.row = stateRunning, 0
	c.running++
	lib.Xsqlite3_finalize(c.tls, s.p)
	c.running--
	s.state, s.p = stateClosed, 0
	for i := range s.slots {
		s.slots[i].release(c.tls)
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		c.stmts = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.prev, s.next, s.slots, s.meta = nil, nil, nil, columnMeta{}
}

// String returns the text, for messages.
func (s *Stmt) String() string { return fmt.Sprintf("statement %q", s.text) }

const (
	memSize = unsafe.Sizeof(lib.TMem{})
	ptrSize = unsafe.Sizeof(uintptr(0))
)
