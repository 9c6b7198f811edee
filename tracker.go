package agentdb

import "github.com/agentdb/agentdb/internal/sqlite"

// tracker is what sync hangs into a connection that can write. All calls
// happen with the write lock held and on the connection's goroutine.
type tracker interface {
	Begin() error                               // right after BEGIN IMMEDIATE
	BeforeStmt(st *sqlite.Stmt) error           // before the first Step of a statement that is not read-only; may refuse
	AfterStmt(st *sqlite.Stmt, err error) error // after it was run to its end or failed
	Savepoint(name string)
	RollbackTo(name string) error // before it is done; may refuse
	Release(name string)
	BeforeCommit() error // inside the transaction, just before COMMIT
	AfterCommit()        // after COMMIT succeeded
	Rollback()           // after ROLLBACK, also one that SQLite did by itself
}
