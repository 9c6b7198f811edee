package sqlite

import (
	"errors"
	"fmt"

	lib "modernc.org/sqlite/lib"
)

// Sentinels for misuse that never reaches SQLite.
var (
	// ErrClosed is returned by a connection or statement after Close or Finalize.
	ErrClosed = errors.New("sqlite: use after close")
	// ErrMisuse is returned when a call does not fit the state of its object,
	// such as binding while rows are being read.
	ErrMisuse = errors.New("sqlite: misuse")
	// ErrNoRow is returned by QueryInt and QueryText when there is no row.
	ErrNoRow = errors.New("sqlite: no row")
	// ErrPanic is matched by the error of a call whose callback panicked.
	ErrPanic = errors.New("sqlite: callback panicked")
)

// errFrozen answers calls made from a pre-update hook or an authorizer.
var errFrozen = misuse("use of the connection inside its hook")

// Primary result codes that callers compare with.
const (
	CodeError      = lib.SQLITE_ERROR
	CodeBusy       = lib.SQLITE_BUSY
	CodeLocked     = lib.SQLITE_LOCKED
	CodeNoMem      = lib.SQLITE_NOMEM
	CodeReadOnly   = lib.SQLITE_READONLY
	CodeInterrupt  = lib.SQLITE_INTERRUPT
	CodeIOErr      = lib.SQLITE_IOERR
	CodeCorrupt    = lib.SQLITE_CORRUPT
	CodeFull       = lib.SQLITE_FULL
	CodeCantOpen   = lib.SQLITE_CANTOPEN
	CodeSchema     = lib.SQLITE_SCHEMA
	CodeTooBig     = lib.SQLITE_TOOBIG
	CodeConstraint = lib.SQLITE_CONSTRAINT
	CodeMismatch   = lib.SQLITE_MISMATCH
	CodeMisuse     = lib.SQLITE_MISUSE
	CodeAuth       = lib.SQLITE_AUTH
	CodeRange      = lib.SQLITE_RANGE
	CodeNotADB     = lib.SQLITE_NOTADB

	CodeConstraintForeignKey = lib.SQLITE_CONSTRAINT_FOREIGNKEY // an extended one
)

// Error is an error reported by SQLite.
type Error struct {
	Code    int    // extended result code
	Message string // SQLite's message
	SQL     string // the statement, if there was one
	Offset  int    // byte offset of the offending token in SQL, or -1
}

// Error returns the message and the name of the code.
func (e *Error) Error() string {
	return fmt.Sprintf("sqlite: %s (%s)", e.Message, CodeName(e.Code))
}

// Primary returns the primary result code.
func (e *Error) Primary() int { return e.Code & 0xff }

// Is makes errors.Is(err, ErrMisuse) hold for SQLITE_MISUSE too.
func (e *Error) Is(target error) bool {
	return target == ErrMisuse && e.Primary() == lib.SQLITE_MISUSE
}

// Code returns the extended code of an *Error inside err, or 0.
func Code(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func isPrimary(err error, code int) bool { return err != nil && Code(err)&0xff == code }

// IsBusy reports whether another connection held a lock for too long.
func IsBusy(err error) bool {
	return isPrimary(err, lib.SQLITE_BUSY) || isPrimary(err, lib.SQLITE_LOCKED)
}

// IsConstraint reports whether a constraint was violated.
func IsConstraint(err error) bool { return isPrimary(err, lib.SQLITE_CONSTRAINT) }

// IsInterrupt reports whether Interrupt ended the call.
func IsInterrupt(err error) bool { return isPrimary(err, lib.SQLITE_INTERRUPT) }

// IsCorrupt reports whether the file is damaged or not a database.
func IsCorrupt(err error) bool {
	return isPrimary(err, lib.SQLITE_CORRUPT) || isPrimary(err, lib.SQLITE_NOTADB)
}

// IsFull reports whether the disk or the database is full.
func IsFull(err error) bool { return isPrimary(err, lib.SQLITE_FULL) }

// IsIO reports whether a file could not be read, written or opened.
func IsIO(err error) bool {
	return isPrimary(err, lib.SQLITE_IOERR) || isPrimary(err, lib.SQLITE_CANTOPEN)
}

// IsReadOnly reports whether a write was refused because the database or the
// connection is read-only.
func IsReadOnly(err error) bool { return isPrimary(err, lib.SQLITE_READONLY) }

// errcode makes the error of a result code. The text is SQLite's last message
// if it belongs to that code.
func (c *Conn) errcode(rc int32, sql string) error {
	e := &Error{Code: int(rc), SQL: sql, Offset: -1}
	if c.db == 0 {
		e.Message = goString(lib.Xsqlite3_errstr(c.tls, rc))
		return e
	}
	if got := lib.Xsqlite3_extended_errcode(c.tls, c.db); got&0xff == rc&0xff {
		e.Code = int(got)
		e.Message = goString(lib.Xsqlite3_errmsg(c.tls, c.db))
		e.Offset = int(lib.Xsqlite3_error_offset(c.tls, c.db))
	} else {
		e.Message = goString(lib.Xsqlite3_errstr(c.tls, rc))
	}
	return e
}

// misuse returns an error that matches ErrMisuse and says why.
func misuse(why string) error { return fmt.Errorf("%w: %s", ErrMisuse, why) }

// panicError is the error of a callback that panicked.
func panicError(where string, v any) error {
	return fmt.Errorf("%w in %s: %v", ErrPanic, where, v)
}
