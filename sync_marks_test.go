package agentdb_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// pushAsTurso pushes a row as a Turso client does, which leaves its mark.
func pushAsTurso(t *testing.T, srv *agentdbtest.Server, database, client string) {
	t.Helper()
	const again = `"condition":{"type":"not","cond":{"type":"is_autocommit"}},"stmt":{"sql":`
	body := `{"requests":[{"type":"batch","batch":{"steps":[{"stmt":{"sql":"BEGIN IMMEDIATE"}},
		{` + again + `"CREATE TABLE IF NOT EXISTS turso_sync_last_change_id (client_id TEXT PRIMARY KEY, pull_gen INTEGER, change_id INTEGER)"}},
		{` + again + `"INSERT INTO \"tasks\"(\"v\") VALUES (?)","args":[{"type":"text","value":"from turso"}]}},
		{` + again + `"INSERT INTO turso_sync_last_change_id(client_id, pull_gen, change_id) VALUES (?, ?, ?) ON CONFLICT(client_id) DO UPDATE SET pull_gen=excluded.pull_gen, change_id=excluded.change_id",
			"args":[{"type":"text","value":"` + client + `"},{"type":"integer","value":"0"},{"type":"integer","value":"1"}]}},
		{` + again + `"COMMIT"}}]}}]}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL(database)+"/v2/pipeline", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+srv.Token(database, "full"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil || resp.StatusCode != 200 || strings.Contains(text.String(), "error\"") {
		t.Fatalf("%s: %s, %v", resp.Status, &text, err)
	}
}

// TestTursoMarksStayAway: what Turso's clients keep in a database for themselves
// comes to no agent, neither with commits nor with all pages.
func TestTursoMarksStayAway(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	first := agentdbtest.Open(t, srv.Options("a"))
	runSQL(t, first, tasks)
	mustSync(t, first)
	pushAsTurso(t, srv, "a", "a-secret-client")
	mustSync(t, first)
	for _, db := range []*agentdb.DB{first, agentdbtest.Open(t, srv.Options("a"))} {
		mustSync(t, db)
		want(t, db, "SELECT DISTINCT v FROM tasks", "[[from turso]]")
		want(t, db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%turso%' OR sql LIKE '%turso%'", "[[0]]")
		want(t, db, "PRAGMA integrity_check", "[[ok]]")
		runSQL(t, db, "INSERT INTO tasks(v) VALUES('from turso')")
		mustSync(t, db)
		pushAsTurso(t, srv, "a", "another-client")
		mustSync(t, db)
		want(t, db, "PRAGMA integrity_check", "[[ok]]")
	}
}
