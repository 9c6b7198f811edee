package agentdb_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
)

// BenchmarkBulkInsert is the cost of capture: the same rows into a local and
// into a synced file.
func BenchmarkBulkInsert(b *testing.B) {
	for name, o := range map[string]*agentdb.Options{
		"local":  {Synchronous: "OFF"},
		"synced": {Synchronous: "OFF", URL: "http://127.0.0.1:1/db/x"},
	} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			db, err := agentdb.Open(ctx, filepath.Join(b.TempDir(), "a.db"), o)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			if _, err := db.Exec(ctx, "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b REAL, c TEXT)"); err != nil {
				b.Fatal(err)
			}
			text := strings.Repeat("0123456789", 10)
			b.ResetTimer()
			for done := 0; done < b.N; done += 100_000 {
				n := min(b.N-done, 100_000)
				err := db.Update(ctx, func(tx *agentdb.Tx) error {
					for i := range n {
						if _, err := tx.Exec(ctx, "INSERT INTO t(a,b,c) VALUES(?,?,?)", "name", float64(i), text); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
