package sqlite

import (
	"crypto/rand"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// ownRandomblob replaces SQLite's randomblob(N). That holds a lock for as long as it
// makes its bytes, some 15 ms for a MB, and all connections of the process need the
// lock for random().
func (c *Conn) ownRandomblob() error {
	name := cstring(c.tls, "randomblob")
	if name == 0 {
		return c.errcode(lib.SQLITE_NOMEM, "")
	}
	defer free(c.tls, name)
	rc := lib.Xsqlite3_create_function_v2(c.tls, c.db, name, 1, lib.SQLITE_UTF8|lib.SQLITE_INNOCUOUS, 0, fnptr(onRandomblob), 0, 0, 0)
	if rc != lib.SQLITE_OK {
		return c.errcode(rc, "")
	}
	return nil
}

// onRandomblob does what https://sqlite.org/lang_corefunc.html#randomblob says.
func onRandomblob(tls *libc.TLS, ctx uintptr, _ int32, argv uintptr) {
	n := max(1, lib.Xsqlite3_value_int64(tls, readPtr(argv)))
	if n > int64(lib.Xsqlite3_limit(tls, lib.Xsqlite3_context_db_handle(tls, ctx), lib.SQLITE_LIMIT_LENGTH, -1)) {
		lib.Xsqlite3_result_error_toobig(tls, ctx)
		return
	}
	p := malloc(tls, int(n))
	if p == 0 {
		lib.Xsqlite3_result_error_nomem(tls, ctx)
		return
	}
	_, _ = rand.Read(view(p, int(n))) // never fails
	lib.Xsqlite3_result_blob64(tls, ctx, p, uint64(n), fnptr(lib.Xsqlite3_free))
}
