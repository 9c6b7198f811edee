package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

func TestAuthMatrix(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{})
	one := []wire.Change{{Nonce: 1, Body: []byte("x")}}
	modes := []struct {
		name       string
		req        wire.Request
		pull, push bool // needs
	}{
		{"nothing", wire.Request{}, false, false},
		{"pull", wire.Request{Mode: wire.ModePull}, true, false},
		{"snapshot", wire.Request{Mode: wire.ModeSnapshot}, true, false},
		{"push", wire.Request{First: 1, Changes: one}, false, true},
		{"strict", wire.Request{Strict: &wire.Strict{Body: []byte("x")}}, false, true},
		{"full", wire.Request{Mode: wire.ModePull, First: 1, Changes: one}, true, true},
		{"strict and pull", wire.Request{Mode: wire.ModePull, Strict: &wire.Strict{}}, true, true},
	}
	for _, db := range []string{"tasks", "*"} {
		for access := catalog.AccessFull; access <= catalog.AccessPull; access++ {
			tok, err := CreateToken(s.cfg.DataDir, TokenSpec{Database: db, Access: access.String(), Expires: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range modes {
				t.Run(fmt.Sprintf("%s/%s/%s", db, access, m.name), func(t *testing.T) {
					before := f.count()
					r := syncRequest("/db/tasks/sync", &m.req)
					r.Header.Set("Authorization", "Bearer "+tok)
					status, code, body := do(s, r)
					if m.pull && !access.CanPull() || m.push && !access.CanPush() {
						if status != 403 || code != CodeForbidden || f.count() != before {
							t.Errorf("%d %s", status, body)
						}
						return
					}
					c := f.last(t)
					if status != 200 || f.count() != before+1 || c.create != access.CanPush() {
						t.Errorf("%d %s, %+v", status, body, c)
					}
					if c.access.Has(tenant.AccessPull) != access.CanPull() || c.access.Has(tenant.AccessPush) != access.CanPush() {
						t.Errorf("access %v became %b", access, c.access)
					}
				})
			}
		}
	}
}

func TestAuthRefused(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{})
	token := func(dir string, spec TokenSpec) string {
		t.Helper()
		tok, err := CreateToken(dir, spec)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + tok
	}
	key, err := catalog.OpenKey(s.cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	old, err := key.Sign(catalog.Claims{Database: "tasks", Access: catalog.AccessFull, Expires: time.Now().Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	good := token(s.cfg.DataDir, TokenSpec{Database: "tasks"})
	for name, c := range map[string]struct {
		header string
		status int
		code   Code
	}{
		"none":         {"", 401, CodeUnauthorized},
		"empty":        {"Bearer ", 401, CodeUnauthorized},
		"basic":        {"Basic dXNlcjpwYXNz", 401, CodeUnauthorized},
		"bare token":   {strings.TrimPrefix(good, "Bearer "), 401, CodeUnauthorized},
		"wrong key":    {token(t.TempDir(), TokenSpec{Database: "tasks"}), 401, CodeUnauthorized},
		"expired":      {"Bearer " + string(old), 401, CodeUnauthorized},
		"alg none":     {"Bearer eyJhbGciOiJub25lIn0.eyJkYiI6InRhc2tzIiwiYSI6ImZ1bGwifQ.", 401, CodeUnauthorized},
		"cut":          {good[:len(good)-2], 401, CodeUnauthorized},
		"huge":         {"Bearer " + strings.Repeat("x", 10_000), 401, CodeUnauthorized},
		"other db":     {token(s.cfg.DataDir, TokenSpec{Database: "task"}), 403, CodeForbidden},
		"longer db":    {token(s.cfg.DataDir, TokenSpec{Database: "tasks2"}), 403, CodeForbidden},
		"lower scheme": {"bearer " + strings.TrimPrefix(good, "Bearer "), 200, ""},
		"good":         {good, 200, ""},
	} {
		before := f.count()
		r := syncRequest("/db/tasks/sync", &wire.Request{})
		r.Header.Set("Authorization", c.header)
		if c.header == "" {
			r.Header.Del("Authorization")
		}
		if status, code, body := do(s, r); status != c.status || code != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, status, body, c.status, c.code)
		}
		if c.status != 200 && f.count() != before {
			t.Errorf("%s reached the databases", name)
		}
	}
}

func TestTokenIsOfOneDatabaseWhateverTheForm(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{})
	tok, err := CreateToken(s.cfg.DataDir, TokenSpec{Database: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]int{
		"http://a.localhost/sync":      200,
		"http://localhost/db/a/sync":   200,
		"http://b.localhost/sync":      403,
		"http://a.localhost/db/b/sync": 403, // the path wins, and is what the token must name
		"http://b.localhost/db/a/sync": 200,
		"http://localhost/sync":        200, // no name but the token's
	} {
		r := syncRequest(url, &wire.Request{})
		r.Header.Set("Authorization", "Bearer "+tok)
		if status, _, body := do(s, r); status != want {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}
}

func TestDevNeedsNoTokenButKeepsPagesOut(t *testing.T) {
	f := newFake()
	s := newTest(t, f, Config{Dev: true})
	for origin, want := range map[string]int{
		"": 200, "http://localhost:3000": 200, "http://127.0.0.1": 200, "http://[::1]:1": 200, "http://app.localhost": 200,
		"https://evil.example": 403, "null": 403, "http://localhost.evil.example": 403,
	} {
		r := syncRequest("http://localhost/sync", &wire.Request{})
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		if status, _, body := do(s, r); status != want {
			t.Errorf("origin %q: %d %s", origin, status, body)
		}
	}
	for host, want := range map[string]int{"localhost:8080": 200, "a.localhost": 200, "evil.example:8080": 403} {
		r := syncRequest("http://"+host+"/sync", &wire.Request{})
		r.Header.Set("User-Agent", "Mozilla/5.0") // a page doesn't name its origin when it asks its own
		if status, _, body := do(s, r); status != want {
			t.Errorf("a page of %s: %d %s", host, status, body)
		}
	}
	if c := f.last(t); !c.create || c.access != tenant.AccessFull {
		t.Errorf("%+v", c)
	}
	r := syncRequest("http://localhost/sync", &wire.Request{})
	r.Header.Set("Content-Type", "text/plain")
	if status, code, _ := do(s, r); status != http.StatusBadRequest || code != CodeMalformed {
		t.Errorf("a content type that pages may send: %d", status)
	}
}

func TestCreateTokenChecks(t *testing.T) {
	dir := t.TempDir()
	for _, spec := range []TokenSpec{
		{}, {Database: "UPPER"}, {Database: "a/b"}, {Database: "a", Access: "root"}, {Database: "a", Expires: -1},
	} {
		if _, err := CreateToken(dir, spec); err == nil {
			t.Errorf("%+v made a token", spec)
		}
	}
}
