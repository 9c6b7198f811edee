package tenant_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/turso"
	"github.com/agentdb/agentdb/internal/wire"
)

const markTable = "turso_sync_last_change_id"

// bytesOf returns the file of a database.
func bytesOf(t *testing.T, m *tenant.Manager, name string) []byte {
	t.Helper()
	size, parts, err := m.Export(t.Context(), name, 0)
	if err != nil {
		t.Fatal(err)
	}
	var file []byte
	for b, err := range parts {
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, b...)
	}
	if int64(len(file)) != size {
		t.Errorf("%d bytes, announced were %d", len(file), size)
	}
	return file
}

// TestMarksAndAgents: what an agent sends doesn't get at the marks either, whatever
// it is that sends it.
func TestMarksAndAgents(t *testing.T) {
	m := newManager(t, tenant.Config{})
	c := &client{m: m, id: wire.ReplicaID{1}}
	if res, err := c.push(t, ddl("CREATE TABLE t(id INTEGER PRIMARY KEY, x)", "CREATE VIRTUAL TABLE f USING fts5(x)")); err != nil || rejected(res) > 0 {
		t.Fatal(err, res)
	}
	s := m.Session("db", tenant.SessionConfig{Write: true, Author: "turso"})
	if err := s.Push(t.Context(), &tenant.TursoPush{Marked: true, Client: "a-secret-client", ChangeID: 1}); err != nil {
		t.Fatal(err)
	}
	fts := &change.Change{Events: []change.Event{{Op: change.OpSQL, Intent: true, Statement: &change.Statement{SQL: "INSERT INTO f SELECT client_id FROM " + markTable}}}}
	for _, body := range [][]byte{
		ddl("CREATE TABLE c AS SELECT * FROM " + markTable),
		ddl("CREATE VIEW v AS SELECT * FROM " + markTable),
		ddl("CREATE VIRTUAL TABLE g USING fts5(client_id, content='"+markTable+"')", "INSERT INTO g(g) VALUES('rebuild')"),
		ddl("CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO f SELECT client_id FROM " + markTable + "; END"),
		ddl("INSERT INTO f SELECT client_id FROM " + markTable),
		ddl("DROP TABLE " + markTable),
		fts.Append(nil, change.ViewIntents),
	} {
		if res, err := c.push(t, body); err == nil && rejected(res) == 0 {
			t.Errorf("%q: %+v", body, res)
		}
	}
	if file := bytesOf(t, m, "db"); bytes.Contains(file, []byte("a-secret-client")) {
		t.Error("a table has the marks")
	}
	if err := s.Push(t.Context(), &tenant.TursoPush{Marked: true, Client: "a-secret-client", ChangeID: 2}); err != nil {
		t.Error(err)
	}
}

// TestLoadWithoutMarks: the marks in a file of Turso's clients are about another
// database.
func TestLoadWithoutMarks(t *testing.T) {
	m := newManager(t, tenant.Config{})
	path := filepath.Join(t.TempDir(), "x.db")
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec("CREATE TABLE t(x); INSERT INTO t VALUES(1);" + turso.StampSchema + "INSERT INTO " + markTable + " VALUES('a-secret-client', 5, 5)"); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Create(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.LoadFile(t.Context(), "db", path, "me"); err != nil {
		t.Fatal(err)
	}
	var names []string
	_, err = m.Session("db", tenant.SessionConfig{}).Run(t.Context(), &tenant.Query{SQL: "SELECT name FROM sqlite_schema"}, taken(func(vals []sqlite.Value) { names = append(names, string(vals[0].B)) }))
	if got := strings.Join(names, " "); err != nil || got != "t agentdb_conflicts" && got != "t" {
		t.Errorf("%s, %v", got, err)
	}
	s := m.Session("db", tenant.SessionConfig{Write: true, Author: "turso"})
	if err := s.Push(t.Context(), &tenant.TursoPush{Marked: true, Client: "a-secret-client", ChangeID: 1, Writes: []tenant.Query{{SQL: `INSERT INTO "t"("x") VALUES (?)`, Args: []sqlite.Value{sqlite.Int(2)}}}}); err != nil {
		t.Error(err)
	}
	n := int64(0)
	if _, err := s.Run(t.Context(), &tenant.Query{SQL: "SELECT count(*) FROM t"}, taken(func(vals []sqlite.Value) { n = vals[0].I })); err != nil || n != 2 {
		t.Errorf("%d rows after a push, %v", n, err)
	}
}

// taken takes rows.
type taken func([]sqlite.Value)

func (taken) Columns([]tenant.Column) error { return nil }

func (f taken) Row(vals []sqlite.Value) error {
	f(vals)
	return nil
}
