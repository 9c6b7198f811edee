package sqlite

import (
	"fmt"
	"unsafe"

	lib "modernc.org/sqlite/lib"
)

// slotLimit is the largest value kept in a parameter's own buffer. Larger ones
// get memory of their own, which SQLite frees.
const slotLimit = 4096

// BindCount returns the number of parameters.
func (s *Stmt) BindCount() int {
	if s.p == 0 {
		return 0
	}
	return int((*lib.TVdbe)(ptr(s.p)).FnVar)
}

// BindName returns the name of parameter i, with its prefix, or "".
func (s *Stmt) BindName(i int) string {
	names := s.paramNames()
	if i < 1 || i > len(names) {
		return ""
	}
	return names[i-1]
}

// BindIndex returns the number of the parameter with that name, which includes
// the prefix, or 0.
func (s *Stmt) BindIndex(name string) int {
	if name == "" {
		return 0
	}
	for i, n := range s.paramNames() {
		if n == name {
			return i + 1
		}
	}
	return 0
}

func (s *Stmt) paramNames() []string {
	if s.params == nil && s.p != 0 {
		s.params = make([]string, s.BindCount())
		for i := range s.params {
			s.params[i] = goString(lib.Xsqlite3_bind_parameter_name(s.c.tls, s.p, int32(i+1)))
		}
	}
	return s.params
}

// Bind sets parameter i, counted from 1.
func (s *Stmt) Bind(i int, v Value) error {
	switch v.Kind {
	case KindNull:
		return s.BindNull(i)
	case KindInteger:
		return s.BindInt64(i, v.I)
	case KindFloat:
		return s.BindFloat(i, v.Float())
	case KindText:
		return s.bindBytes(i, unsafe.String(unsafe.SliceData(v.B), len(v.B)), true)
	case KindBlob:
		return s.BindBlob(i, v.B)
	}
	return misuse(fmt.Sprintf("bind of invalid kind %d", v.Kind))
}

// BindArgs binds args to parameters 1, 2, 3 and so on. Their number must match.
func (s *Stmt) BindArgs(args ...Value) error {
	if n := s.BindCount(); n != len(args) && s.state != stateClosed {
		return misuse(fmt.Sprintf("%d arguments for %d parameters", len(args), n))
	}
	for i, v := range args {
		if err := s.Bind(i+1, v); err != nil {
			return err
		}
	}
	return nil
}

// BindNull sets parameter i to NULL.
func (s *Stmt) BindNull(i int) error {
	if s.state != stateReady {
		return s.refuse("Bind")
	}
	return s.bindResult(lib.Xsqlite3_bind_null(s.c.tls, s.p, index32(i)))
}

// BindInt64 sets parameter i to an integer.
func (s *Stmt) BindInt64(i int, v int64) error {
	if s.state != stateReady {
		return s.refuse("Bind")
	}
	return s.bindResult(lib.Xsqlite3_bind_int64(s.c.tls, s.p, index32(i), v))
}

// BindFloat sets parameter i to a number. NaN becomes NULL.
func (s *Stmt) BindFloat(i int, v float64) error {
	if s.state != stateReady {
		return s.refuse("Bind")
	}
	return s.bindResult(lib.Xsqlite3_bind_double(s.c.tls, s.p, index32(i), v))
}

// BindText sets parameter i to a text, which may contain NUL.
func (s *Stmt) BindText(i int, v string) error { return s.bindBytes(i, v, true) }

// BindBlob sets parameter i to a blob. A nil v is an empty blob, not NULL.
func (s *Stmt) BindBlob(i int, v []byte) error {
	return s.bindBytes(i, unsafe.String(unsafe.SliceData(v), len(v)), false)
}

// index32 keeps an index that does not fit 32 bits from wrapping around.
func index32(i int) int32 {
	if i < -1 || i > 1<<30 {
		return -1
	}
	return int32(i)
}

func (s *Stmt) bindResult(rc int32) error {
	if rc == lib.SQLITE_OK {
		return nil
	}
	return s.c.errcode(rc, s.text)
}

// bindBytes copies v into memory of SQLite and binds it. Small values go into a
// buffer that the parameter keeps: it is only written while the statement is
// ready, so no running statement ever sees it change.
func (s *Stmt) bindBytes(i int, v string, text bool) error {
	if s.state != stateReady {
		return s.refuse("Bind")
	}
	c := s.c
	if n := s.BindCount(); i < 1 || i > n {
		return &Error{Code: lib.SQLITE_RANGE, Message: "bind index out of range", SQL: s.text, Offset: -1}
	}
	if len(v) > slotLimit {
		return s.bindLarge(i, v, text)
	}
	p := s.slot(i, len(v))
	if p == 0 {
		return c.errcode(lib.SQLITE_NOMEM, s.text)
	}
	copy(view(p, len(v)), v)
	return s.bindMemory(i, p, len(v), 0, text)
}

// slot returns a parameter's own buffer, with room for n bytes, or 0.
func (s *Stmt) slot(i, n int) uintptr {
	if s.slots == nil {
		s.slots = make([]buffer, s.BindCount())
	}
	slot := &s.slots[i-1]
	if n >= slot.cap {
		// The old buffer must not stay bound once it is freed.
		lib.Xsqlite3_bind_null(s.c.tls, s.p, int32(i))
		if !slot.reserve(s.c.tls, n) {
			return 0
		}
	}
	return slot.p
}

// BindAppended sets parameter i to the blob that fill appends to an empty slice,
// which has room for so many bytes in memory of SQLite: a large blob is nowhere
// else then. fill must not use the connection.
func (s *Stmt) BindAppended(i, room int, fill func([]byte) []byte) error {
	if s.state != stateReady {
		return s.refuse("Bind")
	}
	if i < 1 || i > s.BindCount() || room <= 0 || room > s.c.Limit(LimitLength, -1) {
		return s.BindBlob(i, fill(nil)) // which fails, if it must
	}
	var p, destroy uintptr
	if room <= slotLimit {
		p = s.slot(i, room)
	} else {
		p, destroy = malloc(s.c.tls, room), fnptr(lib.Xsqlite3_free)
	}
	if p == 0 {
		return s.c.errcode(lib.SQLITE_NOMEM, s.text)
	}
	b := fill(view(p, room)[:0])
	if unsafe.SliceData(b) != (*byte)(ptr(p)) { // there was not enough
		if destroy != 0 {
			free(s.c.tls, p)
		}
		return s.BindBlob(i, b)
	}
	return s.bindMemory(i, p, len(b), destroy, false)
}

func (s *Stmt) bindLarge(i int, v string, text bool) error {
	c := s.c
	if len(v) > c.Limit(LimitLength, -1) {
		return &Error{Code: lib.SQLITE_TOOBIG, Message: "string or blob too big", SQL: s.text, Offset: -1}
	}
	p := malloc(c.tls, len(v))
	if p == 0 {
		return c.errcode(lib.SQLITE_NOMEM, s.text)
	}
	copy(view(p, len(v)), v)
	return s.bindMemory(i, p, len(v), fnptr(lib.Xsqlite3_free), text)
}

// bindMemory binds n bytes at p. SQLite calls destroy, if not 0, also on error.
func (s *Stmt) bindMemory(i int, p uintptr, n int, destroy uintptr, text bool) error {
	if text {
		return s.bindResult(lib.Xsqlite3_bind_text64(s.c.tls, s.p, int32(i), p, uint64(n), destroy, lib.SQLITE_UTF8))
	}
	return s.bindResult(lib.Xsqlite3_bind_blob64(s.c.tls, s.p, int32(i), p, uint64(n), destroy))
}

// Bound returns copies of the values the parameters are bound to.
func (s *Stmt) Bound() []Value {
	n := s.BindCount()
	if n == 0 {
		return nil
	}
	first := (*lib.TVdbe)(ptr(s.p)).FaVar
	vals := make([]Value, n)
	for i := range vals {
		vals[i] = s.c.copyCell((*lib.TMem)(ptr(first + uintptr(i)*memSize)))
	}
	return vals
}
