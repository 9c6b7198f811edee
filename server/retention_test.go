package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/tenant"
)

// TestRetention: old revisions are dropped in the background, the newest stays.
func TestRetention(t *testing.T) {
	s := newStored(t, Config{DataDir: t.TempDir(), Dev: true, Retention: 2 * time.Second})
	sql := func(text string) {
		t.Helper()
		body := `{"requests":[{"type":"execute","stmt":{"sql":"` + text + `"}}]}`
		if status, _, ans := do(s, httptest.NewRequest(http.MethodPost, "/db/a/v2/pipeline", strings.NewReader(body))); status != 200 || strings.Contains(ans, "error") {
			t.Fatalf("%d %s", status, ans)
		}
	}
	sql("CREATE TABLE t(x)")
	for range 20 {
		sql("INSERT INTO t VALUES (zeroblob(1000))")
	}
	m := s.dbs.(*stored).Manager
	end := time.Now().Add(30 * time.Second)
	for {
		f, err := m.Facts(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if f.Oldest == 21 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("revisions since %d are kept, the newest is %d", f.Oldest, f.Revision)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := m.Restore(t.Context(), "a", 3, "test"); err == nil {
		t.Error("a dropped revision was restored")
	}
	sql("INSERT INTO t VALUES (1)")
	sql("SELECT count(*) FROM t")
}

// damaged is a history in which one database can't be cut.
type damaged struct{ history.Store }

func (d damaged) Retain(ctx context.Context, id history.DBID, horizon uint64) error {
	if id == "b" {
		return history.ErrCorrupt
	}
	return d.Store.Retain(ctx, id, horizon)
}

// TestRetentionGoesOn: a database whose old revisions can't be dropped doesn't keep
// those of others.
func TestRetentionGoesOn(t *testing.T) {
	store, err := history.Open(history.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	m, err := tenant.New(tenant.Config{Store: damaged{store}, CacheDir: filepath.Join(t.TempDir(), "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(m.Close(context.Background()), store.Close()); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"a", "b", "c"} {
		s := m.Session(name, tenant.SessionConfig{Write: true, Create: true})
		for _, q := range []string{"CREATE TABLE t(x)", "INSERT INTO t VALUES (1)"} {
			if _, err := s.Run(t.Context(), &tenant.Query{SQL: q}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(5 * time.Millisecond) // the history tells milliseconds
	if err := retainOnce(t.Context(), m, time.Millisecond); !errors.Is(err, history.ErrCorrupt) {
		t.Error(err)
	}
	for name, want := range map[string]uint64{"a": 2, "c": 2} {
		if f, err := m.Facts(t.Context(), name); err != nil || f.Oldest != want {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}
