package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/platform"
)

// inspectCmd is "agentdb inspect".
type inspectCmd struct {
	remote
	Target string `arg:"" name:"name|url|file" help:"A database: a file, a URL, or its name on the server."`
	Token  string `env:"AGENTDB_TOKEN" help:"Token for a URL (${env})."`

	Queries bool `help:"Show instead the statements that read and wrote most rows, of a database on the server."`
}

// tableView is a table in the output of inspect.
type tableView struct {
	Name    string `json:"name"`
	Rows    int64  `json:"rows"`
	Bytes   int64  `json:"bytes"` // with its indexes
	Indexes int64  `json:"indexes"`
}

// Run implements the command.
func (i *inspectCmd) Run(c *console, r *remote) error {
	ctx, stop := untilSignal()
	defer stop()
	if i.Queries {
		return i.queries(ctx, c, r)
	}
	path := i.Target
	if _, err := os.Stat(path); err != nil {
		if !isURL(path) && strings.ContainsAny(path, `/\`) {
			return err
		}
		dir, err := os.MkdirTemp("", "agentdb-inspect-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "replica.db")
		if err := i.fetch(ctx, r, path); err != nil {
			return err
		}
	}
	tables, size, err := inspect(ctx, path)
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(map[string]any{"bytes": size, "tables": tables})
	}
	rows := [][]string{}
	for _, t := range tables {
		rows = append(rows, []string{t.Name, strconv.FormatInt(t.Rows, 10), strconv.FormatInt(t.Indexes, 10), showSize(t.Bytes)})
	}
	if err := c.writeTable([]string{"TABLE", "ROWS", "INDEXES", "SIZE"}, rows); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s in all\n", showSize(size))
	return err
}

// queries shows the statements that cost a database most.
func (i *inspectCmd) queries(ctx context.Context, c *console, r *remote) error {
	all, err := r.client().Databases.TopQueries(ctx, i.Target)
	switch {
	case err != nil:
		return err
	case r.JSON:
		return c.writeJSON(all)
	}
	rows := [][]string{}
	for _, q := range all {
		rows = append(rows, []string{strconv.FormatInt(q.Runs, 10), strconv.FormatInt(q.RowsRead, 10), strconv.FormatInt(q.RowsWritten, 10), q.SQL})
	}
	return c.writeTable([]string{"RUNS", "ROWS READ", "ROWS WRITTEN", "STATEMENT"}, rows)
}

// fetch makes a replica of a URL, or of a name on the server.
func (i *inspectCmd) fetch(ctx context.Context, r *remote, path string) (err error) {
	o := &agentdb.Options{URL: i.Target, AuthToken: i.Token, Sync: agentdb.SyncPull}
	if !isURL(i.Target) {
		api := r.client().Databases
		d, err := api.Get(ctx, i.Target)
		if err != nil {
			return err
		}
		o.URL = d.URL
		o.AuthToken, err = api.CreateToken(ctx, d.Name, platform.TokenOptions{Access: platform.AccessRead, Expiration: 10 * time.Minute, Subject: "inspect"})
		if err != nil {
			return err
		}
	}
	db, err := agentdb.Open(ctx, path, o)
	if err != nil {
		return err
	}
	_, err = db.Sync(ctx)
	return errors.Join(err, db.Close())
}

// inspect counts what is in the tables of a file, which it only reads, with the
// pages that they take. Tables that only the sync needs are left out.
func inspect(ctx context.Context, path string) (tables []tableView, size int64, err error) {
	c, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		return nil, 0, err
	}
	stop := context.AfterFunc(ctx, c.Interrupt)
	defer func() {
		stop()
		err = errors.Join(err, c.Close())
	}()
	if size, err = c.QueryInt("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"); err != nil {
		return nil, 0, err
	}
	st, _, err := c.Prepare(`
		WITH objects AS MATERIALIZED (
			SELECT name, type, tbl_name AS owner,
				coalesce((SELECT pgsize FROM dbstat WHERE dbstat.name = s.name AND aggregate = TRUE), 0) AS bytes
			FROM sqlite_schema AS s)
		SELECT t.name, t.bytes + coalesce(sum(i.bytes), 0), count(i.name)
		FROM objects AS t LEFT JOIN objects AS i ON i.type = 'index' AND i.owner = t.name
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\'
			AND t.name NOT IN ('agentdb_pending', 'agentdb_schema', 'agentdb_sync', 'turso_sync_last_change_id')
		GROUP BY t.name ORDER BY t.name`)
	if err != nil {
		return nil, 0, err
	}
	defer st.Finalize()
	tables = []tableView{}
	for {
		more, err := st.Step()
		if err != nil || !more {
			return tables, size, err
		}
		t := tableView{Name: st.ColumnText(0), Bytes: st.ColumnInt64(1), Indexes: st.ColumnInt64(2)}
		if t.Rows, err = c.QueryInt(`SELECT count(*) FROM "` + strings.ReplaceAll(t.Name, `"`, `""`) + `"`); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", t.Name, err)
		}
		tables = append(tables, t)
	}
}
