// Package replica is the client's side of sync: it keeps a synced file's unsent
// changes inside the file, exchanges them with a server, and moves the file
// along: undo mine, apply theirs, redo mine, in one transaction.
//
// A synced file holds two tables of its own beside the user's: agentdb_sync,
// with where the file stands, and agentdb_pending, with the changes that the
// server has not acknowledged and a few that it has, in case it loses them.
// Both are written in the transactions that they describe, so that a crash at
// any instruction leaves them and the data in step.
package replica
