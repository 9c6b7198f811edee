package tenant_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"

	"github.com/agentdb/agentdb/internal/tenant"
)

// TestCachesShrink: page caches get their share of the memory as more databases
// are open, those of databases that SQL writes to as well.
func TestCachesShrink(t *testing.T) {
	var logged bytes.Buffer
	s := newSnapshots(t, tenant.Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	for _, q := range []string{"CREATE TABLE t(x)", "INSERT INTO t VALUES (1)"} {
		for i := range 40 {
			c := s.Session(fmt.Sprint("db", i), tenant.SessionConfig{Write: true, Create: true})
			if _, err := c.Run(t.Context(), &tenant.Query{SQL: q}, nil); err != nil {
				t.Fatal(err)
			}
			if err := c.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
	}
	if logged.Len() > 0 {
		t.Errorf("%.300s", logged.String())
	}
}
