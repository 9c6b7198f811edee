package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/server"
)

// spent makes requests until one is refused, and returns how many were answered
// and the refusal.
func (s *sqlServer) spent(path, token string) (int, *httptest.ResponseRecorder) {
	s.t.Helper()
	for n := range 100 {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(`{"requests":[{"type":"execute","stmt":{"sql":"SELECT 1"}}]}`))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.srv.ServeHTTP(w, r)
		if w.Code != 200 {
			return n, w
		}
	}
	return 100, nil
}

func (s *sqlServer) token(database string) string {
	s.t.Helper()
	tok, err := server.CreateToken(s.dir, server.TokenSpec{Database: database})
	if err != nil {
		s.t.Fatal(err)
	}
	return tok
}

// TestRateOfDatabase: above the limit of one database its requests are refused,
// those of others are not, and after a while it is used again.
func TestRateOfDatabase(t *testing.T) {
	s := newSQL(t, server.Config{Limits: server.Limits{Rates: server.RateLimits{Database: server.Rate{PerSecond: 0.5, Burst: 3}}}})
	n, no := s.spent("/db/a/v2/pipeline", s.token("a"))
	if n != 3 || no.Code != http.StatusTooManyRequests || no.Header().Get("Retry-After") != "2" ||
		!strings.Contains(no.Body.String(), `"code":"RATE_LIMITED"`) || !strings.Contains(no.Body.String(), "this database") {
		t.Errorf("after %d: %d %v %s", n, no.Code, no.Header(), no.Body)
	}
	if n, _ := s.spent("/db/b/v2/pipeline", s.token("b")); n != 3 {
		t.Errorf("another database: %d", n)
	}
	if n, _ := s.spent("/db/a/v2/pipeline", s.token("*")); n != 0 {
		t.Errorf("with another token: %d", n)
	}
	if w := httptest.NewRecorder(); true {
		s.srv.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", http.NoBody))
		if w.Code != 200 {
			t.Errorf("a probe: %d", w.Code)
		}
	}
}

// TestRateOfToken: what a token uses up is not that of another one, and what it
// is refused costs its database nothing.
func TestRateOfToken(t *testing.T) {
	s := newSQL(t, server.Config{Limits: server.Limits{Rates: server.RateLimits{
		Token: server.Rate{PerSecond: 0.5, Burst: 3}, Organization: server.Rate{PerSecond: 0.5, Burst: 5},
	}}})
	api, err := server.CreateAPIToken(t.Context(), s.dir, server.APITokenSpec{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	request := func(method, path, body string) int {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+api)
		w := httptest.NewRecorder()
		s.srv.ServeHTTP(w, r)
		return w.Code
	}
	for i, want := range []int{200, 200, 200, 429} {
		if got := request(http.MethodPost, "/v1/databases", fmt.Sprintf(`{"name":"d%d"}`, i)); got != want {
			t.Errorf("request %d of the Platform API: %d, want %d", i, got, want)
		}
	}
	for i, want := range []int{3, 2, 0} {
		if n, no := s.spent("/db/d1/v2/pipeline", s.token("d1")); n != want {
			t.Errorf("token %d: %d requests, want %d: %s", i, n, want, no.Body)
		}
	}
}

// TestRateComesBack: after the time that the answer says there is room again.
func TestRateComesBack(t *testing.T) {
	s := newSQL(t, server.Config{Limits: server.Limits{Rates: server.RateLimits{Database: server.Rate{PerSecond: 20, Burst: 1}}}})
	tok := s.token("a")
	if n, _ := s.spent("/db/a/v2/pipeline", tok); n == 0 || n > 5 {
		t.Errorf("%d at once", n)
	}
	time.Sleep(60 * time.Millisecond)
	if n, _ := s.spent("/db/a/v2/pipeline", tok); n == 0 {
		t.Error("nothing after a while")
	}
}

// TestRateOfItsOwn: a database may have a limit of its own.
func TestRateOfItsOwn(t *testing.T) {
	s := newSQL(t, server.Config{})
	api, err := server.CreateAPIToken(t.Context(), s.dir, server.APITokenSpec{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	s.post("/v1/databases", api, `{"name":"a"}`)
	if n, _ := s.spent("/db/a/v2/pipeline", s.token("a")); n != 100 {
		t.Errorf("without a limit: %d", n)
	}
	r := httptest.NewRequest(http.MethodPatch, "/v1/databases/a/configuration", strings.NewReader(`{"rate_limit":1}`))
	r.Header.Set("Authorization", "Bearer "+api)
	w := httptest.NewRecorder()
	s.srv.ServeHTTP(w, r)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"rate_limit":1`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if n, _ := s.spent("/db/a/v2/pipeline", s.token("a")); n != 1 {
		t.Errorf("with a limit of 1: %d", n)
	}
}
