// Package change is the heart of sync: it captures what a transaction did to
// a SQLite database, and applies, undoes and redoes it elsewhere.
//
// A [Change] is one captured transaction. It holds two views of the same
// thing, as flags on one ordered list of [Event]s:
//
//   - intents: what the user did, in order. A server executes them, a client
//     redoes them on a newer base. Triggers and foreign-key actions fire then.
//   - effects: what happened to every row, whoever caused it. They are undone
//     backwards and applied forwards, with triggers and foreign keys off, and
//     reproduce the database exactly, down to rowids and FTS5 shadow tables.
//
// [Capture] records changes on a connection, [Undo] and [Apply] move along
// effects, [Executor] runs intents by the rules that keep every row: an id that
// is taken is replaced and the references to it follow, rows with natural keys
// are merged by column, and what can't be applied is recorded as a conflict.
//
// The package keeps no state of its own between calls but caches of the
// schema; it does no I/O but through the connection that it is given.
package change
