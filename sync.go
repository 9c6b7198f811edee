package agentdb

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Report says what a sync did.
type Report struct {
	Pushed        int        // local transactions that the server acknowledged
	Pulled        int        // rows changed by the commits received
	Conflicts     int        // own operations that overwrote somebody's value or were refused: see agentdb_conflicts
	IDs           []IDChange // own rows that got another id, in order
	BytesSent     int64      // request bodies
	BytesReceived int64      // response bodies
	RoundTrips    int        // HTTP requests
	Revision      uint64     // the server's commit that the file is at
	// Resent counts transactions that the server had acknowledged once and
	// then lost, as when it was restored from a backup; they were sent again.
	Resent int
	// Diverged is the path of a copy of the file, made because the file
	// differed from its history, e.g. through another program's writes, and
	// was taken back to the server's state. Empty in all other cases.
	Diverged string
}

// IDChange says that a row inserted here with id Old now has id New, because
// another replica took Old first. References declared as foreign keys followed.
type IDChange struct {
	Table    string
	Old, New int64
}

// Status is where a synced database stands.
type Status struct {
	Pending       int       // local transactions not yet acknowledged
	Revision      uint64    // the server's commit that the file is at
	Replica       string    // the file's name for itself, hexadecimal
	LastSync      time.Time // end of the last sync that succeeded; zero if none did since Open
	LastError     error     // of the last sync, nil if it succeeded
	BytesSent     int64     // request bodies since Open
	BytesReceived int64     // response bodies since Open
}

// Conflict is a row of the synced table agentdb_conflicts: a value that was
// overwritten or refused when replicas disagreed.
type Conflict struct {
	ID      int64
	Time    time.Time // when the server found it
	Replica string    // whose operation it was
	Change  int64     // number of the transaction within the replica
	Table   string    `db:"table_name"`
	Key     *string   // JSON: the row's id, or the array of its primary key
	Kind    string    // overwrite, merge, delete, missing, unique, foreign-key, check, not-null, raise, constraint, schema
	Message string
	Losing  *string // JSON: the row or values that lost
	Winning *string // JSON: the row that is there now
}

// ChangeOp is what happened to a row.
type ChangeOp string

// The operations of a Change.
const (
	Insert ChangeOp = "INSERT"
	Update ChangeOp = "UPDATE"
	Delete ChangeOp = "DELETE"
)

// Change is one row's change, as Watch yields it.
type Change struct {
	Table  string
	Op     ChangeOp
	Key    any            // the rowid (int64), or the primary key: its value, or []any
	Old    map[string]any // before an update or delete; nil for an insert
	New    map[string]any // after an insert or update; nil for a delete
	Remote bool           // it came from the server
}

var errNotYet = errors.New("agentdb: not yet")

// Sync sends local transactions and receives others', as the mode says, in one
// round trip.
func (db *DB) Sync(ctx context.Context) (Report, error) { return Report{}, errNotYet }

// Pull only receives.
func (db *DB) Pull(ctx context.Context) (Report, error) { return Report{}, errNotYet }

// Push only sends.
func (db *DB) Push(ctx context.Context) (Report, error) { return Report{}, errNotYet }

// Status returns where the database stands.
func (db *DB) Status() Status { return Status{} }

// UpdateOnServer runs fn in a transaction that counts only if the server took
// it unchanged.
func (db *DB) UpdateOnServer(ctx context.Context, fn func(*Tx) error) error { return errNotYet }

// Watch yields the row changes of some tables, of all if none is named.
func (db *DB) Watch(ctx context.Context, tables ...string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) { yield(Change{}, errNotYet) }
}
