// Mattn runs the workloads on github.com/mattn/go-sqlite3 (SQLite in C, through cgo) and database/sql.
// Build with -tags sqlite_fts5.
package main

import (
	"github.com/mattn/go-sqlite3"

	"github.com/agentdb/agentdb/bench/engines/sqldb"
	"github.com/agentdb/agentdb/bench/workload"
)

func main() {
	version, _, _ := sqlite3.Version()
	workload.Main(workload.Info{Name: "mattn", Version: "SQLite " + version}, func(path string) (workload.Engine, error) {
		return sqldb.Open("sqlite3", "file:"+path+"?_journal_mode=WAL&_synchronous=FULL&_foreign_keys=1")
	})
}
