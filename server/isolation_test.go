package server_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/server"
)

// estate is databases of two organizations with a canary in each, and
// credentials of every kind, with the databases that each may read.
type estate struct {
	s     *sqlServer
	t     *testing.T
	names []string
	creds map[string]credential // by what they are
}

type credential struct {
	token string
	opens map[string]bool
}

// api calls the Platform API and returns a text of the answer.
func (e *estate) api(token, method, path, body, field string) string {
	e.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	e.s.srv.ServeHTTP(w, r)
	var ans map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &ans); err != nil || w.Code != http.StatusOK {
		e.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	text, _ := ans[field].(string)
	return text
}

func (e *estate) add(what, token string, opens ...string) {
	c := credential{token, map[string]bool{}}
	for _, db := range opens {
		c.opens[db] = true
	}
	e.creds[what] = c
}

func newEstate(t *testing.T) *estate {
	e := &estate{s: newSQL(t, server.Config{Domain: "db.test"}), t: t, creds: map[string]credential{}}
	users := map[string]string{}
	for _, user := range []string{"admin", "other"} {
		token, err := server.CreateAPIToken(t.Context(), e.s.dir, server.APITokenSpec{Name: "test", Username: user})
		if err != nil {
			t.Fatal(err)
		}
		users[user] = token
	}
	e.api(users["other"], "POST", "/v1/organizations", `{"name":"other"}`, "")
	owned := map[string][]string{}
	for org, user := range map[string]string{"default": "admin", "other": "other"} {
		prefix := "/v1/organizations/" + org
		e.api(users[user], "POST", prefix+"/groups", `{"name":"second"}`, "")
		for _, group := range []string{"default", "second"} {
			var inGroup []string
			for i := range 2 {
				name := fmt.Sprintf("%s-%s-%d", org, group, i)
				e.api(users[user], "POST", prefix+"/databases", fmt.Sprintf(`{"name":%q,"group":%q}`, name, group), "")
				token := e.api(users[user], "POST", prefix+"/databases/"+name+"/auth/tokens", "", "jwt")
				body := fmt.Sprintf(`{"requests":[{"type":"sequence","sql":"CREATE TABLE t(x); INSERT INTO t VALUES ('%s')"}]}`, canary(name))
				if status, text := e.s.post("/db/"+name+"/v2/pipeline", token, body); status != 200 || strings.Contains(text, "error") {
					t.Fatal(status, text)
				}
				if i == 0 { // voided, and made again
					e.api(users[user], "POST", prefix+"/databases/"+name+"/auth/rotate", "", "")
					e.add("void for "+name, token)
					token = e.api(users[user], "POST", prefix+"/databases/"+name+"/auth/tokens?authorization=read-only", "", "jwt")
				}
				e.add("for "+name, token, name)
				inGroup = append(inGroup, name)
			}
			old := e.api(users[user], "POST", prefix+"/groups/"+group+"/auth/tokens", "", "jwt")
			e.add("for group "+org+"/"+group, old, inGroup...)
			owned[user] = append(owned[user], inGroup...)
			e.names = append(e.names, inGroup...)
		}
		e.add("API token of "+user, users[user], owned[user]...)
	}
	all, err := server.CreateToken(e.s.dir, server.TokenSpec{Database: "*", Access: "read"})
	if err != nil {
		t.Fatal(err)
	}
	e.add("for all", all, e.names...)
	e.add("none", "")
	e.add("noise", "eyJhbGciOiJub25lIn0.e30.")
	return e
}

// oddly spells a name as an attacker might.
func oddly(rng *rand.Rand, name, other string) string {
	forms := []string{
		name, name, name, name, strings.ToUpper(name), name + ".", "." + name, name + "%00", name + "/../" + other, "../" + name, "%2e%2e/" + name,
		name + "%2f..%2f" + other, name + ";" + other, name + "," + other, name + " ", "*", "", other + "@" + name, name + "--second--other", name + "-other",
	}
	return forms[rng.IntN(len(forms))]
}

// TestIsolation: whatever credential meets whatever host, path, namespace and
// endpoint, nobody sees a canary that is not theirs.
func TestIsolation(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	e := newEstate(t)
	pick := func() string { return e.names[rng.IntN(len(e.names))] }
	var kinds, paths []string
	for what := range e.creds {
		kinds = append(kinds, what)
	}
	for path := range readers {
		paths = append(paths, path)
	}
	seen, rounds := map[string]bool{}, 20_000
	if testing.Short() {
		rounds = 4000
	}
	for i := 0; i < 20*rounds; i++ {
		what, path := kinds[rng.IntN(len(kinds))], paths[rng.IntN(len(paths))]
		if i >= rounds { // each must open what it may, or the test shows nothing
			if kinds = slices.DeleteFunc(kinds, func(k string) bool { return seen[k] || len(e.creds[k].opens) == 0 }); len(kinds) == 0 {
				break
			}
			what = kinds[rng.IntN(len(kinds))]
		}
		cred, r := e.creds[what], readers[path]()
		switch rng.IntN(4) {
		case 0:
			path = "/db/" + oddly(rng, pick(), pick()) + path
		case 1:
			path = "/v1/databases/" + oddly(rng, pick(), pick()) + "/export"
		case 2:
			path = "/v1/organizations/" + []string{"default", "other", "", "*", ".."}[rng.IntN(5)] + "/databases/" + oddly(rng, pick(), pick()) + "/export"
		}
		if strings.HasPrefix(path, "/v1/") {
			r = getSQL()
		}
		u, err := url.Parse("http://db.test" + strings.ReplaceAll(path, " ", "%20"))
		if err != nil {
			continue // no client sends it
		}
		r.URL.Path, r.URL.RawPath = u.Path, u.RawPath
		r.Host = "db.test"
		if rng.IntN(2) == 0 {
			r.Host = oddly(rng, pick(), pick()) + ".db.test"
		}
		if rng.IntN(3) == 0 {
			r.Header.Set("X-Namespace", oddly(rng, pick(), pick()))
		}
		if cred.token != "" {
			r.Header.Set("Authorization", "Bearer "+cred.token)
		}
		w := httptest.NewRecorder()
		e.s.srv.ServeHTTP(w, r)
		body := w.Body.String()
		for _, name := range e.names {
			if !strings.Contains(body, canary(name)) {
				continue
			}
			if !cred.opens[name] {
				t.Errorf("the credential %q sees %s: %s of host %q, namespace %q", what, name, path, r.Host, r.Header.Get("X-Namespace"))
			}
			seen[what] = true
		}
	}
	for what, cred := range e.creds {
		if len(cred.opens) > 0 && !seen[what] {
			t.Errorf("the credential %q has opened nothing", what)
		}
	}
}
