package agentdb_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
)

// sqlClient sends SQL over HTTP.
type sqlClient struct {
	t     *testing.T
	url   string
	token string
}

// exec runs statements on a stream of their own, and fails the test if one of
// them does.
func (c *sqlClient) exec(statements ...string) {
	c.t.Helper()
	if body := c.send(statements...); strings.Contains(body, `{"type":"error"`) {
		c.t.Errorf("%s: %s", statements, body)
	}
}

func (c *sqlClient) send(statements ...string) string {
	var reqs []string
	for _, sql := range statements {
		b, err := json.Marshal(map[string]any{"type": "execute", "stmt": map[string]any{"sql": sql}})
		if err != nil {
			c.t.Error(err)
		}
		reqs = append(reqs, string(b))
	}
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+"/v2/pipeline",
		bytes.NewReader([]byte(`{"requests":[`+strings.Join(reqs, ",")+`]}`)))
	if err != nil {
		c.t.Error(err)
		return ""
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
	return string(body)
}

// query returns the rows of a query as text.
func (c *sqlClient) query(sql string) string {
	c.t.Helper()
	var a struct {
		Results []struct {
			Response struct {
				Result struct{ Rows [][]struct{ Value any } }
			}
		}
	}
	if err := json.Unmarshal([]byte(c.send(sql)), &a); err != nil {
		c.t.Error(err)
		return ""
	}
	var rows []string
	for _, row := range a.Results[0].Response.Result.Rows {
		var vals []string
		for _, v := range row {
			vals = append(vals, fmt.Sprint(v.Value))
		}
		rows = append(rows, strings.Join(vals, ","))
	}
	return strings.Join(rows, "|")
}

// TestSyncSQLClients lets agents and SQL clients write to one database: triggers
// fire once, ids of agents give way, and every file becomes the server's.
func TestSyncSQLClients(t *testing.T) {
	ctx := t.Context()
	srv := agentdbtest.NewServer(t)
	sql := &sqlClient{t, srv.URL("tasks"), srv.Token("tasks", "full")}
	a := agentdbtest.Open(t, srv.Options("tasks"))
	b := agentdbtest.Open(t, srv.Options("tasks"))
	sync := func(dbs ...*agentdb.DB) {
		t.Helper()
		for _, db := range dbs {
			if _, err := db.Sync(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	sync(a) // empty
	sql.exec(
		"CREATE TABLE tasks(id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT, n INT DEFAULT 0)",
		"CREATE TABLE log(id INTEGER PRIMARY KEY, what)",
		"CREATE VIRTUAL TABLE notes USING fts5(body)",
		"CREATE TRIGGER tr AFTER INSERT ON tasks BEGIN INSERT INTO log(what) VALUES(new.text); END",
		"INSERT INTO tasks(text) VALUES('sql 1'), ('sql 2')",
		"INSERT INTO notes VALUES('the quick brown fox')")
	sync(a, b)
	for _, db := range []*agentdb.DB{a, b} {
		if _, err := db.Exec(ctx, "INSERT INTO tasks(text) VALUES('agent')"); err != nil {
			t.Fatal(err)
		}
	}
	sql.exec("BEGIN", "INSERT INTO tasks(text) VALUES('sql 3')", "SAVEPOINT s", "DELETE FROM tasks", "ROLLBACK TO s", "UPDATE tasks SET n = 1 WHERE id = 1", "COMMIT",
		"BEGIN", "INSERT INTO tasks(text) VALUES('rolled back')", "ROLLBACK",
		"ALTER TABLE tasks ADD COLUMN extra TEXT DEFAULT 'x'", "UPDATE notes SET body = 'a lazy dog'",
		"PRAGMA user_version = 3", "ANALYZE")
	sync(a, b, a)
	const all = "SELECT group_concat(id||':'||text||':'||n||':'||extra, ' ') FROM (SELECT * FROM tasks ORDER BY id)"
	want := sql.query(all)
	if want != "1:sql 1:1:x 2:sql 2:0:x 3:sql 3:0:x 4:agent:0:x 5:agent:0:x" {
		t.Errorf("the server has %s", want)
	}
	for _, q := range []string{all, "SELECT count(*)||'' FROM log", "SELECT group_concat(body) FROM notes WHERE notes MATCH 'lazy'"} {
		want := sql.query(q)
		for _, db := range []*agentdb.DB{a, b} {
			if got, err := agentdb.Get[string](ctx, db, q); err != nil || got != want {
				t.Errorf("%s: %q, %v; the server has %q", q, got, err, want)
			}
		}
	}
	late := agentdbtest.Open(t, srv.Options("tasks"))
	sync(late)
	if got, err := agentdb.Get[string](ctx, late, all); err != nil || got != want {
		t.Errorf("a new file has %q, %v", got, err)
	}
}

// TestSyncBesideSQLTransactions counts with SQL clients and agents at once.
func TestSyncBesideSQLTransactions(t *testing.T) {
	ctx := t.Context()
	srv := agentdbtest.NewServer(t)
	sql := &sqlClient{t, srv.URL("n"), srv.Token("n", "full")}
	sql.exec("CREATE TABLE n(id INTEGER PRIMARY KEY, who TEXT)")
	const each = 20
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for range each {
				sql.exec("BEGIN", fmt.Sprintf("INSERT INTO n(who) VALUES('sql %d')", i), "COMMIT", fmt.Sprintf("INSERT INTO n(who) VALUES('sql %d')", i))
			}
		})
		wg.Go(func() {
			db := agentdbtest.Open(t, srv.Options("n"))
			for range each {
				if _, err := db.Sync(ctx); err != nil {
					t.Error(err)
				}
				if _, err := db.Exec(ctx, "INSERT INTO n(who) VALUES(?)", fmt.Sprint("agent ", i)); err != nil {
					t.Error(err)
				}
			}
			if _, err := db.Sync(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := sql.query("SELECT group_concat(who||' '||n, ', ') FROM (SELECT who, count(*) n FROM n GROUP BY who ORDER BY who)"); got !=
		"agent 0 20, agent 1 20, agent 2 20, sql 0 40, sql 1 40, sql 2 40" {
		t.Error(got)
	}
}
