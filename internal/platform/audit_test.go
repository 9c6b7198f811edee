package platform

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/turso"
)

// log returns the audit log of an organisation, the oldest entry first.
func (f *fixture) log(t *testing.T, org string) []catalog.AuditEntry {
	t.Helper()
	all, _, err := f.store.AuditLog(org, 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}

// TestEveryChangeIsAudited: each route of the table that changes something is in
// the audit log with its code, once it was asked for.
func TestEveryChangeIsAudited(t *testing.T) {
	f := newFixture(t, withBackup)
	f.exercise(t, nil, nil)
	entries := f.log(t, catalog.DefaultOrg)
	for i := range 100 { // of the organisation that was deleted
		entries = append(entries, f.log(t, fmt.Sprintf("second#%d", i))...)
	}
	has := map[string]bool{}
	for _, e := range entries {
		has[e.Code] = true
		if e.Author == "" || e.Message == "" || !json.Valid(e.Data) || strings.Contains(string(e.Data), "adb_") {
			t.Errorf("%+v", e)
		}
	}
	for _, rt := range f.routes {
		nothing := strings.HasSuffix(rt.path, "/update") || strings.HasSuffix(rt.path, "/unarchive")
		switch {
		case rt.method == get || nothing:
			if rt.code != "" {
				t.Errorf("%s %s changes nothing, and is audited as %s", rt.method, rt.path, rt.code)
			}
		case rt.code == "" || !has[rt.code]:
			t.Errorf("%s %s is not in the audit log as %q", rt.method, rt.path, rt.code)
		}
	}
}

// TestNoActionWithoutItsEntry: what can't be put into the audit log isn't done,
// whatever it is.
func TestNoActionWithoutItsEntry(t *testing.T) {
	f := newFixture(t, withBackup)
	c, err := sqlite.Open(filepath.Join(filepath.Dir(f.cfg.UploadDir), "catalog.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exec := func(sql string) {
		if err := c.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	tried := 0
	f.exercise(t, nil, func(rt *route, owner, path, body string) {
		if rt.code == "" {
			return
		}
		tried++
		was := f.everything(t, c)
		exec("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END")
		f.want(t, 500, owner, rt.method, path, body)
		exec("DROP TRIGGER full")
		if now := f.everything(t, c); now != was {
			t.Errorf("%s %s was done:\n%s\nwas\n%s", rt.method, path, now, was)
		}
	})
	if tried < 30 {
		t.Errorf("%d requests were tried", tried)
	}
}

// everything is what there is but the audit log: the catalog, the databases with
// their revisions, and the uploads.
func (f *fixture) everything(t *testing.T, c *sqlite.Conn) string {
	t.Helper()
	var b strings.Builder
	for _, table := range []string{"orgs", "members", "invites", "groups", "databases", "api_tokens"} {
		st, err := c.Cached("SELECT * FROM " + table)
		if err != nil {
			t.Fatal(err)
		}
		for more, err := st.Step(); more || err != nil; more, err = st.Step() {
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s:", table)
			for i := range st.ColumnCount() {
				fmt.Fprintf(&b, " %q", st.ColumnText(i))
			}
			b.WriteByte('\n')
		}
		st.Done()
	}
	names, err := f.manager.List(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		facts, err := f.manager.Facts(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, name, facts.Revision)
	}
	uploads, err := os.ReadDir(f.cfg.UploadDir)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, len(uploads), "uploads")
	return b.String()
}

// TestAuditOfFailures: what may have been done before it failed is in the log as
// failed, and a database that was not made after all as taken back.
func TestAuditOfFailures(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, post, "/v1/databases", object{"name": "a"})
	f.want(t, 422, owner, post, "/v1/databases/a/restore", object{"revision": 7})
	f.want(t, 422, owner, post, "/v1/databases", object{"name": "b", "seed": object{"type": "database", "name": "a", "revision": 7}})
	f.want(t, 404, owner, get, "/v1/databases/b", nil)
	f.want(t, 409, owner, post, "/v1/databases", object{"name": "a"})
	f.want(t, 404, owner, del, "/v1/databases/c", nil)
	f.want(t, 200, owner, post, "/v1/databases/a/restore", object{"revision": 0})
	var got []string
	for _, e := range f.log(t, catalog.DefaultOrg)[1:] {
		got = append(got, e.Code+string(e.Data))
	}
	const never = `"error":"the database never had that revision, or keeps it no more"`
	want := []string{
		`db-create{"database":"a"}`,
		`db-restore{"database":"a",` + never + `,"outcome":"failed","restored":7}`,
		`db-create{"database":"b","from":"a","revision":7,"seed":"database"}`,
		`db-create-undone{"database":"b",` + never + `}`,
		`db-restore{"database":"a","restored":0,"revision":0}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAuditOfAGroup: what a group takes with it has an entry each.
func TestAuditOfAGroup(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, post, "/v1/groups", object{"name": "g"})
	for _, name := range []string{"a", "b"} {
		f.want(t, 200, owner, post, "/v1/databases", object{"name": name, "group": "g"})
	}
	f.want(t, 200, owner, del, "/v1/groups/g", nil)
	got := ""
	for _, e := range f.log(t, catalog.DefaultOrg) {
		if strings.HasSuffix(e.Code, "-delete") {
			got += e.Code + string(e.Data)
		}
	}
	got = strings.Replace(got, `db-delete{"database":"b","group":"g"}db-delete{"database":"a","group":"g"}`, `db-delete{"database":"a","group":"g"}db-delete{"database":"b","group":"g"}`, 1)
	if want := `db-delete{"database":"a","group":"g"}db-delete{"database":"b","group":"g"}group-delete{"databases":2,"group":"g"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestAuditOfTokens: an API token is in the log of every organisation of its
// user, of the server's own if there is none, and in nobody else's.
func TestAuditOfTokens(t *testing.T) {
	f := newFixture(t, nil)
	ada, stranger := f.token(t, "ada"), f.token(t, "stranger")
	for org, owner := range map[string]string{"one": "ada", "two": "ada", "three": "bob"} {
		if _, err := f.store.CreateOrg(t.Context(), catalog.Org{Slug: org}, owner); err != nil {
			t.Fatal(err)
		}
	}
	made := f.want(t, 200, ada, post, "/v1/auth/api-tokens/laptop?expiration=7d", nil)
	f.want(t, 200, ada, del, fmt.Sprintf("/v1/auth/api-tokens/%s", made.at("id")), nil)
	f.want(t, 404, ada, del, "/v1/auth/api-tokens/laptop", nil)
	f.want(t, 200, stranger, post, "/v1/auth/api-tokens/lost", nil)
	for org, want := range map[string]string{
		"one":     "api-token-create laptop ada, api-token-revoke laptop ada, ",
		"two":     "api-token-create laptop ada, api-token-revoke laptop ada, ",
		"three":   "",
		"default": "api-token-create lost stranger, ",
	} {
		got := ""
		for _, e := range f.log(t, org) {
			var about struct{ Token, ID string }
			if err := json.Unmarshal(e.Data, &about); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(e.Code, "api-token") {
				got += e.Code + " " + about.Token + " " + e.Author + ", "
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", org, got, want)
		}
	}
}

// TestAuditOfTheServer: what comes into being without a request is in the log,
// once.
func TestAuditOfTheServer(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, del, "/v1/groups/default", nil)
	for range 2 {
		if _, err := f.manager.PullPages(t.Context(), "pulled", true, &turso.PullRequest{}); err != nil {
			t.Fatal(err)
		}
		f.Adopt("pulled")
		f.want(t, 200, owner, get, "/v1/databases/pulled", nil)
	}
	got := ""
	for _, e := range f.log(t, catalog.DefaultOrg) {
		if e.Origin == "server" {
			got += e.Code + string(e.Data)
		}
	}
	if want := `org-create{"organization":"default"}group-create{"group":"default"}db-create{"database":"pulled"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
