package platform_test

import (
	"errors"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
	"github.com/agentdb/agentdb/platform"
)

// TestScopeOfSync: an agent with a token for some tables sends changes of these,
// and nothing else, and gets no database.
func TestScopeOfSync(t *testing.T) {
	api, _ := client(t)
	ctx := t.Context()
	d := must[*platform.Database](t)(api.Databases.Create(ctx, "d", platform.CreateOptions{}))
	full := open(t, api, d)
	for _, sql := range []string{
		"CREATE TABLE results(id INTEGER PRIMARY KEY, v)", "CREATE TABLE facts(name TEXT PRIMARY KEY, v)",
		"CREATE TABLE secret(v)", "CREATE TABLE log(v)",
		"CREATE TRIGGER tr AFTER INSERT ON results BEGIN INSERT INTO log VALUES (new.v); END",
		"INSERT INTO secret VALUES ('secret')", "INSERT INTO facts VALUES ('sky', 'blue')",
	} {
		exec(t, full, sql)
	}
	sync(t, full)
	// with opens a file with the schema, and a token for these tables.
	with := func(mode agentdb.SyncMode, access platform.Access, tables ...string) *agentdb.DB {
		t.Helper()
		token := must[string](t)(api.Databases.CreateToken(ctx, "d", platform.TokenOptions{Access: access, Tables: tables}))
		return agentdbtest.Open(t, &agentdb.Options{URL: d.URL, AuthToken: token, Sync: mode})
	}
	refused := func(what string, db *agentdb.DB) {
		t.Helper()
		if _, err := db.Sync(ctx); !errors.Is(err, agentdb.ErrUnauthorized) {
			t.Errorf("%s: %v", what, err)
		}
	}
	count := func(table string, want int) {
		t.Helper()
		sync(t, full)
		if n := must[int](t)(agentdb.Get[int](ctx, full, "SELECT count(*) FROM "+table)); n != want {
			t.Errorf("%s has %d rows, want %d", table, n, want)
		}
	}
	refused("a pull", with(agentdb.SyncFull, platform.AccessFull, "read:results", "push:results"))
	refused("a pull with access pull", with(agentdb.SyncPull, platform.AccessPull, "read:results"))
	sync(t, with(agentdb.SyncPull, platform.AccessPull, "all:data_read"))

	a := with(agentdb.SyncPush, platform.AccessPush, "push:results")
	exec(t, a, "CREATE TABLE mine(id INTEGER PRIMARY KEY, v)")
	refused("a schema change", a)

	// Tables that are there already may be created at an agent.
	agent := func(tables ...string) *agentdb.DB {
		t.Helper()
		db := with(agentdb.SyncPush, platform.AccessPush, tables...)
		for _, sql := range []string{"CREATE TABLE results(id INTEGER PRIMARY KEY, v)", "CREATE TABLE facts(name TEXT PRIMARY KEY, v)", "CREATE TABLE secret(v)"} {
			exec(t, db, sql)
		}
		return db
	}
	push := func(db *agentdb.DB) error {
		_, err := db.Push(ctx)
		return err
	}
	b := agent("push:results")
	exec(t, b, "INSERT INTO results(v) VALUES (1)")
	if err := push(b); err != nil {
		t.Error(err)
	}
	count("results", 1)
	count("log", 1) // by the trigger
	exec(t, b, "INSERT INTO secret VALUES (2)")
	if err := push(b); !errors.Is(err, agentdb.ErrUnauthorized) {
		t.Errorf("a row of another table: %v", err)
	}
	count("secret", 1)
	c := agent("push:results")
	exec(t, c, "INSERT INTO results(v) VALUES (2)")
	exec(t, c, "UPDATE results SET v = 3")
	if err := push(c); !errors.Is(err, agentdb.ErrUnauthorized) {
		t.Errorf("an update without the permission to read: %v", err)
	}
	e := agent("read:results", "push:results")
	exec(t, e, "INSERT INTO results(v) VALUES (2)")
	exec(t, e, "UPDATE results SET v = 3")
	if err := push(e); err != nil {
		t.Error(err)
	}
	// A row with a key that is there already is merged into it: an update.
	g := agent("facts:data_add")
	exec(t, full, "INSERT INTO facts VALUES ('grass', 'green')")
	sync(t, full)
	exec(t, g, "INSERT INTO facts VALUES ('grass', 'red')")
	if err := push(g); !errors.Is(err, agentdb.ErrUnauthorized) {
		t.Errorf("a row over another one: %v", err)
	}
	sync(t, full)
	if n := must[string](t)(agentdb.Get[string](ctx, full, "SELECT v FROM facts WHERE name = 'grass'")); n != "green" {
		t.Errorf("grass is %s", n)
	}
}
