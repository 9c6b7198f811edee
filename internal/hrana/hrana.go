// Package hrana speaks the Hrana protocol: SQL for clients of libSQL and Turso.
// It decodes requests, runs them on streams, and encodes what they answer, as
// JSON or protobuf. It knows nothing of HTTP and WebSockets; a database is a [Conn] to it.
//
// A [Stream] is what a connection is to other databases. One with a transaction
// outlives the request that began it: [Streams] keeps it for a while, under a
// baton that the client brings along with its next request.
//
// Everything that comes from outside is bounded: the depth of conditions, stored
// SQL, answers, the number of streams and how long they live.
package hrana

import (
	"context"
	"errors"
	"fmt"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
)

// Conn runs SQL on one database. It is used by one goroutine at a time.
type Conn interface {
	// Run runs one statement; its rows go to rows if that is not nil.
	Run(ctx context.Context, q *tenant.Query, rows tenant.Rows) (tenant.Result, error)
	// Script runs all statements of a text.
	Script(ctx context.Context, sql string) error
	// Describe prepares a statement.
	Describe(ctx context.Context, sql string) (*tenant.Description, error)
	// InTransaction reports whether a transaction is open.
	InTransaction() bool
	// Fresh reports whether a new Conn would do as well.
	Fresh() bool
	// Settle returns when what was written and read is durable. It may be
	// called while a statement runs.
	Settle(ctx context.Context) error
	// Wait calls fn, which waits for the client while a statement runs.
	Wait(fn func() error) error
	// Close rolls back an open transaction.
	Close()
}

// Error is an error as clients see it.
type Error struct {
	Message string
	Code    string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errors of a request as a whole.
var (
	// ErrMalformed: the request can't be decoded.
	ErrMalformed = errors.New("hrana: malformed request")
	// ErrExpired: the baton is not good any more, or never was.
	ErrExpired = errors.New("hrana: the stream has expired")
	// ErrStreams: there are too many streams.
	ErrStreams = errors.New("hrana: too many streams")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Codes that are not SQLite's.
const (
	codeManyStatements = "SQL_MANY_STATEMENTS"
	codeNoStatement    = "SQL_NO_STATEMENT"
	codeArguments      = "ARGS_INVALID"
	codeTooLarge       = "RESPONSE_TOO_LARGE"
	codeMemory         = "SERVER_BUSY"
	codeSQL            = "SQL_STORE"
	codeTimeout        = "TRANSACTION_TIMEOUT"
	codeExpired        = "STREAM_EXPIRED"
)

// visible returns what a client may know of an error; nil if that is nothing,
// and the request failed as a whole.
func visible(err error) *Error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e
	}
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		return &Error{Message: "SQLite error: " + e.Message, Code: sqlite.CodeName(e.Code)}
	}
	switch {
	case errors.Is(err, tenant.ErrManyStatements):
		return &Error{"the SQL text has more than one statement: use a batch or a sequence", codeManyStatements}
	case errors.Is(err, tenant.ErrNoStatement):
		return &Error{"the SQL text has no statement", codeNoStatement}
	case errors.Is(err, tenant.ErrArguments):
		return &Error{"wrong arguments: " + errText(err, tenant.ErrArguments), codeArguments}
	case errors.Is(err, tenant.ErrLost):
		return &Error{"the transaction was rolled back: the server had to open the database anew", codeExpired}
	}
	return nil
}

// errText is the text of err after that of the kind it wraps.
func errText(err, kind error) string {
	s, k := err.Error(), kind.Error()
	if len(s) > len(k)+2 {
		return s[len(k)+2:]
	}
	return s
}

// Kind is the kind of a request.
type Kind uint8

// The kinds of requests on a stream.
const (
	KindClose Kind = iota + 1
	KindExecute
	KindBatch
	KindSequence
	KindDescribe
	KindStoreSQL
	KindCloseSQL
	KindGetAutocommit
)

var kindNames = map[Kind]string{
	KindClose: "close", KindExecute: "execute", KindBatch: "batch", KindSequence: "sequence", KindDescribe: "describe",
	KindStoreSQL: "store_sql", KindCloseSQL: "close_sql", KindGetAutocommit: "get_autocommit",
}

// String returns the name that the protocol has for the kind.
func (k Kind) String() string { return kindNames[k] }

// Request is one request on a stream.
type Request struct {
	Kind  Kind
	SQL   SQL   // of sequence, describe, store_sql and close_sql
	Batch Batch // of batch; of execute its only step
}

// SQL is a text, or the number of one that was stored before.
type SQL struct {
	Text   string
	ID     int32
	Stored bool // it is a number; with store_sql, both
}

// Stmt is a statement to execute.
type Stmt struct {
	SQL      SQL
	Args     []sqlite.Value
	Named    []tenant.NamedArg
	WantRows bool
}

// Batch is statements that are executed in order, each if its condition holds.
type Batch struct {
	Steps []Step
}

// Step is a statement of a batch.
type Step struct {
	Cond *Cond // nil: none
	Stmt Stmt
}

// CondKind is the kind of a condition.
type CondKind uint8

// The kinds of conditions.
const (
	CondOK CondKind = iota + 1
	CondError
	CondNot
	CondAnd
	CondOr
	CondAutocommit
)

// Cond is a condition on the steps before.
type Cond struct {
	Kind CondKind
	Step uint32 // of CondOK and CondError
	Sub  []Cond // of CondNot (one), CondAnd and CondOr
}

// maxCondDepth bounds how deep conditions are nested.
const maxCondDepth = 32

// PipelineRequest is the body of a pipeline.
type PipelineRequest struct {
	Baton    string
	Requests []Request
}

// CursorRequest is the body of a cursor.
type CursorRequest struct {
	Baton string
	Batch Batch
}
