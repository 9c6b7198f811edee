package sqlite

import (
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// hooks are the callbacks of a connection. All of them run inside a call of
// that connection, on the goroutine of the caller.
type hooks struct {
	preUpdate func(*PreUpdate)
	authorize func(Action) Verdict
	wal       func(frames int)

	err      error // of a callback in the current call, see takeHookError
	poisoned bool  // a pre-update callback panicked: the transaction must not commit

	pre   PreUpdate         // reused for every row
	names map[string]string // database and table names, so that no call allocates
}

// takeHookError returns the error a callback left behind, once.
func (c *Conn) takeHookError() error {
	err := c.hooks.err
	c.hooks.err = nil
	return err
}

// WALHook calls fn after each commit to the WAL with the number of frames in
// it. It replaces the automatic checkpoint; nil removes it and leaves none.
func (c *Conn) WALHook(fn func(frames int)) {
	if c.db == 0 {
		return
	}
	c.hooks.wal = fn
	if fn == nil {
		lib.Xsqlite3_wal_hook(c.tls, c.db, 0, 0)
		return
	}
	lib.Xsqlite3_wal_hook(c.tls, c.db, fnptr(onWAL), c.handle)
}

func onWAL(_ *libc.TLS, handle, _, _ uintptr, frames int32) int32 {
	if c := conns.get(handle); c != nil {
		c.callWALHook(int(frames))
	}
	return lib.SQLITE_OK
}

func (c *Conn) callWALHook(frames int) {
	defer c.recoverHook("WAL hook")
	if c.hooks.wal != nil {
		c.hooks.wal(frames)
	}
}

// recoverHook turns a panic into the error of the call that ran the callback.
func (c *Conn) recoverHook(where string) {
	if v := recover(); v != nil {
		c.hooks.err = panicError(where, v)
	}
}

// setBusyTimeout installs our own wait for locks: unlike SQLite's it ends
// early on Interrupt.
func (c *Conn) setBusyTimeout(d time.Duration) {
	if d == 0 {
		d = DefaultBusyTimeout
	}
	c.busy.timeout = d
	lib.Xsqlite3_busy_handler(c.tls, c.db, fnptr(onBusy), c.handle)
}

func onBusy(_ *libc.TLS, handle uintptr, count int32) int32 {
	if c := conns.get(handle); c != nil && c.waitForLock(int(count)) {
		return 1
	}
	return 0
}

// waitForLock sleeps before attempt count+1 and reports whether to try again.
func (c *Conn) waitForLock(count int) bool {
	now := time.Now()
	if count == 0 {
		c.busy.since = now
	}
	left := c.busy.timeout - now.Sub(c.busy.since)
	if left <= 0 {
		return false
	}
	pause := min(time.Duration(count+1)*time.Millisecond, 20*time.Millisecond, left)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-c.wake:
		// The signal may be left over from an earlier call.
		return lib.Xsqlite3_is_interrupted(c.tls, c.db) == 0
	case <-timer.C:
		return true
	}
}
