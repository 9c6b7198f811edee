package platform_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb/platform"
)

// TestUsage: what agents push and pull, and what SQL clients do, is counted for
// each database and group, and is there after a restart.
func TestUsage(t *testing.T) {
	api, srv := client(t)
	ctx := t.Context()
	must[*platform.Group](t)(api.Groups.Create(ctx, "others", platform.GroupOptions{}))
	d := must[*platform.Database](t)(api.Databases.Create(ctx, "d", platform.CreateOptions{}))
	e := must[*platform.Database](t)(api.Databases.Create(ctx, "e", platform.CreateOptions{Group: "others"}))
	alice := open(t, api, d)
	exec(t, alice, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	sync(t, alice)
	bob := open(t, api, d)
	for range 10 {
		exec(t, alice, "INSERT INTO t(v) VALUES ('x')")
	}
	sync(t, alice)
	written := must[platform.Usage](t)(api.Databases.Usage(ctx, "d"))
	if written.RowsWritten < 10 || written.RowsWritten > 15 || written.BytesSynced == 0 {
		t.Errorf("after ten rows: %+v", written)
	}
	sync(t, bob)
	read := must[platform.Usage](t)(api.Databases.Usage(ctx, "d"))
	if n := read.RowsRead - written.RowsRead; n != 10 || read.RowsWritten != written.RowsWritten || read.BytesSynced <= written.BytesSynced {
		t.Errorf("a pull of ten rows read %d: %+v after %+v", n, read, written)
	}
	if u := must[platform.Usage](t)(api.Databases.Usage(ctx, "e")); u.RowsWritten+u.RowsRead+u.BytesSynced != 0 {
		t.Errorf("a database that nobody used: %+v", u)
	}
	exec(t, open(t, api, e), "CREATE TABLE t(v)")
	if q := must[[]platform.Query](t)(api.Databases.TopQueries(ctx, "d")); len(q) != 0 {
		t.Errorf("without SQL clients: %+v", q)
	}
	srv.Stop()
	srv.Start()
	if u := must[platform.Usage](t)(api.Databases.Usage(ctx, "d")); u != read {
		t.Errorf("after a restart: %+v, before %+v", u, read)
	}
	other := open(t, api, e)
	exec(t, other, "CREATE TABLE t(v)")
	exec(t, other, "INSERT INTO t VALUES (1), (2), (3)")
	sync(t, other)
	if err := api.Databases.Delete(ctx, "e"); err != nil {
		t.Fatal(err)
	}
	others := must[platform.Usage](t)(api.Groups.Usage(ctx, "others"))
	if others.RowsWritten < 3 || others.StorageBytes != 0 {
		t.Errorf("the group of a deleted database: %+v", others)
	}
	all := must[platform.Usage](t)(api.Organizations.Usage(ctx))
	if all.RowsWritten != read.RowsWritten+others.RowsWritten || all.RowsRead != read.RowsRead+others.RowsRead {
		t.Errorf("all: %+v, of the group %+v, and %+v", all, others, read)
	}
	now := time.Now()
	if u := must[platform.Usage](t)(api.Databases.UsageBetween(ctx, "d", now.AddDate(0, 0, -7), now.AddDate(0, 0, -2))); u.RowsWritten != 0 {
		t.Errorf("in the week before: %+v", u)
	}
	if u := must[platform.Usage](t)(api.Databases.UsageBetween(ctx, "d", now.AddDate(0, 0, -1), now)); u != read {
		t.Errorf("since yesterday: %+v, want %+v", u, read)
	}
	if _, err := api.Databases.UsageBetween(ctx, "d", now, now.AddDate(0, 0, -1)); err == nil {
		t.Error("a time that ends before it begins")
	}
}

// TestTopQueries: what SQL over HTTP costs is told by statement, without values.
func TestTopQueries(t *testing.T) {
	api, _ := client(t)
	ctx := t.Context()
	d := must[*platform.Database](t)(api.Databases.Create(ctx, "d", platform.CreateOptions{}))
	token := must[string](t)(api.Databases.CreateToken(ctx, "d", platform.TokenOptions{}))
	for _, sql := range []string{"CREATE TABLE t(v)", "INSERT INTO t VALUES (1), (2), (3)", "SELECT * FROM t WHERE v > 1", "SELECT * FROM t WHERE v > 7"} {
		body := strings.NewReader(fmt.Sprintf(`{"requests":[{"type":"execute","stmt":{"sql":%q}}]}`, sql))
		req := must[*http.Request](t)(http.NewRequestWithContext(ctx, http.MethodPost, d.URL+"/v2/pipeline", body))
		req.Header.Set("Authorization", "Bearer "+token)
		res := must[*http.Response](t)(http.DefaultClient.Do(req))
		if res.Body.Close(); res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", sql, res.Status)
		}
	}
	got := must[[]platform.Query](t)(api.Databases.TopQueries(ctx, "d"))
	want := []platform.Query{{SQL: "SELECT * FROM t WHERE v > ?", Runs: 2, RowsRead: 6}, {SQL: "INSERT INTO t VALUES(?)", Runs: 1, RowsWritten: 3}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
