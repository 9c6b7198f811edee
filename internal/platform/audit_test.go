package platform

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
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
	f.exercise(t, nil)
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
