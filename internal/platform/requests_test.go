package platform

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
)

// TestQueryIsReadWhole: a query string that can't be read as a whole is refused:
// what is left out of a token's would make it one for more, or for ever.
func TestQueryIsReadWhole(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, "POST", "/v1/databases", map[string]any{"name": "a"})
	for _, q := range []string{
		"expiration=1h;authorization=read-only", "expiration=1h&authorization=read-only%zz", "authorization=%",
		"authorization=full-access&authorization=read-only", "expiration=never&expiration=1h",
	} {
		for _, path := range []string{"/v1/databases/a/auth/tokens", "/v1/groups/default/auth/tokens", "/v1/auth/api-tokens/b"} {
			f.want(t, 400, owner, "POST", path+"?"+q, nil)
		}
	}
	f.want(t, 400, owner, "GET", "/v1/databases?limit=1;cursor=a", nil)
}

// TestRevisionBounds: a revision that isn't there is none, whatever its number,
// and one thing is asked for at a time.
func TestRevisionBounds(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, "POST", "/v1/databases", map[string]any{"name": "a"})
	const last = "18446744073709551615"
	for _, c := range []struct {
		status             int
		method, path, body string
	}{
		{422, "GET", "/v1/databases/a/export?revision=" + last, ""},
		{422, "POST", "/v1/databases/a/restore", `{"revision":` + last + `}`},
		{422, "POST", "/v1/databases", `{"name":"b","seed":{"type":"database","name":"a","revision":` + last + `}}`},
		{400, "GET", "/v1/databases/a/export?revision=0&timestamp=2099-01-01", ""},
		{400, "POST", "/v1/databases/a/restore", `{"revision":0,"timestamp":"2099-01-01"}`},
		{400, "POST", "/v1/databases", `{"name":"b","seed":{"type":"database","name":"a","revision":0,"timestamp":"2099-01-01"}}`},
	} {
		f.want(t, c.status, owner, c.method, c.path, c.body)
	}
}

// TestHead: HEAD is answered as GET is, and a method that is not possible says
// which ones are.
func TestHead(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, "POST", "/v1/databases", map[string]any{"name": "a"})
	ask := func(method, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
		r.Header.Set("Authorization", "Bearer "+owner)
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		return w
	}
	for _, path := range []string{"/v1/databases", "/v1/databases/a", "/v1/databases/a/export", "/v1/openapi.json"} {
		get, head := ask("GET", path), ask("HEAD", path)
		if head.Code != 200 || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") {
			t.Errorf("HEAD %s: %d %v, GET has %v", path, head.Code, head.Header(), get.Header())
		}
	}
	if w := ask("HEAD", "/v1/databases/a/export"); w.Body.Len() > 0 {
		t.Errorf("HEAD reads the file: %d bytes", w.Body.Len())
	}
	if w := ask("HEAD", "/v1/databases/b"); w.Code != 404 {
		t.Errorf("%d", w.Code)
	}
	for path, allow := range map[string]string{"/v1/databases": "GET, HEAD, POST", "/v1/databases/a": "GET, HEAD, DELETE", "/v1/databases/a/restore": "POST"} {
		if w := ask("PUT", path); w.Code != 405 || w.Header().Get("Allow") != allow || !strings.Contains(w.Body.String(), "error") {
			t.Errorf("PUT %s: %d %q %s", path, w.Code, w.Header().Get("Allow"), w.Body)
		}
	}
}
