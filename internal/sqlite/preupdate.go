package sqlite

import (
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Operations of a PreUpdate.
const (
	Insert byte = lib.SQLITE_INSERT
	Update byte = lib.SQLITE_UPDATE
	Delete byte = lib.SQLITE_DELETE
)

// PreUpdate describes a row that is about to change. It is valid only during
// the callback.
type PreUpdate struct {
	Op    byte   // Insert, Update or Delete
	DB    string // "main", "temp" or the name of an attached database
	Table string
	// OldRowID and NewRowID are meaningless for a WITHOUT ROWID table.
	OldRowID, NewRowID int64

	c    *Conn
	live bool
	slab
}

// slab is room for the bytes of many small values: each would otherwise be an
// allocation. It grows with their number, as long as it is not reset.
type slab struct {
	free []byte
	n    int // values since reset
	size int // of the next piece
}

// Sizes of a slab's pieces, in bytes, and how many values are allocated by
// themselves first.
const (
	slabFirst  = 2 << 10
	slabLast   = 64 << 10
	slabValues = 16
)

// keep returns a copy of b.
func (s *slab) keep(b []byte) []byte {
	if s == nil {
		return append([]byte{}, b...)
	}
	if s.n++; s.n <= slabValues || len(b) > slabFirst/4 {
		return append([]byte{}, b...)
	}
	if len(b) > len(s.free) {
		s.size = min(max(2*s.size, slabFirst), slabLast)
		s.free = make([]byte, s.size)
	}
	n := copy(s.free, b)
	kept := s.free[:n:n]
	s.free = s.free[n:]
	return kept
}

// ForgetRows lets go of the memory that the values of rows were copied to so
// far, once nobody needs most of them any more.
func (c *Conn) ForgetRows() { c.hooks.pre.slab = slab{} }

// PreUpdate calls fn before each row change of an ordinary table, whether made
// by a statement, a trigger or a foreign key action. nil removes the callback.
// fn must not use the connection. If it panics, the call running it fails, and
// the transaction can only be rolled back.
func (c *Conn) PreUpdate(fn func(*PreUpdate)) {
	if c.db == 0 || c.frozen {
		return
	}
	c.hooks.preUpdate = fn
	if fn == nil {
		lib.Xsqlite3_preupdate_hook(c.tls, c.db, 0, 0)
		return
	}
	c.hooks.pre.c = c
	lib.Xsqlite3_preupdate_hook(c.tls, c.db, fnptr(onPreUpdate), c.handle)
	lib.Xsqlite3_commit_hook(c.tls, c.db, fnptr(onCommit), c.handle)
	lib.Xsqlite3_rollback_hook(c.tls, c.db, fnptr(onRollback), c.handle)
}

func onPreUpdate(_ *libc.TLS, handle, _ uintptr, op int32, zDB, zTable uintptr, oldID, newID int64) {
	c := conns.get(handle)
	if c == nil || c.hooks.preUpdate == nil || c.hooks.poisoned {
		return
	}
	p := &c.hooks.pre
	p.Op = byte(op)
	p.OldRowID, p.NewRowID = oldID, newID
	c.callPreUpdate(p, zDB, zTable)
}

func (c *Conn) callPreUpdate(p *PreUpdate, zDB, zTable uintptr) {
	defer func() {
		p.live, c.frozen = false, false
		if v := recover(); v != nil {
			c.hooks.err = panicError("pre-update hook", v)
			c.hooks.poisoned = true
			lib.Xsqlite3_interrupt(c.tls, c.db) // a long statement need not go on
		}
	}()
	p.DB = c.intern(p.DB, zDB)
	p.Table = c.intern(p.Table, zTable)
	p.live, c.frozen = true, true
	c.hooks.preUpdate(p)
}

// intern returns the C string at z as a Go string without allocating for a
// name seen before. last is the likely answer.
func (c *Conn) intern(last string, z uintptr) string {
	name := viewString(z, cstrlen(z))
	if name == last {
		return last
	}
	if s, ok := c.hooks.names[name]; ok {
		return s
	}
	const maxNames = 4096 // tables come and go; names must not pile up
	if c.hooks.names == nil || len(c.hooks.names) >= maxNames {
		c.hooks.names = make(map[string]string)
	}
	s := string([]byte(name))
	c.hooks.names[s] = s
	return s
}

// onCommit turns the COMMIT of a poisoned transaction into a ROLLBACK.
func onCommit(_ *libc.TLS, handle uintptr) int32 {
	if c := conns.get(handle); c != nil && c.hooks.poisoned {
		return 1
	}
	return 0
}

func onRollback(_ *libc.TLS, handle uintptr) {
	if c := conns.get(handle); c != nil {
		c.hooks.poisoned = false
	}
}

// Depth returns 0 for a row changed by the statement itself, n for one changed
// by a trigger n levels deep. A foreign key action counts as a trigger.
func (p *PreUpdate) Depth() int {
	if !p.live {
		return 0
	}
	return int(lib.Xsqlite3_preupdate_depth(p.c.tls, p.c.db))
}

// Columns returns the number of columns in the row.
func (p *PreUpdate) Columns() int {
	if !p.live {
		return 0
	}
	return int(lib.Xsqlite3_preupdate_count(p.c.tls, p.c.db))
}

// BlobWrite returns the column being written through an incremental blob
// handle, or -1. Such a write is reported as a delete without a new row.
func (p *PreUpdate) BlobWrite() int {
	if !p.live {
		return -1
	}
	return int(lib.Xsqlite3_preupdate_blobwrite(p.c.tls, p.c.db))
}

// Old returns a copy of column i before an update or delete.
func (p *PreUpdate) Old(i int) (Value, error) {
	m, err := p.old(i)
	if err != nil {
		return Value{}, err
	}
	return p.c.copyTo(&p.slab, m), nil
}

// New returns a copy of column i after an insert or update.
func (p *PreUpdate) New(i int) (Value, error) {
	m, err := p.new(i)
	if err != nil {
		return Value{}, err
	}
	return p.c.copyTo(&p.slab, m), nil
}

// OldRaw is Old without a copy: the value is valid only during the callback.
func (p *PreUpdate) OldRaw(i int) (Value, error) {
	m, err := p.old(i)
	if err != nil {
		return Value{}, err
	}
	return p.c.viewCell(m), nil
}

// NewRaw is New without a copy: the value is valid only during the callback.
func (p *PreUpdate) NewRaw(i int) (Value, error) {
	m, err := p.new(i)
	if err != nil {
		return Value{}, err
	}
	return p.c.viewCell(m), nil
}

func (p *PreUpdate) old(i int) (*lib.TMem, error) {
	if !p.live {
		return nil, misuse("pre-update row after its callback")
	}
	out := p.c.scratch + slotValue
	return p.value(lib.Xsqlite3_preupdate_old(p.c.tls, p.c.db, index32(i), out), out)
}

func (p *PreUpdate) new(i int) (*lib.TMem, error) {
	if !p.live {
		return nil, misuse("pre-update row after its callback")
	}
	out := p.c.scratch + slotValue
	return p.value(lib.Xsqlite3_preupdate_new(p.c.tls, p.c.db, index32(i), out), out)
}

func (p *PreUpdate) value(rc int32, out uintptr) (*lib.TMem, error) {
	if rc != lib.SQLITE_OK {
		return nil, p.c.errcode(rc, "")
	}
	return (*lib.TMem)(ptr(readPtr(out))), nil
}

// copyCell copies a value that is not a result column.
func (c *Conn) copyCell(m *lib.TMem) Value { return c.copyTo(nil, m) }

// copyTo copies a value into a slab, or by itself if there is none.
func (c *Conn) copyTo(s *slab, m *lib.TMem) Value {
	v := c.viewCell(m)
	if v.Kind >= KindText {
		v.B = s.keep(v.B)
	}
	return v
}

// viewCell returns a value whose bytes are SQLite's.
func (c *Conn) viewCell(m *lib.TMem) Value {
	if m == nil {
		return Value{}
	}
	switch k := cellKind(m); k {
	case KindInteger:
		return Value{Kind: k, I: cellInt(m)}
	case KindFloat:
		return Real(cellFloat(m))
	case KindText, KindBlob:
		return Value{Kind: k, B: c.cellBytes(m, k)}
	}
	return Value{}
}
