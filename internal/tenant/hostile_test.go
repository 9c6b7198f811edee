package tenant_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// newManager returns a Manager on a store of its own.
func newManager(t *testing.T, cfg tenant.Config) *tenant.Manager {
	t.Helper()
	store, err := history.Open(history.Options{Dir: filepath.Join(t.TempDir(), "history")})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store, cfg.CacheDir = store, filepath.Join(t.TempDir(), "cache")
	m, err := tenant.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(m.Close(t.Context()), store.Close()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return m
}

// ddl is a change of schema changes, as any client may send them.
func ddl(stmts ...string) []byte {
	c := &change.Change{}
	for _, sql := range stmts {
		name := ""
		if words := strings.Fields(sql); len(words) > 2 {
			name, _, _ = strings.Cut(words[2], "(")
		}
		c.Events = append(c.Events, change.Event{Op: change.OpDDL, Intent: true, Kind: change.DDLOther, Statement: &change.Statement{Name: name, SQL: sql}})
	}
	return c.Append(nil, change.ViewIntents)
}

// client pushes changes under one replica id.
type client struct {
	m     *tenant.Manager
	id    wire.ReplicaID
	last  uint64
	chain uint64
}

func (c *client) push(t *testing.T, bodies ...[]byte) (*wire.Response, error) {
	t.Helper()
	req := &wire.Request{Replica: c.id, First: c.last + 1, Chain: c.chain}
	for i, b := range bodies {
		req.Changes = append(req.Changes, wire.Change{Nonce: c.last + uint64(i) + 77, Body: b})
	}
	ans, err := c.m.Sync(t.Context(), "db", tenant.AccessFull, true, req)
	if err != nil {
		return nil, err
	}
	c.last, c.chain = ans.Response.Last, ans.Response.LastChain
	return ans.Response, nil
}

func rejected(r *wire.Response) int {
	n := 0
	for _, res := range r.Results {
		for _, op := range res.Ops {
			if op.Code == wire.OpRejected {
				n++
			}
		}
	}
	return n
}

const endless = "AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c WHERE x<0"

// TestEndlessStatements sends statements that never end: each is refused when
// its time is up, a few of them don't block what comes with them, and no number
// of them blocks the database.
func TestEndlessStatements(t *testing.T) {
	m := newManager(t, tenant.Config{StatementTimeout: 100 * time.Millisecond})
	c := &client{m: m, id: wire.ReplicaID{1}}
	start := time.Now()
	res, err := c.push(t, ddl("CREATE TABLE a "+endless, "CREATE TABLE b(x)"))
	if err != nil || rejected(res) != 1 {
		t.Fatalf("one: %+v, %v", res, err)
	}
	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprintf("CREATE TABLE m%d %s", i, endless))
	}
	if _, err := c.push(t, ddl(many...)); !errors.Is(err, tenant.ErrTimeout) {
		t.Fatalf("many: %v", err)
	}
	if res, err = c.push(t, ddl("CREATE TABLE d(x)")); err != nil || rejected(res) != 0 {
		t.Fatalf("afterwards: %+v, %v", res, err)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
}

// TestGreedyStatements sends statements that write without bounds.
func TestGreedyStatements(t *testing.T) {
	m := newManager(t, tenant.Config{MaxEffects: 1 << 20})
	c := &client{m: m, id: wire.ReplicaID{1}}
	const rows = "AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT %d) SELECT x, zeroblob(1000) AS b FROM c"
	res, err := c.push(t, ddl("CREATE TABLE a "+fmt.Sprintf(rows, 20000), "CREATE TABLE b "+fmt.Sprintf(rows, 10), "CREATE TABLE big AS SELECT zeroblob(1000000000) AS b"))
	if err != nil || rejected(res) != 2 {
		t.Fatalf("too much: %+v, %v", res, err)
	}
	if res, err = c.push(t, ddl("CREATE TABLE d(x)")); err != nil || rejected(res) != 0 {
		t.Fatalf("afterwards: %+v, %v", res, err)
	}
}

// TestHostileSQL sends SQL that reaches for more than its database.
func TestHostileSQL(t *testing.T) {
	m := newManager(t, tenant.Config{})
	c := &client{m: m, id: wire.ReplicaID{1}}
	if _, err := c.push(t, ddl("CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "CREATE VIRTUAL TABLE f USING fts5(v)")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "other.db")
	for _, sql := range []string{
		"ATTACH '" + file + "' AS o",
		"VACUUM INTO '" + file + "'",
		"VACUUM",
		"PRAGMA writable_schema=ON",
		"PRAGMA foreign_keys=OFF",
		"PRAGMA journal_mode=DELETE",
		"BEGIN",
		"COMMIT",
		"ROLLBACK",
		"SAVEPOINT agentdb_change",
		"RELEASE agentdb_change",
		"DELETE FROM t",
		"CREATE TABLE x(a); CREATE TABLE y(a)",
		"CREATE TABLE agentdb_sync(a)",
		"CREATE VIEW agentdb_v AS SELECT 1",
		"DROP TABLE agentdb_conflicts",
		"ALTER TABLE agentdb_conflicts RENAME TO c",
		"ALTER TABLE t RENAME TO agentdb_pending",
		"CREATE TRIGGER x BEFORE INSERT ON agentdb_conflicts BEGIN SELECT RAISE(IGNORE); END",
		"CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM agentdb_pending; END",
		"CREATE UNIQUE INDEX x ON agentdb_conflicts(kind)",
		"CREATE TEMP TABLE x(a)",
		"CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
		"CREATE TABLE x AS SELECT load_extension('" + file + "')",
		"CREATE VIRTUAL TABLE x USING sqlite_dbpage",
		"CREATE TABLE sqlite_x(a)",
		"",
		"--",
	} {
		res, err := c.push(t, ddl(sql))
		if err != nil {
			t.Errorf("%s: %v", sql, err)
		} else if rejected(res) != 1 {
			t.Errorf("%s: not refused: %+v", sql, res)
		}
	}
	row := func(table string) []byte {
		ev := change.Event{Op: change.OpInsert, Intent: true, Table: &change.Table{Name: table, IPK: "id"}, RowID: 1, NewRowID: 1}
		ch := &change.Change{Events: []change.Event{ev}}
		return ch.Append(nil, change.ViewIntents)
	}
	for _, table := range []string{"sqlite_sequence", "sqlite_schema", "sqlite_master", "sqlite_dbpage", "f_data", "f_content", "agentdb_sync", "pragma_user_version", "main.t", "nowhere"} {
		if res, err := c.push(t, row(table)); err != nil || rejected(res) != 1 {
			t.Errorf("a row of %s: %+v, %v", table, res, err)
		}
	}
	for _, sql := range []string{
		"INSERT INTO sqlite_dbpage(pgno,data) VALUES(1,zeroblob(4096))",
		"UPDATE sqlite_schema SET sql=''",
		"DELETE FROM t",
		"PRAGMA user_version=7",
		"SELECT 1",
		"ATTACH '" + file + "' AS o",
	} {
		ch := &change.Change{Events: []change.Event{{Op: change.OpSQL, Intent: true, Statement: &change.Statement{SQL: sql}}}}
		if res, err := c.push(t, ch.Append(nil, change.ViewIntents)); err != nil || rejected(res) != 1 {
			t.Errorf("%s: %+v, %v", sql, res, err)
		}
	}
	if res, err := c.push(t, ddl("CREATE TABLE last(x)")); err != nil || rejected(res) != 0 {
		t.Errorf("afterwards: %+v, %v", res, err)
	}
}
