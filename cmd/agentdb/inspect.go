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
	"github.com/agentdb/agentdb/platform"
)

// inspectCmd is "agentdb inspect".
type inspectCmd struct {
	remote
	Target string `arg:"" name:"name|url|file" help:"A database: a file, a URL, or its name on the server."`
	Token  string `env:"AGENTDB_TOKEN" help:"Token for a URL (${env})."`
}

// tableView is a table in the output of inspect.
type tableView struct {
	Name    string `json:"name"`
	Rows    int64  `json:"rows"`
	Bytes   int64  `json:"bytes"` // with its indexes
	Indexes int64  `json:"indexes"`
}

// Run implements the command.
func (i *inspectCmd) Run(c *console, r *remote) (err error) {
	ctx, stop := untilSignal()
	defer stop()
	db, closeAll, err := i.open(ctx, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	tables, err := inspect(ctx, db)
	if err != nil {
		return err
	}
	size, err := agentdb.Get[int64](ctx, db, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
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

// open opens a file, or else a replica for the moment.
func (i *inspectCmd) open(ctx context.Context, r *remote) (*agentdb.DB, func() error, error) {
	o := &agentdb.Options{URL: i.Target, AuthToken: i.Token, Sync: agentdb.SyncPull}
	if !isURL(i.Target) {
		if _, err := os.Stat(i.Target); err == nil {
			db, err := agentdb.Open(ctx, i.Target, nil)
			return db, func() error { return db.Close() }, err
		} else if strings.ContainsAny(i.Target, `/\`) {
			return nil, nil, err
		}
		api := r.client().Databases
		d, err := api.Get(ctx, i.Target)
		if err != nil {
			return nil, nil, err
		}
		o.URL = d.URL
		if o.AuthToken, err = api.CreateToken(ctx, d.Name, platform.TokenOptions{Access: platform.AccessRead, Expiration: 10 * time.Minute, Subject: "inspect"}); err != nil {
			return nil, nil, err
		}
	}
	dir, err := os.MkdirTemp("", "agentdb-inspect-")
	if err != nil {
		return nil, nil, err
	}
	db, err := agentdb.Open(ctx, filepath.Join(dir, "replica.db"), o)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	closeAll := func() error { return errors.Join(db.Close(), os.RemoveAll(dir)) }
	if _, err := db.Sync(ctx); err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	return db, closeAll, nil
}

// inspect counts what is in the tables, with the pages that they take. Tables
// that only the sync needs are left out.
func inspect(ctx context.Context, db *agentdb.DB) ([]tableView, error) {
	type object struct {
		Name  string
		Owner string
		Bytes int64
		Type  string
	}
	objects, err := agentdb.All[object](ctx, db, `
		SELECT s.name, s.tbl_name AS owner, s.type AS type,
			coalesce((SELECT sum(pgsize) FROM dbstat WHERE name = s.name AND aggregate = TRUE), 0) AS bytes
		FROM sqlite_schema AS s
		WHERE s.type IN ('table', 'index') AND s.tbl_name NOT LIKE 'sqlite\_%' ESCAPE '\'
			AND s.tbl_name NOT IN ('agentdb_pending', 'agentdb_schema', 'agentdb_sync')
		ORDER BY s.type DESC, s.name`)
	if err != nil {
		return nil, err
	}
	tables := []tableView{}
	byName := map[string]int{}
	for _, o := range objects { // tables come first
		if o.Type == "index" {
			if n, ok := byName[o.Owner]; ok {
				tables[n].Bytes += o.Bytes
				tables[n].Indexes++
			}
			continue
		}
		rows, err := agentdb.Get[int64](ctx, db, `SELECT count(*) FROM "`+strings.ReplaceAll(o.Name, `"`, `""`)+`"`)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
		byName[o.Name] = len(tables)
		tables = append(tables, tableView{Name: o.Name, Rows: rows, Bytes: o.Bytes})
	}
	return tables, nil
}
