package sqlite

import "testing"

func TestSeparatePageCaches(t *testing.T) {
	if !separateCaches {
		t.Error("SQLite was not initialised early enough: all connections share one page cache mutex")
	}
}
