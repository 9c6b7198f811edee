package shell

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// object is an entry of the schema.
type object struct {
	kind  string // table, virtual, index, trigger, view
	name  string
	table string
	sql   string
}

// dump writes the database, or one table, as SQL that makes it anew. Indexes,
// triggers and views come last, so that the rows don't fire or fail on them.
func (s *Shell) dump(ctx context.Context, table string) error {
	if !s.inTx { // one snapshot
		tx, err := s.conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // it only read
	}
	objects, err := s.objects(ctx, table)
	if err != nil {
		return err
	}
	if table != "" && len(objects) == 0 {
		return fmt.Errorf("no such table: %s", printable(table))
	}
	fmt.Fprintln(s.out, "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;")
	var rebuilds []string
	for _, o := range objects {
		if o.kind != "table" && o.kind != "virtual" {
			continue
		}
		fmt.Fprintf(s.out, "%s;\n", o.sql)
		// An FTS table may keep its rows elsewhere, or nowhere.
		if of := contentOption().FindStringSubmatch(o.sql); o.kind == "virtual" && of != nil {
			if of[1] == "" {
				fmt.Fprintf(s.out, "-- %s keeps no rows that could be dumped\n", printable(o.name))
			} else {
				rebuilds = append(rebuilds, fmt.Sprintf("INSERT INTO %[1]s(%[1]s) VALUES('rebuild');", quoteName(o.name)))
			}
			continue
		}
		if err := s.dumpRows(ctx, o); err != nil {
			return err
		}
	}
	if err := s.dumpSequences(ctx, table); err != nil {
		return err
	}
	for _, o := range objects {
		if o.kind != "table" && o.kind != "virtual" {
			fmt.Fprintf(s.out, "%s;\n", o.sql)
		}
	}
	for _, text := range rebuilds {
		fmt.Fprintln(s.out, text)
	}
	fmt.Fprintln(s.out, "COMMIT;")
	return nil
}

func (s *Shell) objects(ctx context.Context, table string) ([]object, error) {
	rows, err := s.conn.QueryContext(ctx, `SELECT coalesce((SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = m.name), m.type),
		name, tbl_name, sql FROM sqlite_schema AS m
		WHERE sql IS NOT NULL AND (?1 = '' OR lower(tbl_name) = lower(?1)) AND `+visible+` AND name <> 'agentdb_conflicts'
		AND tbl_name NOT LIKE 'agentdb\_%' ESCAPE '\' AND tbl_name NOT IN (SELECT name FROM pragma_table_list WHERE type = 'shadow')
		ORDER BY m.rowid`, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []object
	for rows.Next() {
		var o object
		if err := rows.Scan(&o.kind, &o.name, &o.table, &o.sql); err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

// contentOption matches the content option of an FTS5 table.
var contentOption = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)[(,]\s*content\s*=\s*["'` + "`" + `]?([^"'` + "`" + `,)\s]*)`)
})

func (s *Shell) dumpRows(ctx context.Context, o object) error {
	names, err := s.strings(ctx, "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0", o.name)
	if err != nil {
		return err
	}
	if o.kind == "virtual" {
		names = append(names, "rowid")
	}
	columns, values := make([]string, len(names)), make([]string, len(names))
	for i, n := range names {
		columns[i] = quoteName(n)
		values[i] = "+" + columns[i] // an expression: as stored, whatever the column is declared as
	}
	rows, err := s.conn.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s", strings.Join(values, ","), quoteName(o.name)))
	if err != nil {
		return err
	}
	defer rows.Close()
	head := fmt.Sprintf("INSERT INTO %s(%s) VALUES(", quoteName(o.name), strings.Join(columns, ","))
	for rows.Next() {
		row, err := scan(rows, len(names))
		if err != nil {
			return err
		}
		for i, v := range row {
			values[i] = literal(v)
		}
		if _, err := fmt.Fprintf(s.out, "%s%s);\n", head, strings.Join(values, ",")); err != nil {
			return err
		}
	}
	return rows.Err()
}

// dumpSequences writes the counters of AUTOINCREMENT.
func (s *Shell) dumpSequences(ctx context.Context, table string) error {
	has, err := s.strings(ctx, "SELECT name FROM sqlite_schema WHERE name = 'sqlite_sequence'")
	if err != nil || len(has) == 0 {
		return err
	}
	rows, err := s.conn.QueryContext(ctx, `SELECT name, seq FROM sqlite_sequence
		WHERE (?1 = '' OR lower(name) = lower(?1)) AND name NOT LIKE 'agentdb\_%' ESCAPE '\'`, table)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var seq any
		if err := rows.Scan(&name, &seq); err != nil {
			return err
		}
		fmt.Fprintf(s.out, "DELETE FROM sqlite_sequence WHERE name=%[1]s;\nINSERT INTO sqlite_sequence(name,seq) VALUES(%[1]s,%[2]s);\n",
			literal(name), literal(seq))
	}
	return rows.Err()
}

// strings returns the first column of a query.
func (s *Shell) strings(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}
