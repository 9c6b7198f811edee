package agentdb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/replica"
	"github.com/agentdb/agentdb/internal/sqlite"
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
	Kind    string    // overwrite, merge, delete, missing, unique, foreign-key, check, not-null, raise, constraint, schema, refused
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

// errNotSynced is returned by the methods of sync for a local database.
var errNotSynced = errors.New("agentdb: the database is not synced: it was opened without Options.URL")

// openSynced opens a database whose commits are captured.
func openSynced(ctx context.Context, path string, opts Options) (*DB, error) {
	if ctx.Err() != nil {
		return nil, ctxError(ctx)
	}
	db, err := newDB(path, opts)
	if err != nil {
		return nil, err
	}
	db.replica, err = replica.Open(ctx, replica.Config{
		Path: db.path, URL: opts.URL, Token: tokenFunc(&opts), Mode: replicaMode(opts.Sync), Interval: opts.Interval,
		Synchronous: opts.Synchronous, HTTPClient: opts.HTTPClient, Logger: opts.Logger, Lock: db.writeLock,
	})
	if err != nil {
		return nil, fmt.Errorf("agentdb: open %s: %w", path, syncError(ctx, err))
	}
	db.attach = func(c *sqlite.Conn) (tracker, error) { return attachTracker(db, c) }
	if db.writer, err = db.openWriter(ctx); err != nil {
		db.replica.Close()
		return nil, err
	}
	db.replica.Start()
	return db, nil
}

// writeLock is how the replica takes the lock of this handle's writers.
func (db *DB) writeLock(ctx context.Context) (unlock func(), err error) {
	if err := db.lock.lock(ctx); err != nil {
		return nil, err
	}
	return db.lock.unlock, nil
}

func replicaMode(m SyncMode) replica.Mode {
	switch m {
	case SyncPull:
		return replica.PullOnly
	case SyncPush:
		return replica.PushOnly
	}
	return replica.Full
}

// tokenFunc returns how to get a token. refresh asks for another one, after
// the server refused the last.
func tokenFunc(o *Options) func(ctx context.Context, refresh bool) (string, error) {
	switch {
	case o.TokenFunc != nil:
		c := &tokenCache{fn: o.TokenFunc}
		return c.token
	case o.AuthToken != "":
		token := o.AuthToken
		return func(context.Context, bool) (string, error) { return token, nil }
	}
	return nil
}

// tokenCache keeps a token until the server refuses it.
type tokenCache struct {
	fn func(context.Context) (string, error)

	mu  sync.Mutex // guards what follows
	has string
}

func (c *tokenCache) token(ctx context.Context, refresh bool) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.has != "" && !refresh {
		return c.has, nil
	}
	t, err := c.fn(ctx)
	if err == nil {
		c.has = t
	}
	return t, err
}

// tracked is a replica's tracker with this package's errors.
type tracked struct{ *replica.Tracker }

func attachTracker(db *DB, c *sqlite.Conn) (tracker, error) {
	t, err := db.replica.Attach(c)
	if err != nil {
		return nil, err
	}
	return tracked{t}, nil
}

// BeforeStmt may refuse a statement.
func (t tracked) BeforeStmt(st *sqlite.Stmt) error { return trackError(t.Tracker.BeforeStmt(st)) }

// BeforeCommit may refuse a transaction.
func (t tracked) BeforeCommit() error { return trackError(t.Tracker.BeforeCommit()) }

func trackError(err error) error {
	switch {
	case errors.Is(err, change.ErrReadOnly):
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	case errors.Is(err, replica.ErrDiverged):
		return fmt.Errorf("%w: %w", ErrDiverged, err)
	case errors.Is(err, replica.ErrQuota):
		return fmt.Errorf("%w: %w", ErrQuota, err)
	}
	return err
}

// syncError turns the replica's errors into this package's.
func syncError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var refused *replica.RefusedError
	if errors.As(err, &refused) {
		return &RefusedError{Transaction: int64(refused.Change), Size: refused.Size, Err: fmt.Errorf("%w: %w", ErrQuota, refused.Err)}
	}
	for _, m := range []struct{ from, to error }{
		{replica.ErrOffline, ErrOffline},
		{replica.ErrUnauthorized, ErrUnauthorized},
		{replica.ErrQuota, ErrQuota},
		{replica.ErrDiverged, ErrDiverged},
	} {
		if errors.Is(err, m.from) {
			return fmt.Errorf("%w: %w", m.to, err)
		}
	}
	var se *sqlite.Error
	if errors.As(err, &se) {
		return fromEngine(ctx, err, "")
	}
	return fmt.Errorf("agentdb: %w", err)
}

// Sync sends local transactions and receives others', as the mode says, in one
// round trip. On error nothing has changed, except that the server may have
// taken transactions whose acknowledgement was lost; the next sync finds out.
func (db *DB) Sync(ctx context.Context) (Report, error) { return db.sync(ctx, true, true) }

// Pull only receives. In SyncPush mode it fails.
func (db *DB) Pull(ctx context.Context) (Report, error) {
	if db.opts.Sync == SyncPush {
		return Report{}, errors.New("agentdb: pull: the database was opened in push mode")
	}
	return db.sync(ctx, false, true)
}

// Push only sends. Own rows get their final ids; other agents' rows stay where
// they are. In SyncPull mode it fails.
func (db *DB) Push(ctx context.Context) (Report, error) {
	if db.opts.Sync == SyncPull {
		return Report{}, fmt.Errorf("%w: push: the database was opened in pull mode", ErrReadOnly)
	}
	return db.sync(ctx, true, db.opts.Sync == SyncFull)
}

func (db *DB) sync(ctx context.Context, push, pull bool) (Report, error) {
	if err := db.usable(); err != nil {
		return Report{}, err
	}
	r, err := db.replica.Sync(ctx, push, pull)
	rep := Report{
		Pushed: r.Pushed, Pulled: r.Pulled, Conflicts: r.Conflicts, BytesSent: r.BytesSent, BytesReceived: r.BytesReceived,
		RoundTrips: r.RoundTrips, Revision: r.Revision, Resent: r.Resent, Diverged: r.Diverged,
	}
	for _, id := range r.IDs {
		rep.IDs = append(rep.IDs, IDChange(id))
	}
	return rep, syncError(ctx, err)
}

// DropTransaction gives up a local transaction that the server refuses, see
// RefusedError: it is undone, and agentdb_conflicts says what it had written, as
// kind refused, up to a few hundred kB. Unsent transactions after it are redone
// without it. Rows that refer to its rows are refused in turn. First, the file
// as it was is copied to the path that is returned. It needs the server. In
// SyncPush mode it can't undo what comes before an unsent schema change other
// than CREATE TABLE and CREATE INDEX, and fails.
func (db *DB) DropTransaction(ctx context.Context, transaction int64) (kept string, err error) {
	if err := db.usable(); err != nil {
		return "", err
	}
	kept, err = db.replica.Drop(ctx, uint64(transaction))
	return kept, syncError(ctx, err)
}

// usable refuses the methods of sync where there is none.
func (db *DB) usable() error {
	if db.replica == nil {
		return errNotSynced
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closing {
		return ErrClosed
	}
	return nil
}

// Status returns where the database stands. Of a local database, it is zero.
func (db *DB) Status() Status {
	if db.usable() != nil {
		return Status{}
	}
	r := db.replica.Status()
	st := Status{LastSync: r.LastSync, LastError: syncError(context.Background(), r.LastError), BytesSent: r.BytesSent, BytesReceived: r.BytesReceived}
	c, err := db.readers.get(context.Background())
	if err != nil {
		st.LastError = err
		return st
	}
	defer db.readers.put(c)
	f, err := replica.ReadFacts(c.raw)
	if err != nil {
		st.LastError = syncError(context.Background(), err)
	}
	st.Pending, st.Revision, st.Replica = f.Pending, f.Revision, f.Replica
	return st
}

// UpdateOnServer runs fn in a transaction that counts only if the server took
// it unchanged. It runs fn on the local file, keeps what it wrote, rolls back,
// and sends it, after everything that is pending, in one request. The server
// refuses it if a row that it updates or deletes is not exactly as fn saw it,
// if an id or key that it inserts is taken, or if a constraint fails there.
// Then the file has been brought up to date, and fn runs again, until the
// server takes it, fn returns an error, or ctx ends. Without the server the
// error is ErrOffline, and nothing has changed.
//
// Only the rows that fn writes are protected. To make the outcome depend on a
// row that fn only reads, write to it, if only its own values.
func (db *DB) UpdateOnServer(ctx context.Context, fn func(*Tx) error) error {
	if err := db.usable(); err != nil {
		return err
	}
	if db.opts.Sync == SyncPull {
		return fmt.Errorf("%w: the database was opened in pull mode", ErrReadOnly)
	}
	if db.opts.Sync != SyncFull {
		return fmt.Errorf("agentdb: UpdateOnServer: needs full sync, the database was opened in %v mode", db.opts.Sync)
	}
	for {
		ch, err := db.captureStrict(ctx, fn)
		if err != nil || ch == nil {
			return err
		}
		err = db.replica.SyncStrict(ctx, ch)
		if !errors.Is(err, replica.ErrRejected) {
			return syncError(ctx, err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ctxError(ctx), err)
		}
	}
}

// captureStrict runs fn, rolls back and returns what it wrote, nil if nothing.
func (db *DB) captureStrict(ctx context.Context, fn func(*Tx) error) (*change.Change, error) {
	if err := db.lock.lock(ctx); err != nil {
		return nil, err
	}
	defer db.lock.unlock()
	t, ok := db.writer.trk.(tracked)
	if !ok {
		return nil, errNotSynced
	}
	t.Strict(true)
	err := db.transact(ctx, db.writer, true, fn)
	ch := t.Captured()
	t.Strict(false)
	if errors.Is(err, replica.ErrStrictCaptured) {
		return ch, nil
	}
	if err == nil {
		err = errors.New("agentdb: UpdateOnServer: the transaction was not captured")
	}
	return nil, err
}

// Watch yields row changes from now on, those of local commits and those that
// arrive from the server, of some tables or of all if none is named, until ctx
// ends, the database is closed or the loop breaks. Changes that an agent makes
// and a sync then redoes are yielded once. A watcher that falls 100,000 changes
// behind gets an error and goes on with the newest.
func (db *DB) Watch(ctx context.Context, tables ...string) iter.Seq2[Change, error] {
	if err := db.usable(); err != nil {
		return func(yield func(Change, error) bool) { yield(Change{}, err) }
	}
	w := db.replica.Watch()
	return func(yield func(Change, error) bool) { watchLoop(ctx, w, tables, yield) }
}
