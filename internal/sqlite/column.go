package sqlite

import (
	"math"
	"unsafe"

	lib "modernc.org/sqlite/lib"
)

// columnMeta caches what does not change between the rows of a statement.
type columnMeta struct {
	names      []string
	reprepares uint32 // value of SQLite's counter when names was filled
}

// ColumnCount returns the number of result columns, 0 if there are none.
func (s *Stmt) ColumnCount() int {
	if s.row != 0 {
		return s.cols
	}
	if s.p == 0 {
		return 0
	}
	return int(lib.Xsqlite3_column_count(s.c.tls, s.p))
}

// Reprepared returns how often SQLite has compiled the statement again because
// the schema had changed. When the number moves, the columns may be others.
func (s *Stmt) Reprepared() uint32 {
	if s.p == 0 {
		return 0
	}
	return (*lib.TVdbe)(ptr(s.p)).FaCounter[lib.SQLITE_STMTSTATUS_REPREPARE]
}

// ColumnName returns the name of result column i, counted from 0.
func (s *Stmt) ColumnName(i int) string {
	if s.p == 0 {
		return ""
	}
	n := s.Reprepared()
	if s.meta.names == nil || s.meta.reprepares != n {
		names := make([]string, lib.Xsqlite3_column_count(s.c.tls, s.p))
		for i := range names {
			names[i] = goString(lib.Xsqlite3_column_name(s.c.tls, s.p, int32(i)))
		}
		s.meta = columnMeta{names: names, reprepares: n}
	}
	if uint(i) >= uint(len(s.meta.names)) {
		return ""
	}
	return s.meta.names[i]
}

// ColumnDeclType returns the declared type of the table column behind result
// column i, or "".
func (s *Stmt) ColumnDeclType(i int) string {
	if uint(i) >= uint(s.ColumnCount()) {
		return ""
	}
	return goString(lib.Xsqlite3_column_decltype(s.c.tls, s.p, int32(i)))
}

// ColumnTable returns the table result column i comes from, or "".
func (s *Stmt) ColumnTable(i int) string {
	if uint(i) >= uint(s.ColumnCount()) {
		return ""
	}
	return goString(lib.Xsqlite3_column_table_name(s.c.tls, s.p, int32(i)))
}

// cell returns column i of the current row, or nil.
func (s *Stmt) cell(i int) *lib.TMem {
	if s.row == 0 || uint(i) >= uint(s.cols) {
		return nil
	}
	return (*lib.TMem)(ptr(s.row + uintptr(i)*memSize))
}

// cellKind returns the storage class of a cell. As in SQLite, a number wins
// over the text it has been converted to.
func cellKind(m *lib.TMem) Kind {
	switch f := m.Fflags; {
	case f&lib.MEM_Null != 0:
		return KindNull
	case f&lib.MEM_Int != 0:
		return KindInteger
	case f&(lib.MEM_Real|lib.MEM_IntReal) != 0:
		return KindFloat
	case f&lib.MEM_Str != 0:
		return KindText
	}
	return KindBlob
}

func cellInt(m *lib.TMem) int64 { return *(*int64)(unsafe.Pointer(&m.Fu)) }

// cellFloat returns the number in a KindFloat cell, which SQLite may hold as
// an integer.
func cellFloat(m *lib.TMem) float64 {
	i := cellInt(m)
	if m.Fflags&lib.MEM_Real == 0 {
		return float64(i)
	}
	return math.Float64frombits(uint64(i))
}

// ColumnKind returns the storage class of column i of the current row.
func (s *Stmt) ColumnKind(i int) Kind {
	m := s.cell(i)
	if m == nil {
		return KindNull
	}
	return cellKind(m)
}

// ColumnInt64 returns column i as an integer, converted as CAST does.
func (s *Stmt) ColumnInt64(i int) int64 {
	m := s.cell(i)
	if m == nil {
		return 0
	}
	if m.Fflags&lib.MEM_Int != 0 {
		return cellInt(m)
	}
	return lib.Xsqlite3_column_int64(s.c.tls, s.p, int32(i))
}

// ColumnFloat returns column i as a number, converted as CAST does.
func (s *Stmt) ColumnFloat(i int) float64 {
	m := s.cell(i)
	if m == nil {
		return 0
	}
	if m.Fflags&lib.MEM_Real != 0 {
		return cellFloat(m)
	}
	return lib.Xsqlite3_column_double(s.c.tls, s.p, int32(i))
}

// ColumnText returns column i as a text, converted as CAST does.
func (s *Stmt) ColumnText(i int) string { return string(s.ColumnRaw(i)) }

// ColumnBlob returns a copy of the bytes of column i: nil for NULL, the text of
// a number for a number.
func (s *Stmt) ColumnBlob(i int) []byte {
	m := s.cell(i)
	if m == nil || cellKind(m) == KindNull {
		return nil
	}
	return append([]byte{}, s.ColumnRaw(i)...)
}

// ColumnRaw returns the bytes of column i without copying them. They are valid
// until the next call on the statement that is not a Column call.
func (s *Stmt) ColumnRaw(i int) []byte {
	m := s.cell(i)
	if m == nil {
		return nil
	}
	return s.c.cellBytes(m, cellKind(m))
}

// cellBytes returns the bytes of a cell of kind k without copying them. A
// number is converted to text.
func (c *Conn) cellBytes(m *lib.TMem, k Kind) []byte {
	switch {
	case k == KindNull:
		return nil
	case k == KindText && m.Fflags&lib.MEM_Str != 0 && m.Fenc == lib.SQLITE_UTF8,
		k == KindBlob && m.Fflags&lib.MEM_Zero == 0:
		return view(m.Fz, int(m.Fn))
	}
	p := uintptr(unsafe.Pointer(m))
	if k == KindBlob {
		return view(lib.Xsqlite3_value_blob(c.tls, p), int(lib.Xsqlite3_value_bytes(c.tls, p)))
	}
	return view(lib.Xsqlite3_value_text(c.tls, p), int(lib.Xsqlite3_value_bytes(c.tls, p)))
}

// Column returns column i of the current row. Its bytes are a copy.
func (s *Stmt) Column(i int) Value { return s.c.copyCell(s.cell(i)) }
