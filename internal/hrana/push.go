package hrana

import (
	"context"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/turso"
)

// pusher is a Conn that takes the pushes of Turso's sync clients as such.
type pusher interface {
	Push(ctx context.Context, p *tenant.TursoPush) error
}

// push runs a batch if it is a push. Its answer is empty: the client takes that
// for success, and looks at nothing else.
func (st *Stream) push(ctx context.Context, b *Batch) (is bool, err error) {
	conn, ok := st.conn.(pusher)
	if !ok || st.conn.InTransaction() || len(st.sql.texts) > 0 {
		return false, nil
	}
	p := asPush(b)
	if p == nil {
		return false, nil
	}
	return true, conn.Push(ctx, p)
}

// asPush returns the push that a batch is, nil if it is none.
func asPush(b *Batch) *tenant.TursoPush {
	n := len(b.Steps)
	push, marks := turso.IsPush(n, func(i int) string { return b.Steps[i].Stmt.SQL.Text })
	if !push {
		return nil
	}
	for i := range b.Steps {
		s := &b.Steps[i]
		if s.Stmt.SQL.Stored || len(s.Stmt.Named) > 0 || (i == 0) != (s.Cond == nil) || i > 0 && !s.Cond.inTransaction() {
			return nil
		}
	}
	p := &tenant.TursoPush{Marked: marks}
	if !marks {
		return p
	}
	a := b.Steps[n-2].Stmt.Args
	if len(a) != 3 || a[0].Kind != sqlite.KindText || a[1].Kind != sqlite.KindInteger || a[2].Kind != sqlite.KindInteger || a[1].I < 0 || a[2].I < 0 {
		return nil
	}
	p.Client, p.Gen, p.ChangeID = string(a[0].B), uint64(a[1].I), uint64(a[2].I)
	for i := 2; i < n-2; i++ {
		s := &b.Steps[i].Stmt
		p.Writes = append(p.Writes, tenant.Query{SQL: s.SQL.Text, Args: s.Args})
	}
	return p
}

// inTransaction reports whether the condition is that a transaction is open.
func (c *Cond) inTransaction() bool {
	return c.Kind == CondNot && c.Sub[0].Kind == CondAutocommit
}
