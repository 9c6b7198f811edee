package sqlite_test

import (
	"fmt"
	"testing"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// TestPreUpdateKeepsValues: what a hook keeps of many rows stays what it was,
// whatever is written later.
func TestPreUpdateKeepsValues(t *testing.T) {
	c := newConn(t)
	var kept []sqlite.Value
	c.PreUpdate(func(p *sqlite.PreUpdate) {
		v, err := p.New(0)
		if err != nil {
			t.Error(err)
		}
		kept = append(kept, v)
	})
	exec(t, c, "CREATE TABLE t(x)")
	for i := range 3000 {
		exec(t, c, fmt.Sprintf("INSERT INTO t VALUES('%0*d')", 1+i%700, i))
		if i == 1500 {
			c.ForgetRows()
		}
	}
	for i := range kept {
		_ = append(kept[i].B, "spills over"...)
	}
	for i, v := range kept {
		if want := fmt.Sprintf("%0*d", 1+i%700, i); string(v.B) != want {
			t.Fatalf("row %d: %q, want %q", i, v.B, want)
		}
	}
}
