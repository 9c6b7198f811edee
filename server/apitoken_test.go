package server

import (
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
