package platform_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentdb/agentdb/platform"
)

// fake serves answers by "METHOD /path", in the shapes of Turso's API, and keeps
// what it was asked.
type fake struct {
	*httptest.Server
	asked []string
}

func newFake(t *testing.T, answers map[string]string) *fake {
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		f.asked = append(f.asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")+" "+string(b))
		ans, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			ans = `{"error":"no such thing"}`
		}
		fmt.Fprint(w, strings.ReplaceAll(ans, "HOST", r.Host))
	}))
	t.Cleanup(f.Close)
	return f
}

// TestTurso: what Turso answers is less, and sometimes elsewhere.
func TestTurso(t *testing.T) {
	ctx := t.Context()
	f := newFake(t, map[string]string{
		"POST /v1/organizations/o/databases":                `{"database":{"DbId":"0eb771dd","Hostname":"HOST","Name":"d"}}`,
		"GET /v1/organizations/o/databases/d":               `{"database":{"Name":"d","DbId":"0eb771dd","Hostname":"HOST","parent":{"id":"1","name":"p","branched_at":"2026-01-01T00:00:00Z"},"regions":["a"]}}`,
		"GET /v1/organizations/o/databases":                 `{"databases":[{"Name":"d"},{"Name":"e"}]}`,
		"POST /v1/organizations/o/databases/d/auth/tokens":  `{"jwt":"ey"}`,
		"POST /v1/upload":                                   `{}`,
		"GET /v1/organizations":                             `[{"name":"personal","slug":"o","type":"personal"}]`,
		"GET /v2/organizations/o/invites":                   `{"invites":[{"email":"a@b.c"}]}`,
		"GET /v1/organizations/o/databases/d/configuration": `{"size_limit":"10000000000","allow_attach":true,"block_reads":false}`,
		"DELETE /v1/organizations/o/databases/d":            `{"database":"d"}`,
		"GET /v1/organizations/o/databases/d/usage":         `{"database":{"uuid":"1","instances":[],"usage":{"rows_read":1,"rows_written":2,"storage_bytes":3}},"total":{}}`,
	})
	api := platform.NewClient(platform.Config{Token: "secret", Org: "o", BaseURL: f.URL + "/v1"})
	d, err := api.Databases.Create(ctx, "d", platform.CreateOptions{FromFile: strings.NewReader("SQLite format 3"), SizeLimit: 1 << 20})
	if err != nil || d.URL != "libsql://"+d.Hostname {
		t.Fatalf("%+v %v", d, err)
	}
	want := []string{
		`POST /v1/organizations/o/databases Bearer secret {"group":"default","name":"d","seed":{"type":"database_upload"},"size_limit":"1048576"}`,
		`POST /v1/organizations/o/databases/d/auth/tokens?authorization=full-access&expiration=1h Bearer secret {}`,
		`POST /v1/upload Bearer ey SQLite format 3`,
	}
	if fmt.Sprint(f.asked) != fmt.Sprint(want) {
		t.Errorf("asked\n%s", strings.Join(f.asked, "\n"))
	}
	if d := must[*platform.Database](t)(api.Databases.Get(ctx, "d")); d.Parent.Name != "p" || d.URL == "" {
		t.Errorf("%+v", d)
	}
	n := 0
	for _, err := range api.Databases.List(ctx, platform.ListOptions{}) {
		if n++; err != nil {
			t.Error(err)
		}
	}
	if n != 2 {
		t.Errorf("%d databases", n)
	}
	if l := must[[]platform.Organization](t)(api.Organizations.List(ctx)); len(l) != 1 || l[0].Slug != "o" {
		t.Errorf("%+v", l)
	}
	must[[]platform.Invite](t)(api.Organizations.Invites(ctx))
	if c := must[platform.Configuration](t)(api.Databases.Configuration(ctx, "d")); c.SizeLimit != 10_000_000_000 || !c.AllowAttach {
		t.Errorf("%+v", c)
	}
	if u := must[platform.Usage](t)(api.Databases.Usage(ctx, "d")); u.RowsWritten != 2 {
		t.Errorf("%+v", u)
	}
	f.asked = nil
	must[string](t)(api.Databases.CreateToken(ctx, "d", platform.TokenOptions{Access: platform.AccessPull, Expiration: 26*time.Hour + time.Millisecond}))
	if !strings.Contains(f.asked[0], "access=pull&authorization=read-only&expiration=1d2h1s ") {
		t.Errorf("asked %s", f.asked)
	}
}

// TestNames: a name never leads to another place of the API.
func TestNames(t *testing.T) {
	f := newFake(t, nil)
	api := platform.NewClient(platform.Config{Org: "o", BaseURL: f.URL})
	for _, name := range []string{"", ".", ".."} {
		if err := api.Databases.Delete(t.Context(), name); err == nil || errors.Is(err, platform.ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if len(f.asked) > 0 {
		t.Errorf("asked %s", f.asked)
	}
	for _, name := range []string{"a/b", "../..", "a?b", "a#b", "ä"} {
		if err := api.Databases.Delete(t.Context(), name); !errors.Is(err, platform.ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, a := range f.asked {
		if strings.Count(a, "/") != 5 || strings.Contains(a, "?") {
			t.Errorf("asked %s", a)
		}
	}
	for _, base := range []string{"127.0.0.1:8080", "ftp://host/", "http://", "http://a b/"} {
		if _, err := platform.NewClient(platform.Config{BaseURL: base}).Databases.Get(t.Context(), "d"); err == nil || !strings.Contains(err.Error(), "base URL") {
			t.Errorf("%s: %v", base, err)
		}
	}
}

// TestRetry: reads come back when they are told to, nothing else does.
func TestRetry(t *testing.T) {
	var n atomic.Int32
	after := "0"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) <= 2 || r.URL.Path != "/v1/databases/d" {
			w.Header().Set("Retry-After", after)
			w.WriteHeader([]int{503, 429}[n.Load()%2])
			fmt.Fprint(w, `{"error":"busy"}`)
			return
		}
		fmt.Fprint(w, `{"database":{"Name":"d"}}`)
	}))
	defer srv.Close()
	api := platform.NewClient(platform.Config{BaseURL: srv.URL})
	if d, err := api.Databases.Get(t.Context(), "d"); err != nil || d.Name != "d" || n.Load() != 3 {
		t.Errorf("%+v, %v after %d", d, err, n.Load())
	}
	for _, c := range []struct {
		after string
		do    func() error
		want  int32
	}{
		{"0", func() error { _, err := api.Databases.Get(t.Context(), "x"); return err }, 4},
		{"0", func() error { return api.Databases.Delete(t.Context(), "x") }, 1},
		{"0", func() error { return api.Databases.RotateTokens(t.Context(), "x") }, 1},
		{"3600", func() error { _, err := api.Databases.Get(t.Context(), "x"); return err }, 1},
	} {
		after = c.after
		n.Store(0)
		var failed *platform.Error
		if err := c.do(); !errors.As(err, &failed) || failed.Message != "busy" || n.Load() != c.want {
			t.Errorf("%v after %d, want %d", err, n.Load(), c.want)
		}
	}
}

// TestAnswers: an answer is neither endless nor half a file.
func TestAnswers(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/databases/endless":
			for block := make([]byte, 1<<20); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		case "/v1/databases/half/export":
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "SQLite")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "<html>")
		}
	}))
	defer srv.Close()
	api := platform.NewClient(platform.Config{BaseURL: srv.URL})
	if _, err := api.Databases.Get(t.Context(), "endless"); err == nil || !strings.Contains(err.Error(), "above") {
		t.Error(err)
	}
	if _, err := api.Databases.Export(t.Context(), "half", platform.Point{}, io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if _, err := api.Groups.List(t.Context()); err == nil || !strings.Contains(err.Error(), "502") {
		t.Error(err)
	}
}
