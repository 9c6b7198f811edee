package tenant_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/turso"
	"github.com/agentdb/agentdb/internal/wire"
)

// TestPagesOfAnother: what is sent piece by piece, while its database is deleted
// and another one takes the name, ends with an error, and not with the pages of
// the other one.
func TestPagesOfAnother(t *testing.T) {
	const theirs = "CREATE TABLE t AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<2500) SELECT x, 'canary' || hex(randomblob(500)) AS y FROM c"
	for _, after := range []int{0, 1} { // parts
		s := newSnapshots(t, tenant.Config{})
		push := func(body []byte) {
			t.Helper()
			c := &client{m: s.Manager, id: wire.ReplicaID{1}}
			if res, err := c.push(t, body); err != nil || rejected(res) > 0 {
				t.Fatal(err, res)
			}
		}
		push(fill("t"))
		s.check(t, "db") // its chunks are kept
		ans, err := s.Sync(t.Context(), "db", tenant.AccessFull, false, &wire.Request{Mode: wire.ModePull | wire.ModeSnapshot})
		if err != nil {
			t.Fatal(err)
		}
		pages := s.ask(t, &turso.PullRequest{})
		_, file, err := s.ExportAt(t.Context(), "db", 1)
		if err != nil {
			t.Fatal(err)
		}
		swapped := false
		swap := func() {
			t.Helper()
			if swapped {
				return
			}
			swapped = true
			if err := s.Delete(t.Context(), "db"); err != nil {
				t.Fatal(err)
			}
			push(ddl(theirs))
		}
		if after == 0 {
			swap()
		}
		var failed error
		n := 0
		for msg, err := range ans.Pages {
			if failed = err; err != nil {
				break
			}
			if _, data, err := wire.DecodePages(nil, msg); err != nil || bytes.Contains(data, []byte("canary")) {
				t.Fatalf("after %d: part %d is another database's, or broken: %v", after, n, err)
			}
			if n++; n == after {
				swap()
			}
		}
		if after == 0 && !errors.Is(failed, tenant.ErrNotFound) {
			t.Errorf("a snapshot of a deleted database: %v", failed)
		}
		swap()
		failed = nil
		for p, err := range pages.Data {
			if failed = err; err != nil {
				break
			}
			if bytes.Contains(p.Data, []byte("canary")) {
				t.Fatal("a page is another database's")
			}
		}
		if !errors.Is(failed, tenant.ErrNotFound) {
			t.Errorf("pages of a deleted database: %v", failed)
		}
		for b, err := range file {
			if failed = err; err != nil {
				break
			}
			if bytes.Contains(b, []byte("canary")) {
				t.Fatal("an export is another database's")
			}
		}
	}
}

// TestGuard: a request whose turn has come is asked again whether it may, before
// it makes or reads anything.
func TestGuard(t *testing.T) {
	s := newSnapshots(t, tenant.Config{})
	no := errors.New("not any more")
	ctx := tenant.WithGuard(t.Context(), func() error { return no })
	push := func(ctx context.Context) error {
		_, err := s.Sync(ctx, "db", tenant.AccessFull, true, &wire.Request{Mode: wire.ModePull | wire.ModeSnapshot})
		return err
	}
	run := func(ctx context.Context, q string) error {
		c := s.Session("db", tenant.SessionConfig{Write: true, Create: true})
		defer c.Close()
		_, err := c.Run(ctx, &tenant.Query{SQL: q}, nil)
		return err
	}
	if err := errors.Join(push(ctx), run(ctx, "CREATE TABLE t(x)")); !errors.Is(err, no) {
		t.Error(err)
	}
	if names, err := s.List(t.Context(), "", 1); err != nil || len(names) > 0 {
		t.Errorf("they have made %v, %v", names, err)
	}
	if err := run(t.Context(), "CREATE TABLE t(x)"); err != nil {
		t.Fatal(err)
	}
	_, restored := s.Restore(ctx, "db", 0, "test")
	for _, err := range []error{push(ctx), run(ctx, "INSERT INTO t VALUES (1)"), run(ctx, "SELECT * FROM t"), restored} {
		if !errors.Is(err, no) {
			t.Error(err)
		}
	}
	c := s.Session("db", tenant.SessionConfig{Write: true})
	defer c.Close()
	if _, err := c.Run(t.Context(), &tenant.Query{SQL: "BEGIN"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Run(ctx, &tenant.Query{SQL: "DROP TABLE t"}, nil); !errors.Is(err, no) {
		t.Errorf("within a transaction: %v", err)
	}
}
