package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
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
