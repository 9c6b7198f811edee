package sqlite

import (
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Codes of an Action. Arg1 and Arg2 are as in sqlite3_set_authorizer.
const (
	ActCreateIndex       = lib.SQLITE_CREATE_INDEX
	ActCreateTable       = lib.SQLITE_CREATE_TABLE
	ActCreateTempIndex   = lib.SQLITE_CREATE_TEMP_INDEX
	ActCreateTempTable   = lib.SQLITE_CREATE_TEMP_TABLE
	ActCreateTempTrigger = lib.SQLITE_CREATE_TEMP_TRIGGER
	ActCreateTempView    = lib.SQLITE_CREATE_TEMP_VIEW
	ActCreateTrigger     = lib.SQLITE_CREATE_TRIGGER
	ActCreateView        = lib.SQLITE_CREATE_VIEW
	ActDelete            = lib.SQLITE_DELETE
	ActDropIndex         = lib.SQLITE_DROP_INDEX
	ActDropTable         = lib.SQLITE_DROP_TABLE
	ActDropTempIndex     = lib.SQLITE_DROP_TEMP_INDEX
	ActDropTempTable     = lib.SQLITE_DROP_TEMP_TABLE
	ActDropTempTrigger   = lib.SQLITE_DROP_TEMP_TRIGGER
	ActDropTempView      = lib.SQLITE_DROP_TEMP_VIEW
	ActDropTrigger       = lib.SQLITE_DROP_TRIGGER
	ActDropView          = lib.SQLITE_DROP_VIEW
	ActInsert            = lib.SQLITE_INSERT
	ActPragma            = lib.SQLITE_PRAGMA
	ActRead              = lib.SQLITE_READ
	ActSelect            = lib.SQLITE_SELECT
	ActTransaction       = lib.SQLITE_TRANSACTION
	ActUpdate            = lib.SQLITE_UPDATE
	ActAttach            = lib.SQLITE_ATTACH
	ActDetach            = lib.SQLITE_DETACH
	ActAlterTable        = lib.SQLITE_ALTER_TABLE
	ActReindex           = lib.SQLITE_REINDEX
	ActAnalyze           = lib.SQLITE_ANALYZE
	ActCreateVTable      = lib.SQLITE_CREATE_VTABLE
	ActDropVTable        = lib.SQLITE_DROP_VTABLE
	ActFunction          = lib.SQLITE_FUNCTION
	ActSavepoint         = lib.SQLITE_SAVEPOINT
	ActRecursive         = lib.SQLITE_RECURSIVE
)

// Action is something a statement being prepared would do.
type Action struct {
	Code       int // one of the Act constants
	Arg1, Arg2 string
	DB         string // "main", "temp", ... where it applies
	Trigger    string // innermost trigger or view responsible, or ""
}

// Verdict is what is to become of an action.
type Verdict uint8

// The verdicts. What Ignore does is said at sqlite3_set_authorizer: ANALYZE goes
// on without the table, and a PRAGMA does nothing.
const (
	Deny Verdict = iota
	Allow
	Ignore
)

// Authorize calls fn for each action of every statement prepared from now on,
// also when SQLite prepares one again after a schema change. If fn returns
// Deny, or panics, preparing fails with SQLITE_AUTH. nil removes it. fn must
// not use the connection.
func (c *Conn) Authorize(fn func(Action) Verdict) {
	if c.db == 0 || c.frozen {
		return
	}
	c.hooks.authorize = fn
	if fn == nil {
		lib.Xsqlite3_set_authorizer(c.tls, c.db, 0, 0)
		return
	}
	lib.Xsqlite3_set_authorizer(c.tls, c.db, fnptr(onAuthorize), c.handle)
}

func onAuthorize(_ *libc.TLS, handle uintptr, code int32, arg1, arg2, db, trigger uintptr) int32 {
	c := conns.get(handle)
	if c == nil || c.hooks.authorize == nil {
		return lib.SQLITE_DENY
	}
	switch c.callAuthorize(Action{
		Code:    int(code),
		Arg1:    c.intern("", arg1),
		Arg2:    c.intern("", arg2),
		DB:      c.intern("main", db),
		Trigger: c.intern("", trigger),
	}) {
	case Allow:
		return lib.SQLITE_OK
	case Ignore:
		return lib.SQLITE_IGNORE
	}
	return lib.SQLITE_DENY
}

func (c *Conn) callAuthorize(a Action) (v Verdict) {
	frozen := c.frozen
	c.frozen = true
	defer func() { c.frozen = frozen }()
	defer c.recoverHook("authorizer")
	return c.hooks.authorize(a)
}
