// Modernc runs the workloads on modernc.org/sqlite (SQLite translated to Go) and database/sql.
package main

import (
	"database/sql"

	_ "modernc.org/sqlite"

	"github.com/agentdb/agentdb/bench/engines/sqldb"
	"github.com/agentdb/agentdb/bench/workload"
)

func main() {
	workload.Main(workload.Info{Name: "modernc", Version: version()}, func(path string) (workload.Engine, error) {
		return sqldb.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)")
	})
}

func version() (v string) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return ""
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRow("SELECT sqlite_version()").Scan(&v); err != nil {
		return ""
	}
	return "SQLite " + v
}
