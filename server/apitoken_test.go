package server

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
)

// TestAPITokenAudited: what the operator makes in the data directory is in the
// audit log, without its secret.
func TestAPITokenAudited(t *testing.T) {
	dir := t.TempDir()
	token, err := CreateAPIToken(t.Context(), dir, APITokenSpec{Name: "deploy", Organization: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	store, err := catalog.OpenStore(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	log, _, err := store.AuditLog("acme", 1, 10)
	if err != nil || len(log) == 0 {
		t.Fatalf("%+v, %v", log, err)
	}
	e := log[0]
	if e.Code != "api-token-create" || e.Origin != "cli" || !strings.Contains(string(e.Data), `"token":"deploy"`) || strings.Contains(string(e.Data), token) {
		t.Errorf("%+v %s", e, e.Data)
	}
}

// TestTokenAudited: so is a token of a database, with the organisation of that
// database, of all if nobody has the name yet, and before there is any.
func TestTokenAudited(t *testing.T) {
	dir := t.TempDir()
	var tokens []string
	create := func(name string) {
		t.Helper()
		token, err := CreateToken(dir, TokenSpec{Database: name, Access: "read", Tables: []string{"read:tasks"}, Subject: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	create("early")
	store, err := catalog.OpenStore(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.EnsureOrg(t.Context(), "own"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.CreateOrg(t.Context(), catalog.Org{Slug: "other"}, "bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.CreateDatabase(t.Context(), catalog.Database{Name: "bobs", Org: "other", Group: catalog.DefaultGroup}); err != nil {
		t.Fatal(err)
	}
	create("bobs")
	create("nobodys")
	create(catalog.AnyDatabase)
	for org, want := range map[string]string{"own": "early nobodys * ", "other": "bobs nobodys * ", "": ""} {
		log, _, err := store.AuditLog(org, 1, 10)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, e := range slices.Backward(log) {
			var about struct{ Database, Access, Subject, Permissions string }
			if err := json.Unmarshal(e.Data, &about); err != nil {
				t.Fatal(err)
			}
			if e.Code == "db-token-create" {
				got += about.Database + " "
				if e.Origin != "cli" || e.Author != "operator" || about.Access != "read" || about.Subject != "ada" || about.Permissions != "tasks:data_read" {
					t.Errorf("%+v %s", e, e.Data)
				}
			}
			for _, token := range tokens {
				if strings.Contains(string(e.Data), token) {
					t.Errorf("the log has a token: %s", e.Data)
				}
			}
		}
		if got != want {
			t.Errorf("%q has %q, want %q", org, got, want)
		}
	}
}
