package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/tenant"
)

// fixture is an API over real databases, with an API token of everybody.
type fixture struct {
	*API
	store   *catalog.Store
	manager *tenant.Manager
	key     *catalog.Key

	contract *contract
	tokens   map[string]string // of users, see api
}

// withBackup makes backups possible.
func withBackup(cfg *Config) {
	cfg.Backup = func(context.Context) (string, error) { return "x", nil }
}

// newFixture returns an API without databases; with may change its Config.
func newFixture(t *testing.T, with func(*Config)) *fixture {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := catalog.OpenKey(dir)
	must(err)
	store, err := catalog.OpenStore(dir, nil)
	must(err)
	hist, err := history.Open(history.Options{Dir: filepath.Join(dir, "history")})
	must(err)
	f := &fixture{store: store, key: key}
	f.manager, err = tenant.New(tenant.Config{
		Store: hist, CacheDir: filepath.Join(dir, "cache"), Created: func(name string) { f.Adopt(name) },
		Limit: func(name string) int64 {
			p, err := store.Policy(name)
			if err != nil {
				return 0
			}
			return p.SizeLimit
		},
	})
	must(err)
	cfg := Config{Store: store, Key: key, Databases: f.manager, UploadDir: filepath.Join(dir, "uploads")}
	if with != nil {
		with(&cfg)
	}
	f.API, err = New(t.Context(), cfg)
	must(err)
	f.contract = newContract(t, f.API)
	t.Cleanup(func() {
		f.Close()
		for _, err := range []error{f.manager.Close(context.Background()), store.Close(), hist.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return f
}

// token makes an API token of a user.
func (f *fixture) token(t *testing.T, username string) string {
	t.Helper()
	_, secret, err := f.store.CreateAPIToken(t.Context(), catalog.APIToken{Name: t.Name() + "/" + username, Username: username})
	if err != nil {
		t.Fatal(err)
	}
	return string(secret)
}

// member makes a user of the default organisation and returns an API token.
func (f *fixture) member(t *testing.T, r catalog.Role) string {
	t.Helper()
	if err := f.store.PutMember(t.Context(), catalog.DefaultOrg, catalog.Member{Username: "the-" + r.String(), Role: r}); err != nil {
		t.Fatal(err)
	}
	return f.token(t, "the-"+r.String())
}

// answer is what a request got.
type answer struct {
	status int
	body   string
	json   map[string]any
}

// at returns what is at a path of names in the answer, nil if there is nothing.
func (a answer) at(names ...string) any {
	var v any = a.json
	for _, n := range names {
		m, _ := v.(map[string]any)
		v = m[n]
	}
	return v
}

// call makes a request. The body is a text, or what becomes JSON.
func (f *fixture) call(t *testing.T, token, method, path string, body any) answer {
	t.Helper()
	var in io.Reader = http.NoBody
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(j)
	}
	r := httptest.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:8080"+path, in)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return f.do(t, r)
}

// do makes a request. It and its answer must be as the OpenAPI document says.
func (f *fixture) do(t *testing.T, r *http.Request) answer {
	t.Helper()
	w, body := httptest.NewRecorder(), &spy{ReadCloser: r.Body}
	r.Body = body
	f.ServeHTTP(w, r)
	if err := f.contract.conforms(f.API, r, body.seen.Bytes(), w); err != nil {
		t.Errorf("%s %s %s: %d %s: %v", r.Method, r.URL, body.seen.Bytes(), w.Code, w.Body, err)
	}
	a := answer{status: w.Code, body: w.Body.String()}
	if w.Header().Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(w.Body.Bytes(), &a.json); err != nil {
			t.Errorf("%s %s: %v: %s", r.Method, r.URL, err, a.body)
		}
	}
	return a
}

// want makes a request and checks its status.
func (f *fixture) want(t *testing.T, status int, token, method, path string, body any) answer {
	t.Helper()
	a := f.call(t, token, method, path, body)
	if a.status != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.body, status)
	}
	return a
}
