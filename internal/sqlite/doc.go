// Package sqlite is the engine of agentdb: SQLite compiled to Go, behind a
// small interface that is as cheap as calling the C API directly.
//
// # Default path
//
//	c, err := sqlite.Open("app.db", sqlite.Options{})
//	defer c.Close()
//	st, err := c.Cached("SELECT name FROM person WHERE id = ?1")
//	defer st.Done()
//	st.BindInt64(1, 7)
//	row, err := st.Step()
//	name := st.ColumnText(0)
//
// # Guarantees
//
// The package is memory-safe at its border. A connection or statement used
// after Close, Finalize or Done answers with an error or a zero value, a
// parameter or column that does not exist likewise, and a panic in a callback
// becomes the error of the call that ran it. Values come out bit for bit as
// they went in, with one exception made by SQLite itself: NaN is stored as NULL.
//
// A [Conn] and its statements belong to one goroutine at a time; only
// [Conn.Interrupt] may be called from any other. Different connections work in
// parallel.
//
// # Non-goals
//
// There is no pool, no context, no conversion of Go types and no database/sql
// driver here. This is the only package that imports the translated SQLite.
// It reads result cells straight from the structures of the translated
// library; their layout comes from that library's own Go types, so that a new
// version that moves a field still compiles into correct code.
package sqlite
