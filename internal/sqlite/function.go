package sqlite

import (
	"errors"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// function is a Go function that SQL can call.
type function struct {
	c    *Conn
	name string
	fn   func([]Value) (Value, error)
}

// CreateFunction makes fn callable from SQL on this connection. nArgs of -1
// accepts any number. args is only valid during the call. An error or panic of
// fn is the error of the statement; an *Error keeps its code.
func (c *Conn) CreateFunction(name string, nArgs int, deterministic bool, fn func(args []Value) (Value, error)) error {
	if c.db == 0 {
		return ErrClosed
	}
	if c.frozen {
		return errFrozen
	}
	if fn == nil || nArgs < -1 || nArgs > 1000 {
		return misuse("CreateFunction")
	}
	flags := int32(lib.SQLITE_UTF8)
	if deterministic {
		flags |= lib.SQLITE_DETERMINISTIC
	}
	h := functions.add(&function{c: c, name: name, fn: fn})
	zName := cstring(c.tls, name)
	if h == 0 || zName == 0 {
		functions.remove(h)
		return c.errcode(lib.SQLITE_NOMEM, "")
	}
	defer free(c.tls, zName)
	// A function replaced by a later one stays registered until Close, because
	// a running statement may still call it.
	c.funcs = append(c.funcs, h)
	rc := lib.Xsqlite3_create_function_v2(c.tls, c.db, zName, int32(nArgs), flags, h, fnptr(onFunction), 0, 0, 0)
	if rc != lib.SQLITE_OK {
		return c.errcode(rc, "")
	}
	return nil
}

func onFunction(tls *libc.TLS, ctx uintptr, n int32, argv uintptr) {
	f := functions.get(lib.Xsqlite3_user_data(tls, ctx))
	if f == nil {
		resultError(tls, ctx, errors.New("function of a closed connection"))
		return
	}
	args := make([]Value, n)
	for i := range args {
		args[i] = f.c.copyCell((*lib.TMem)(ptr(readPtr(argv + uintptr(i)*ptrSize))))
	}
	v, err := f.call(args)
	if err != nil {
		resultError(tls, ctx, err)
		return
	}
	result(tls, ctx, v)
}

func (f *function) call(args []Value) (v Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = panicError("function "+f.name, r)
			f.c.hooks.err = err
		}
	}()
	return f.fn(args)
}

func result(tls *libc.TLS, ctx uintptr, v Value) {
	switch v.Kind {
	case KindNull:
		lib.Xsqlite3_result_null(tls, ctx)
	case KindInteger:
		lib.Xsqlite3_result_int64(tls, ctx, v.I)
	case KindFloat:
		lib.Xsqlite3_result_double(tls, ctx, v.Float())
	case KindText, KindBlob:
		resultBytes(tls, ctx, v)
	default:
		resultError(tls, ctx, misuse("result of invalid kind"))
	}
}

func resultBytes(tls *libc.TLS, ctx uintptr, v Value) {
	p := malloc(tls, max(1, len(v.B)))
	if p == 0 {
		lib.Xsqlite3_result_error_nomem(tls, ctx)
		return
	}
	copy(view(p, len(v.B)), v.B)
	if v.Kind == KindText {
		lib.Xsqlite3_result_text64(tls, ctx, p, uint64(len(v.B)), fnptr(lib.Xsqlite3_free), lib.SQLITE_UTF8)
	} else {
		lib.Xsqlite3_result_blob64(tls, ctx, p, uint64(len(v.B)), fnptr(lib.Xsqlite3_free))
	}
}

func resultError(tls *libc.TLS, ctx uintptr, err error) {
	msg := err.Error()
	code := int32(lib.SQLITE_ERROR)
	var e *Error
	if errors.As(err, &e) {
		code, msg = int32(e.Code), e.Message
	}
	p := cstring(tls, msg)
	if p == 0 {
		lib.Xsqlite3_result_error_nomem(tls, ctx)
		return
	}
	lib.Xsqlite3_result_error(tls, ctx, p, int32(len(msg)))
	lib.Xsqlite3_result_error_code(tls, ctx, code)
	free(tls, p)
}
