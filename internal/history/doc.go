// Package history is the server's truth: for each database the ordered commits
// and the page images they wrote, from which every SQLite file, replica, branch
// and restore is derived.
//
// The default path: Open a store, Create a database, then Append commits, each
// a compare-and-set on the database's head. Append returns as soon as the commit
// has its place in the order; Pending.Wait returns when it is on stable storage.
// Nobody may be answered before that.
//
// # Guarantees
//
// A commit whose Pending.Wait returned nil survives kill -9 and power loss. A
// commit is wholly there or wholly not, its pages and its KV with it. Commits
// form a hash chain that is verified when they are read, and each page image
// carries its own checksum; damage is reported as ErrCorrupt, never returned as
// data. Reads (Commits, Page, Pages, GetMeta and so on) only ever return what is
// durable. A fork keeps what it can read whatever happens to its parent, except
// that retention of the parent drops the parent's commits below its horizon.
//
// # Revisions
//
// A database begins at revision 0, which is empty and has a random hash, so that
// two databases that used the same name one after the other are never mistaken
// for each other. Each commit is one revision. A fork begins at the revision of
// its parent that it was made from, with that revision's hash.
//
// # Non-goals
//
// The package does not interpret changes, pages or metadata, does not run SQL
// and does not validate names beyond their length.
package history
