package shell

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// execute runs one SQL statement and writes its result.
func (s *Shell) execute(ctx context.Context, text string) error {
	begin := time.Now()
	verb := ""
	if w := words(text, 1); len(w) > 0 {
		verb = w[0]
	}
	switch verb {
	case "SELECT", "WITH", "VALUES", "PRAGMA", "EXPLAIN":
		if err := s.query(ctx, text, begin); err != nil {
			return err
		}
	case "INSERT", "UPDATE", "DELETE", "REPLACE":
		if err := s.write(ctx, text, begin); err != nil {
			return err
		}
	default:
		if _, err := s.conn.ExecContext(ctx, text); err != nil {
			return err
		}
		s.track(verb, text)
	}
	if s.cfg.AfterWrite == nil || s.inTx || verb == "SELECT" || verb == "VALUES" || verb == "PRAGMA" || verb == "EXPLAIN" {
		return nil
	}
	return s.cfg.AfterWrite(ctx)
}

// track follows the transaction that the statements make.
func (s *Shell) track(verb, text string) {
	switch verb {
	case "BEGIN", "SAVEPOINT":
		s.inTx = true
	case "COMMIT", "END":
		s.inTx = false
	case "ROLLBACK":
		s.inTx = s.inTx && hasWord(text, "TO")
	}
}

// write runs a statement that changes rows.
func (s *Shell) write(ctx context.Context, text string, begin time.Time) error {
	if hasWord(text, "RETURNING") {
		return s.query(ctx, text, begin)
	}
	res, err := s.conn.ExecContext(ctx, text)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err == nil {
		s.note("%s changed, %s", count(int(n), "row"), took(begin))
	}
	return nil
}

// query runs a statement that returns rows, and writes them.
func (s *Shell) query(ctx context.Context, text string, begin time.Time) error {
	rows, err := s.open(ctx, text)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	if len(columns) == 0 {
		return rows.Err()
	}
	r := newRenderer(s.mode, s.out, columns, s.look)
	n := 0
	for rows.Next() {
		values, err := scan(rows, len(columns))
		if err != nil {
			return err
		}
		if err := r.row(values); err != nil {
			return err
		}
		n++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if n > 0 || s.mode != "table" || s.cfg.Interactive {
		if err := r.end(); err != nil {
			return err
		}
	}
	s.note("%s, %s", count(n, "row"), took(begin))
	return rows.Close()
}

// open runs a query. Where database/sql would turn values into times or bools,
// because a column is declared so, the query is wrapped into another one that
// gives them as they are stored.
func (s *Shell) open(ctx context.Context, text string) (*sql.Rows, error) {
	rows, err := s.conn.QueryContext(ctx, text)
	if err != nil || !converts(rows) {
		return rows, err
	}
	if w := words(text, 1); w[0] != "SELECT" && w[0] != "VALUES" && w[0] != "WITH" {
		return rows, nil
	}
	names, err := rows.Columns()
	if err != nil {
		return rows, err
	}
	inner := make([]string, len(names))
	outer := make([]string, len(names))
	for i, name := range names {
		inner[i] = fmt.Sprintf("c%d", i)
		outer[i] = "+" + inner[i] + " AS " + quoteName(name) // no longer a column, so without its declaration
	}
	wrapped, err := s.conn.QueryContext(ctx, fmt.Sprintf("WITH shell(%s) AS (\n%s\n) SELECT %s FROM shell",
		strings.Join(inner, ","), strings.TrimRight(text, "; \n"), strings.Join(outer, ",")))
	if err != nil {
		return rows, nil //nolint:nilerr // not a query that can be wrapped: as it is, then
	}
	return wrapped, rows.Close()
}

func converts(rows *sql.Rows) bool {
	types, err := rows.ColumnTypes()
	if err != nil {
		return false
	}
	for _, t := range types {
		if st := t.ScanType(); st == reflect.TypeFor[time.Time]() || st == reflect.TypeFor[bool]() {
			return true
		}
	}
	return false
}

// scan reads the current row.
func scan(rows *sql.Rows, n int) ([]any, error) {
	values, targets := make([]any, n), make([]any, n)
	for i := range values {
		targets[i] = &values[i]
	}
	return values, rows.Scan(targets...)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func took(begin time.Time) string {
	d := time.Since(begin)
	switch {
	case d < time.Millisecond:
		d = d.Round(time.Microsecond)
	case d < time.Second:
		d = d.Round(10 * time.Microsecond)
	default:
		d = d.Round(10 * time.Millisecond)
	}
	return d.String()
}
