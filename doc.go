// Package agentdb is an embedded SQL database for agents: a SQLite file that
// any SQLite tool can read and write, and that can be kept in step with a server.
//
// # Default path
//
//	db, err := agentdb.Open(ctx, "agent.db", nil)
//	defer db.Close()
//	_, err = db.Exec(ctx, `CREATE TABLE IF NOT EXISTS steps (id INTEGER PRIMARY KEY, action TEXT NOT NULL, result TEXT)`)
//	res, err := db.Exec(ctx, "INSERT INTO steps (action, result) VALUES (?, ?)", "fetch_data", "success")
//	step, err := agentdb.Get[Step](ctx, db, "SELECT * FROM steps WHERE id = ?", res.LastInsertID)
//	steps, err := agentdb.All[Step](ctx, db, "SELECT * FROM steps")
//	for step, err := range agentdb.Iter[Step](ctx, db, "SELECT * FROM steps") { … }
//	err = db.Update(ctx, func(tx *agentdb.Tx) error { … }) // one transaction that writes
//	err = db.View(ctx, func(tx *agentdb.Tx) error { … })   // one snapshot
//
// [DB.SQL] gives a *sql.DB on the same file for code written for database/sql;
// the driver is registered as "agentdb" as well.
//
// # Guarantees
//
// With nil [Options], or without a URL, the file is an ordinary SQLite database
// in WAL mode: no table is added to it and nothing is captured. A commit that has
// returned is on the disk (synchronous=FULL). Foreign keys are enforced. FTS5,
// JSON, math and vector functions (sqlite-vec) are built in; there is no cgo.
//
// Writers of one DB queue in order of arrival, for as long as their contexts
// live; they wait for other processes up to Options.BusyTimeout. Readers run beside
// the writer, each on a snapshot. When a context ends, the SQL that runs under it
// is interrupted and the error is the context's. Within Update a failed statement
// is undone alone; what SQLite undoes as a whole can only be left with an error.
//
// A temporary table and an attached database are seen by the connection that
// made them only, that of Exec and Update. Reads outside of Update are done on others.
//
// # Rows
//
// Get, All and Iter read a row into
//   - a struct, or a pointer to one: a column goes to the field whose tag
//     db:"name" or name is the column's; else to the one that differs only by
//     case; else to the one that differs only by underscores too (task_id goes
//     to TaskID). Embedded structs count as if their fields were the outer one's. A
//     field tagged db:"-" takes nothing. Columns without a field are skipped,
//     but at least one must have one;
//   - any other type, from a statement with a single column: numbers, bool, string,
//     []byte, time.Time, types made from these, sql.Scanner, any, pointers to these (nil for NULL);
//   - map[string]any or []any with nil, int64, float64, string and []byte in them.
//
// Values are exact or refused: NULL doesn't go into a plain type, 300 not into
// an int8, 1.5 not into an int.
//
// # Arguments
//
// All numbers, bool (0 and 1), string, []byte (nil is NULL, an empty one is an
// empty blob), time.Time, types made from these, pointers to these (nil is
// NULL) and driver.Valuer are stored as they are. An unsigned number above the
// largest int64 is refused. So is NaN, because SQLite would store NULL in its
// place; the infinities are fine.
//
// A time.Time is stored as text, in UTC and with a fixed width
// (2006-01-02T15:04:05.000000000Z), so that texts compare as times do and
// SQLite's date functions read them. Into a time.Time go such texts, every
// format of SQLite's date functions and those that other Go drivers write, integers
// as seconds since 1970 (above 1e11 as milliseconds) and floats as julian
// days. Times come back in UTC. Through database/sql, columns declared as DATETIME, TIMESTAMP or
// DATE give times, and those declared as BOOLEAN booleans.
//
// # Non-goals
//
// There is no query builder and no object mapping beyond rows to structs, no
// in-memory database, and no other SQL dialect than SQLite's. The server is
// another package, and a program that imports this one doesn't link it.
package agentdb
