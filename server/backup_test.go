package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/history"
)

// TestBackupIsOneMoment: while databases of an organisation come and go, a
// backup has none that its catalog doesn't know: a start would give it to the
// server's own organisation.
func TestBackupIsOneMoment(t *testing.T) {
	dir := t.TempDir()
	s, err := New(Config{DataDir: dir, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	ask := func(method, path, body string) int {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.RemoteAddr, r.Host = "127.0.0.1:1", "127.0.0.1"
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	if code := ask(http.MethodPost, "/v1/organizations", `{"name":"two"}`); code != http.StatusOK {
		t.Fatal(code)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				name := fmt.Sprintf("d%d-%d", i, n)
				if c, d := ask(http.MethodPost, "/v1/organizations/two/databases", `{"name":"`+name+`"}`), ask(http.MethodDelete, "/v1/organizations/two/databases/"+name, ""); c != http.StatusOK || d != http.StatusOK {
					t.Errorf("%s: %d, %d", name, c, d)
					return
				}
			}
		})
	}
	var backups []string
	for range 10 {
		path, err := s.Backup(t.Context())
		if err != nil {
			t.Error(err)
			break
		}
		backups = append(backups, path)
	}
	close(done)
	wg.Wait()
	for _, path := range backups {
		for name := range orphans(t, path) {
			t.Errorf("%s has %s, which is nobody's", path, name)
		}
	}
}

// orphans returns the databases of a backup that its catalog doesn't know.
func orphans(t *testing.T, dir string) map[string]bool {
	t.Helper()
	h, err := history.Open(history.Options{Dir: filepath.Join(dir, historyDir)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	names, err := h.List(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.OpenStore(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	known, err := c.AllDatabases("", 1000)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for _, n := range names {
		left[string(n)] = true
	}
	for _, d := range known {
		delete(left, d.Name)
	}
	return left
}

// TestHalfMadeBackup: what a crash leaves of a backup takes no room after the
// next start; backups stay.
func TestHalfMadeBackup(t *testing.T) {
	dir := t.TempDir()
	half, whole := filepath.Join(dir, "backups", ".partial-7", "history"), filepath.Join(dir, "backups", "20260131T120000.000Z")
	for _, path := range []string{half, whole} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(Config{DataDir: dir, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("a half-made backup: %v", err)
	}
	if _, err := os.Stat(whole); err != nil {
		t.Error(err)
	}
}
