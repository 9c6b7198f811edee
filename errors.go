package agentdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// The kinds of failure that a program branches on, with errors.Is.
var (
	// ErrNoRows says that Get found nothing. It is sql.ErrNoRows too.
	ErrNoRows error = noRows{}
	// ErrClosed says that the database was closed.
	ErrClosed = errors.New("agentdb: the database is closed")
	// ErrTxDone says that a transaction, or a statement of it, was used after its function had returned.
	ErrTxDone = fmt.Errorf("agentdb: %w", sql.ErrTxDone)
	// ErrReadOnly says that a write was refused: in View, in a read-only
	// transaction of database/sql, on a synced table in SyncPull mode, or in
	// a synced file that was opened without its URL.
	// Nothing has changed.
	ErrReadOnly = errors.New("agentdb: read-only")
	// ErrOffline says that the server can't be reached. Nothing has changed.
	ErrOffline = errors.New("agentdb: the server can't be reached")
	// ErrUnauthorized says that the server refused the token.
	ErrUnauthorized = errors.New("agentdb: the server refused the token")
	// ErrDiverged says that the local file doesn't agree with the history
	// of the server, and that it can't be repaired without losing a write.
	ErrDiverged = errors.New("agentdb: the local file and the server have diverged")
	// ErrQuota says that a limit of the server was reached.
	ErrQuota = errors.New("agentdb: a limit of the server was reached")
)

// RefusedError is the error of a sync when the server refuses one local
// transaction, because of its limits, whatever it is sent with. Those behind it
// wait until the server's limits are raised, or DropTransaction gives it up. It
// is an ErrQuota. Find it with errors.As.
type RefusedError struct {
	Transaction int64 // its number within the file
	Size        int   // bytes, as sent
	Err         error // what the server said
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("agentdb: transaction %d, %d bytes, is refused, and those behind it wait: %v", e.Transaction, e.Size, e.Err)
}

// Unwrap returns what the server said.
func (e *RefusedError) Unwrap() error { return e.Err }

type noRows struct{}

func (noRows) Error() string { return "agentdb: no rows" }
func (noRows) Unwrap() error { return sql.ErrNoRows }

// Error is what SQLite said about a statement. Find it with errors.As.
type Error struct {
	Code    int    // SQLite's extended result code, such as 2067
	Name    string // the code's name, such as "SQLITE_CONSTRAINT_UNIQUE"
	Message string // SQLite's words, such as "UNIQUE constraint failed: t.a"
	SQL     string // the statement, shortened when it is long; may be empty
	Offset  int    // the byte in the statement that a syntax error is about, or -1
}

func (e *Error) Error() string {
	return "agentdb: " + e.Message + " (" + e.Name + ")"
}

// Primary returns the primary result code, such as 19 (SQLITE_CONSTRAINT).
func (e *Error) Primary() int { return e.Code & 0xff }

// Is makes a write that SQLite itself refused an ErrReadOnly.
func (e *Error) Is(target error) bool {
	return target == ErrReadOnly && e.Primary() == codeReadOnly
}

// Primary result codes that this package acts on.
const (
	codeBusy      = 5
	codeReadOnly  = 8
	codeInterrupt = 9
)

// primary returns the primary result code in err, or 0.
func primary(err error) int {
	var se *sqlite.Error
	if errors.As(err, &se) {
		return se.Code & 0xff
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code & 0xff
	}
	return 0
}

// maxErrorSQL bounds the statement text that an error carries along.
const maxErrorSQL = 1 << 10

// fromEngine turns what the engine said into what a user sees: an
// interruption becomes the context's error, a *sqlite.Error an *Error.
func fromEngine(ctx context.Context, err error, text string) error {
	if err == nil {
		return nil
	}
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
	}
	if se.Code&0xff == codeInterrupt && ctx.Err() != nil {
		return ctxError(ctx)
	}
	if se.SQL != "" {
		text = se.SQL
	}
	if len(text) > maxErrorSQL {
		text = text[:maxErrorSQL]
	}
	if change.Guarded(se) {
		return &Error{Code: codeReadOnly, Name: sqlite.CodeName(codeReadOnly), Message: "the file is synced: open it with its URL to write to it", SQL: text, Offset: -1}
	}
	return &Error{Code: se.Code, Name: sqlite.CodeName(se.Code), Message: se.Message, SQL: text, Offset: se.Offset}
}

// ctxError is the error of a call whose context has ended.
func ctxError(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, err) {
		return fmt.Errorf("agentdb: %w: %w", err, cause)
	}
	return fmt.Errorf("agentdb: %w", err)
}
