package platform

import (
	"testing"

	"github.com/agentdb/agentdb/internal/catalog"
)

// TestPermissions: a token that is asked for with permissions, as Turso's command
// line does, has these and no more.
func TestPermissions(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	f.want(t, 200, owner, post, "/v1/databases", map[string]any{"name": "a"})
	v, err := f.key.Verifier(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/databases/a/auth/tokens", "/v1/groups/default/auth/tokens"} {
		for body, want := range map[string]string{
			`{}`:                                "",
			`{"fine_grained_permissions":null}`: "",
			`{"fine_grained_permissions":[{"t":["Tasks","x"],"a":["data_read"]},{"t":["tasks"],"a":["data_add"]}]}`: "tasks:data_read,data_add\nx:data_read",
			`{"fine_grained_permissions":[{"t":null,"a":["data_read","data_delete"]}]}`:                             "all:data_read,data_delete",
		} {
			a := f.want(t, 200, owner, post, path, body)
			c, err := v.Verify(catalog.Token(a.at("jwt").(string)))
			if err != nil || c.Tables != want || c.Access != catalog.AccessFull {
				t.Errorf("%s %s: %q, %v, want %q", path, body, c.Tables, err, want)
			}
		}
		f.want(t, 422, owner, post, path, `{"fine_grained_permissions":[{"t":["x"],"a":["schema_add"]}]}`)
		f.want(t, 422, owner, post, path, `{"fine_grained_permissions":[{"t":["x"],"a":[]}]}`)
		f.want(t, 400, owner, post, path, `{"fine_grained_permissions":"x"}`)
	}
}
