package tenant

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// maxRegisters bounds the values that a statement of a client holds at a time,
// those of its triggers included, in bytes: a row of a thousand large ones would
// otherwise take all memory, and no interrupt stops it.
const maxRegisters = 1 << 30

// maxHeld is the same for the triggers of a row that an agent has pushed, where
// they ran without a bound.
const maxHeld = 4 << 30

// minValue is the length of a value that every statement may hold.
const minValue = 10_000

// limitValues bounds the values of a connection by what the statement that is to
// run holds at a time.
func limitValues(conn *sqlite.Conn, st *sqlite.Stmt) {
	conn.Limit(sqlite.LimitLength, min(maxValue, max(maxRegisters/max(st.Registers(), 1), minValue)))
}

// tooManyValues refuses a statement that could not be bounded so.
func tooManyValues(st *sqlite.Stmt) error {
	if n := st.Registers(); n > maxRegisters/minValue {
		return &sqlite.Error{
			Code: sqlite.CodeTooBig, Offset: -1,
			Message: fmt.Sprintf("the statement and its triggers hold %d values at a time; this server allows %d", n, maxRegisters/minValue),
		}
	}
	return nil
}

// explainFull says what is full if that are the statement's temporary files.
func explainFull(conn *sqlite.Conn, err error) error {
	if denied := conn.Temp().Denied(); !denied || !sqlite.IsFull(err) {
		return err
	}
	return &sqlite.Error{
		Code: sqlite.CodeFull, Offset: -1,
		Message: fmt.Sprintf("database or disk is full: what the statement sorts and gathers takes more than the %d MiB of temporary space "+
			"that this server allows, or is left of what all statements may use", conn.Temp().Max()>>20),
	}
}

// NoRoom reports whether the disk was full, for whatever was to be written.
func NoRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || sqlite.IsFull(err)
}
