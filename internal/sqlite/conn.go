package sqlite

import (
	"sync"
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Offsets of the out parameters in Conn.scratch. Each use has its own slot, so
// that a callback that comes back into the connection does no harm.
const (
	slotOut     = 0  // handle made by open and prepare
	slotTail    = 8  // end of the prepared statement
	slotInt1    = 16 // counters
	slotInt2    = 24
	slotValue   = 32 // value of a pre-update row
	slotVarArgs = 40 // variadic arguments, three words
	scratchSize = 64
)

// Conn is one connection to a database. It is not safe for concurrent use,
// except for Interrupt.
type Conn struct {
	tls     *libc.TLS
	db      uintptr
	handle  uintptr // in conns
	image   uintptr // in images; 0 for a file
	temp    *TempSpace
	scratch uintptr
	sql     buffer // text handed to prepare
	running int    // calls now inside SQLite
	frozen  bool   // inside a callback that must not use the connection
	stmts   *Stmt  // all statements not finalized
	cache   stmtCache
	hooks   hooks
	funcs   []uintptr // in functions

	interruptMu sync.Mutex // guards liveDB
	liveDB      uintptr    // db while it may be interrupted
	wake        chan struct{}
	busy        busyState
}

func (c *Conn) setDB(db uintptr) {
	c.db = db
	c.interruptMu.Lock()
	c.liveDB = db
	c.interruptMu.Unlock()
}

// Close finalizes all statements and closes the connection. An open
// transaction is rolled back. Closing twice is allowed.
func (c *Conn) Close() error {
	if c.running > 0 {
		return misuse("close inside a callback")
	}
	if c.tls == nil {
		return nil
	}
	for c.stmts != nil {
		c.stmts.close()
	}
	db := c.db
	c.setDB(0)
	var err error
	if db != 0 {
		if rc := lib.Xsqlite3_close_v2(c.tls, db); rc != lib.SQLITE_OK {
			err = c.errcode(rc, "")
		}
	}
	for _, h := range c.funcs {
		functions.remove(h)
	}
	conns.remove(c.handle)
	images.remove(c.image)
	tempSpaces.Delete(c.tls)
	c.sql.release(c.tls)
	free(c.tls, c.scratch)
	c.tls.Close()
	c.tls, c.scratch, c.funcs, c.hooks, c.cache = nil, 0, nil, hooks{}, stmtCache{}
	return err
}

// Interrupt makes the call now running on the connection fail with
// SQLITE_INTERRUPT, also when it waits for a lock. It may be called from any
// goroutine, and after Close. It does nothing to calls that start later.
func (c *Conn) Interrupt() {
	c.interruptMu.Lock()
	defer c.interruptMu.Unlock()
	if c.liveDB == 0 {
		return
	}
	tls := libc.NewTLS() // the connection's own may be in use
	lib.Xsqlite3_interrupt(tls, c.liveDB)
	tls.Close()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Changes returns the number of rows the last INSERT, UPDATE or DELETE changed.
func (c *Conn) Changes() int64 {
	if c.db == 0 {
		return 0
	}
	return lib.Xsqlite3_changes64(c.tls, c.db)
}

// TotalChanges returns the number of rows changed since Open.
func (c *Conn) TotalChanges() int64 {
	if c.db == 0 {
		return 0
	}
	return lib.Xsqlite3_total_changes64(c.tls, c.db)
}

// SetChanges makes Changes, TotalChanges and the functions changes() and
// total_changes() return these until a statement changes rows.
func (c *Conn) SetChanges(last, total int64) {
	if c.db != 0 {
		db := (*lib.Tsqlite3)(ptr(c.db))
		db.FnChange, db.FnTotalChange = last, total
	}
}

// LastInsertRowID returns the rowid of the last row inserted.
func (c *Conn) LastInsertRowID() int64 {
	if c.db == 0 {
		return 0
	}
	return lib.Xsqlite3_last_insert_rowid(c.tls, c.db)
}

// SetLastInsertRowID makes LastInsertRowID and last_insert_rowid() return id
// until the next row is inserted.
func (c *Conn) SetLastInsertRowID(id int64) {
	if c.db != 0 {
		lib.Xsqlite3_set_last_insert_rowid(c.tls, c.db, id)
	}
}

// AutoCommit reports whether no transaction is open.
func (c *Conn) AutoCommit() bool {
	return c.db == 0 || lib.Xsqlite3_get_autocommit(c.tls, c.db) != 0
}

// Filename returns the absolute path of the main database, "" if it is in memory.
func (c *Conn) Filename() string {
	if c.db == 0 {
		return ""
	}
	return goString(lib.Xsqlite3_db_filename(c.tls, c.db, 0))
}

// Temp returns the TempSpace that the connection was opened with.
func (c *Conn) Temp() *TempSpace { return c.temp }

// Limit sets a run-time limit and returns its old value. A negative val only reads it.
func (c *Conn) Limit(id LimitID, val int) int {
	if c.db == 0 {
		return -1
	}
	val = min(max(val, -1), 1<<31-1)
	return int(lib.Xsqlite3_limit(c.tls, c.db, int32(id), int32(val)))
}

// DBConfig turns an option of the connection on or off. It works inside a transaction.
func (c *Conn) DBConfig(op DBConfigOp, on bool) error {
	if c.db == 0 {
		return ErrClosed
	}
	if c.frozen {
		return errFrozen
	}
	arg := int32(0)
	if on {
		arg = 1
	}
	va := libc.VaList(c.scratch+slotVarArgs, arg, uintptr(0))
	if rc := lib.Xsqlite3_db_config(c.tls, c.db, int32(op), va); rc != lib.SQLITE_OK {
		return c.errcode(rc, "")
	}
	return nil
}

// lookaside sets how many allocations SQLite may keep room for.
func (c *Conn) lookaside(n int) error {
	const size = 1200 // SQLite's default
	va := libc.VaList(c.scratch+slotVarArgs, uintptr(0), int32(size), int32(n))
	if rc := lib.Xsqlite3_db_config(c.tls, c.db, lib.SQLITE_DBCONFIG_LOOKASIDE, va); rc != lib.SQLITE_OK {
		return c.errcode(rc, "")
	}
	return nil
}

// DeferredFKs reports whether the transaction holds foreign key violations
// that would make COMMIT fail.
func (c *Conn) DeferredFKs() (bool, error) {
	if c.db == 0 {
		return false, ErrClosed
	}
	rc := lib.Xsqlite3_db_status(c.tls, c.db, lib.SQLITE_DBSTATUS_DEFERRED_FKS, c.scratch+slotInt1, c.scratch+slotInt2, 0)
	if rc != lib.SQLITE_OK {
		return false, c.errcode(rc, "")
	}
	return readInt32(c.scratch+slotInt1) != 0, nil
}

// busyState is the bookkeeping of the current wait for a lock.
type busyState struct {
	timeout time.Duration
	since   time.Time
}
