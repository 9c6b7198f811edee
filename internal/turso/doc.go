// Package turso knows what the sync clients of Turso (@tursodatabase/sync and
// the other bindings of that engine) put on the wire, and what they need back:
// the messages of POST /pull-updates, sets of pages, revisions, the SQL that a
// push is made of, and enough of SQLite's file format to look into the pages
// that they are sent. It does no I/O.
//
// The clients' protocol is not specified anywhere; it was measured.
package turso
