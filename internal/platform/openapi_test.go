package platform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/agentdb/agentdb/internal/catalog"
)

// contract is the OpenAPI document, to check requests and answers with.
type contract struct {
	doc    map[string]any
	routes []*route

	mu      sync.Mutex
	schemas *jsonschema.Compiler
	met     map[string]bool // operations that have answered with 200; guarded by mu
}

// newContract reads the document. Objects have no other fields than it says, for
// the tests; clients must expect more.
func newContract(t *testing.T, a *API) *contract {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.document))
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{doc: doc.(map[string]any), routes: a.routes, schemas: jsonschema.NewCompiler(), met: map[string]bool{}}
	for name, s := range c.at("components", "schemas").(map[string]any) {
		if !strings.HasPrefix(name, "New") && !strings.HasSuffix(name, "Update") || strings.HasPrefix(name, "NewAPI") {
			closed(s)
		}
	}
	c.schemas.DefaultDraft(jsonschema.Draft2020)
	c.schemas.AssertFormat()
	if err := c.schemas.AddResource("doc.json", doc); err != nil {
		t.Fatal(err)
	}
	return c
}

// closed forbids fields that a schema doesn't name.
func closed(s any) {
	switch s := s.(type) {
	case map[string]any:
		if _, is := s["properties"]; is && s["additionalProperties"] == nil {
			s["additionalProperties"] = false
		}
		for _, v := range s {
			closed(v)
		}
	case []any:
		for _, v := range s {
			closed(v)
		}
	}
}

// at returns what is at a path of keys, nil if there is nothing.
func (c *contract) at(keys ...string) any {
	var v any = c.doc
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// resolve follows a reference.
func (c *contract) resolve(v any) map[string]any {
	m, _ := v.(map[string]any)
	if ref, ok := m["$ref"].(string); ok {
		return c.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(map[string]any)
	}
	return m
}

// check validates JSON against what is at a path of keys in the document.
func (c *contract) check(v any, keys ...string) error {
	for i, k := range keys {
		keys[i] = strings.NewReplacer("~", "~0", "/", "~1").Replace(k)
	}
	c.mu.Lock()
	s, err := c.schemas.Compile("doc.json#/" + strings.Join(keys, "/"))
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// operation returns the path of a request in the document, "" if the API has
// none.
func (c *contract) operation(a *API, r *http.Request) (path string) {
	rt, err := a.match(&call{Request: r, api: a})
	if err != nil {
		return ""
	}
	if version, _ := cutSegment(r.URL.Path); version == "v2" && operations[rt.method+" "+rt.path].out2 != "" {
		return rt.template("/v2")
	}
	return rt.template("/v1")
}

// conforms checks a request and its answer.
func (c *contract) conforms(a *API, r *http.Request, body []byte, w *httptest.ResponseRecorder) error {
	path, method := c.operation(a, r), strings.ToLower(r.Method)
	if path == "" {
		return nil
	}
	op := []string{"paths", path, method}
	if w.Code == http.StatusOK {
		c.mu.Lock()
		c.met[method+" "+path] = true
		c.mu.Unlock()
		if err := c.request(op, r, body); err != nil {
			return fmt.Errorf("the request: %w", err)
		}
	}
	status := strconv.Itoa(w.Code)
	if w.Code == 500 || w.Code == 503 {
		status = "default"
	}
	answer := c.resolve(c.at(append(op, "responses", status)...))
	if answer == nil {
		return fmt.Errorf("%v has no status %s", op, status)
	}
	for name := range asObject(answer["headers"]) {
		if w.Header().Get(name) == "" {
			return fmt.Errorf("there is no header %s", name)
		}
	}
	kind := w.Header().Get("Content-Type")
	media, ok := asObject(answer["content"])[kind]
	if !ok {
		return fmt.Errorf("%v %s is never of type %s", op, status, kind)
	}
	schema := asObject(asObject(media)["schema"])
	if len(schema) == 0 {
		return nil
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		return err
	}
	return c.check(v, strings.Split(strings.TrimPrefix(schema["$ref"].(string), "#/"), "/")...)
}

func asObject(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// request checks the query and the body of a request.
func (c *contract) request(op []string, r *http.Request, body []byte) error {
	var params []string
	list, _ := c.at(append(op, "parameters")...).([]any)
	for _, p := range list {
		p = c.resolve(p)
		params = append(params, fmt.Sprint(asObject(p)["in"], " ", asObject(p)["name"]))
	}
	for name := range r.URL.Query() {
		if !slices.Contains(params, "query "+name) {
			return fmt.Errorf("the document has no parameter %s", name)
		}
	}
	schema := asObject(c.at(append(op, "requestBody", "content", "application/json", "schema")...))
	if schema == nil || len(body) == 0 {
		return nil
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return c.check(v, strings.Split(strings.TrimPrefix(schema["$ref"].(string), "#/"), "/")...)
}

// TestOpenAPIIsTheTable: every route is in the document, and nothing else; what
// it refers to is there and is used; all schemas are sound.
func TestOpenAPIIsTheTable(t *testing.T) {
	f := newFixture(t, nil)
	want, described := map[string]string{}, maps.Clone(operations)
	for _, rt := range f.routes {
		key := rt.method + " " + rt.path
		op := described[key]
		delete(described, key)
		want[strings.ToLower(rt.method)+" "+rt.template("/v1")] = op.id
		if op.out2 != "" {
			want[strings.ToLower(rt.method)+" "+rt.template("/v2")] = op.id + "V2"
		}
	}
	for key := range described {
		t.Errorf("there is no route %s", key)
	}
	ids := map[string]bool{}
	for path, ops := range f.contract.at("paths").(map[string]any) {
		for method := range asObject(ops) {
			op := method + " " + path
			id, _ := f.contract.at("paths", path, method, "operationId").(string)
			if id == "" || ids[id] || want[op] != id {
				t.Errorf("%s is the operation %q, want %q", op, id, want[op])
			}
			ids[id] = true
			delete(want, op)
			for _, p := range strings.Split(path, "/") {
				if name, ok := strings.CutPrefix(p, "{"); ok && f.contract.at("components", "parameters", strings.Trim(name, "}"), "in") != "path" {
					t.Errorf("%s: %s is not described", op, p)
				}
			}
		}
	}
	for op := range want {
		t.Errorf("%s is not in the document", op)
	}
	text := string(f.document)
	for kind, all := range f.contract.at("components").(map[string]any) {
		for name := range asObject(all) {
			if kind != "securitySchemes" && !strings.Contains(text, `"#/components/`+kind+"/"+name+`"`) {
				t.Errorf("nothing refers to %s of %s", name, kind)
			}
			if kind == "schemas" {
				if _, err := f.contract.schemas.Compile("doc.json#/components/schemas/" + name); err != nil {
					t.Error(err)
				}
			}
		}
	}
	for _, part := range strings.Split(text, `"$ref":"#/`)[1:] {
		ref, _, _ := strings.Cut(part, `"`)
		if f.contract.at(strings.Split(ref, "/")...) == nil {
			t.Errorf("%s is not there", ref)
		}
	}
}

// TestOpenAPIServed: anybody may read the document.
func TestOpenAPIServed(t *testing.T) {
	f := newFixture(t, nil)
	a := f.want(t, 200, "", get, "/v1/openapi.json", nil)
	if !bytes.Equal([]byte(a.body), f.document) || a.at("openapi") != "3.1.0" {
		t.Errorf("%.100s", a.body)
	}
}

// exercise is a request to each operation that it can answer with 200. {dump} is
// the URL of an upload, {file} a SQLite file, and {token} the ID of the newest API
// token.
var exercise = []struct{ method, path, body string }{
	{get, "/v1/openapi.json", ""},
	{post, "/v1/organizations", `{"name":"second"}`},
	{get, "/v1/organizations", ""},
	{patch, "/v1/organizations/second", `{"overages":true,"name":"Second"}`},
	{del, "/v1/organizations/second", ""},
	{post, "/v1/groups", `{"name":"g","location":"ams"}`},
	{get, "/v1/groups", ""},
	{get, "/v1/groups/g", ""},
	{patch, "/v1/groups/g/configuration", `{"delete_protection":false}`},
	{get, "/v1/groups/g/configuration", ""},
	{get, "/v1/groups/g/usage?from=2026-01-01&to=2100-01-31", ""},
	{post, "/v1/groups/g/locations/fra", ""},
	{del, "/v1/groups/g/locations/fra", ""},
	{post, "/v1/groups/g/auth/tokens?expiration=7d&authorization=read-only", `{"permissions":{"read_attach":{"databases":[]}}}`},
	{post, "/v1/groups/g/auth/tokens", `{"fine_grained_permissions":[{"t":null,"a":["data_read"]},{"t":["x"],"a":["data_add"]}]}`},
	{post, "/v1/groups/g/auth/rotate", "{}"},
	{post, "/v1/groups/g/update", ""},
	{post, "/v1/groups/g/unarchive", ""},
	{post, "/v1/groups", `{"name":"given"}`},
	{post, "/v1/organizations", `{"name":"second-owner"}`},
	{post, "/v1/organizations/second-owner/members", `{"member":"the-admin","role":"admin"}`},
	{post, "/v1/organizations/default/groups/given/transfer", `{"organization":"second-owner"}`},
	{post, "/v1/databases", `{"name":"a","group":"g","size_limit":"1gb","ttl":"1h","idle_timeout":"30m"}`},
	{post, "/v1/databases", `{"name":"b","seed":{"type":"dump","url":"{dump}"}}`},
	{post, "/v1/databases", `{"name":"c","seed":{"type":"database","name":"b","revision":1}}`},
	{post, "/v1/databases", `{"name":"d","seed":{"type":"database_upload"}}`},
	{get, "/v1/databases/b/export?revision=1", ""},
	{post, "/v1/databases/d/seed", "{file}"},
	{get, "/v1/databases?limit=2&group=default", ""},
	{get, "/v1/databases?cursor=b", ""},
	{get, "/v1/organizations/default/databases/c", ""},
	{get, "/v1/databases/a/configuration", ""},
	{patch, "/v1/databases/a/configuration", `{"size_limit":0,"rate_limit":100,"block_reads":false,"expires_at":""}`},
	{get, "/v1/databases/b/usage", ""},
	{get, "/v1/databases/b/stats", ""},
	{get, "/v1/databases/b/instances", ""},
	{get, "/v1/databases/b/instances/local", ""},
	{post, "/v1/databases/b/auth/tokens?access=pull&subject=x&expiration=never", ""},
	{post, "/v1/databases/b/auth/rotate", ""},
	{post, "/v1/databases/b/update", ""},
	{post, "/v1/databases/b/restore", `{"revision":0}`},
	{del, "/v1/databases/a", ""},
	{del, "/v1/groups/g", ""},
	{post, "/v1/members", `{"member":"ada","role":"admin"}`},
	{post, "/v1/members/bob", `{"email":"bob@example.com"}`},
	{get, "/v1/members", ""},
	{get, "/v1/members/bob", ""},
	{patch, "/v1/members/bob", `{"role":"viewer"}`},
	{del, "/v1/members/bob", ""},
	{post, "/v2/organizations/default/invites", `{"email":"eve@example.com","role":"member"}`},
	{get, "/v1/invites", ""},
	{del, "/v1/invites/eve@example.com", ""},
	{get, "/v1/audit-logs?page=1&page_size=100", ""},
	{get, "/v1/usage", ""},
	{post, "/v1/backups", ""},
	{get, "/v1/invoices", ""},
	{get, "/v1/plans", ""},
	{get, "/v1/subscription", ""},
	{get, "/v1/locations", ""},
	{get, "/v2/locations", ""},
	{get, "/v1/user", ""},
	{get, "/v1/current-user", ""},
	{get, "/v1/auth/validate", ""},
	{get, "/v1/auth/api-tokens/validate", ""},
	{post, "/v1/auth/api-tokens/one?expiration=7d", ""},
	{post, "/v2/auth/api-tokens/two", ""},
	{get, "/v1/auth/api-tokens", ""},
	{del, "/v1/auth/api-tokens/one", ""},
	{post, "/v1/auth/api-tokens/three", `{"organization":"second-owner"}`},
	{get, "/v1/organizations/second-owner/api-tokens", ""},
	{del, "/v1/organizations/second-owner/api-tokens/{token}", ""},
}

// TestOpenAPIAnswers makes every operation answer as it does when all is well:
// the fixture compares each request and answer, here and in the other tests, with
// the document.
func TestOpenAPIAnswers(t *testing.T) {
	f := newFixture(t, withBackup)
	f.exercise(t, nil, nil)
	for path, ops := range f.contract.at("paths").(map[string]any) {
		for method := range asObject(ops) {
			if !f.contract.met[method+" "+path] {
				t.Errorf("%s %s was not asked for", method, path)
			}
		}
	}
}

// exercise makes all the requests of that name: with the tokens that as returns,
// the last of which must be good for it, and the others not; with the owner's if
// as is nil. before is called before each that must be good, if it isn't nil.
func (f *fixture) exercise(t *testing.T, as func(rt *route, path, owner string) []string, before func(rt *route, owner, path, body string)) {
	t.Helper()
	owner := f.token(t, catalog.DefaultUser)
	fill := strings.NewReplacer("{dump}", f.upload(t, owner, "CREATE TABLE t(x);"))
	file, made := "", ""
	for _, c := range exercise {
		c.path = strings.Replace(c.path, "{token}", made, 1)
		body := fill.Replace(c.body)
		if body == "{file}" {
			body = file
		}
		rt, err := f.match(&call{Request: httptest.NewRequestWithContext(t.Context(), c.method, c.path, http.NoBody), api: f.API})
		if err != nil {
			t.Fatal(err)
		}
		tokens := []string{owner}
		if as != nil {
			tokens = as(rt, c.path, owner)
		}
		last := len(tokens) - 1
		for _, token := range tokens[:last] {
			f.want(t, 403, token, c.method, c.path, body)
		}
		if before != nil {
			before(rt, owner, c.path, body)
		}
		a := f.want(t, 200, tokens[last], c.method, c.path, body)
		if strings.Contains(c.path, "/export") {
			file = a.body
		}
		if c.method == post && strings.HasPrefix(c.path, "/v1/auth/api-tokens") {
			made, _ = a.at("id").(string)
		}
	}
}

// TestOpenAPIFails: what the document doesn't have is found.
func TestOpenAPIFails(t *testing.T) {
	f := newFixture(t, nil)
	r := httptest.NewRequestWithContext(t.Context(), get, "/v1/databases/a/instances", http.NoBody)
	for body, ok := range map[string]bool{
		`{"instances":[]}`:              true,
		`{"instances":[],"more":1}`:     false,
		`{"instances":[{"uuid":"x"}]}`:  false,
		`{"instances":null}`:            false,
		`{"error":"of another status"}`: false,
	} {
		w := httptest.NewRecorder()
		writeJSON(w, http.StatusOK, json.RawMessage(body))
		if err := f.contract.conforms(f.API, r, nil, w); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
	w := httptest.NewRecorder()
	writeJSON(w, http.StatusTeapot, object{"error": "x"})
	if f.contract.conforms(f.API, r, nil, w) == nil {
		t.Error("any status will do")
	}
}

// spy keeps what is read of a body.
type spy struct {
	io.ReadCloser
	seen bytes.Buffer
}

func (s *spy) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.seen.Write(p[:n])
	return n, err
}
