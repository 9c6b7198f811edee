package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// dotCommand is one of the commands that begin with a dot.
type dotCommand struct {
	name, args, help string
	run              func(s *Shell, ctx context.Context, arg string) error
}

func commands() []dotCommand {
	return []dotCommand{
		{"help", "", "this list", (*Shell).help},
		{"tables", "[PATTERN]", "tables and views, all or LIKE a pattern", (*Shell).tables},
		{"schema", "[TABLE]", "the statements that made all tables, or one", (*Shell).schema},
		{"dump", "[TABLE]", "the database, or a table, as SQL", (*Shell).dump},
		{"sync", "", "sync with the server now", (*Shell).sync},
		{"status", "", "what is unsent, and how the last sync went", (*Shell).status},
		{"mode", "[MODE]", strings.Join(modes(), ", "), (*Shell).setMode},
		{"read", "FILE", "run the statements in a file", (*Shell).readFile},
		{"quit", "", "leave; so does Ctrl-D", (*Shell).quit},
		{"exit", "", "the same", (*Shell).quit},
	}
}

// command runs a line that begins with a dot.
func (s *Shell) command(ctx context.Context, line string) error {
	name, arg, _ := strings.Cut(strings.TrimPrefix(line, "."), " ")
	arg = strings.TrimSuffix(strings.TrimSpace(arg), ";")
	if len(arg) > 1 && (arg[0] == '"' || arg[0] == '\'') && arg[len(arg)-1] == arg[0] {
		arg = arg[1 : len(arg)-1]
	}
	for _, c := range commands() {
		if c.name == strings.TrimSuffix(name, ";") {
			if arg != "" && c.args == "" {
				return fmt.Errorf(".%s takes no argument", c.name)
			}
			return c.run(s, ctx, arg)
		}
	}
	return fmt.Errorf("unknown command .%s: .help lists them", printable(name))
}

func (s *Shell) help(context.Context, string) error {
	for _, c := range commands() {
		fmt.Fprintf(s.out, "  %-18s %s\n", "."+c.name+" "+c.args, c.help)
	}
	fmt.Fprintln(s.out, "Everything else is SQL and ends with a semicolon. Ctrl-C stops a running statement.")
	return nil
}

func (s *Shell) setMode(_ context.Context, arg string) error {
	switch {
	case arg == "":
		fmt.Fprintln(s.out, s.mode)
	case isMode(arg):
		s.mode = arg
	default:
		return fmt.Errorf("mode %q is not one of %s", arg, strings.Join(modes(), ", "))
	}
	return nil
}

func (s *Shell) quit(context.Context, string) error {
	s.done = true
	return nil
}

var errNotSynced = errors.New("this database isn't synced: start the shell with a URL")

func (s *Shell) sync(ctx context.Context, _ string) error {
	if s.cfg.Sync == nil {
		return errNotSynced
	}
	if s.inTx {
		return errors.New("a transaction is open: COMMIT or ROLLBACK first")
	}
	text, err := s.cfg.Sync(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, text)
	return nil
}

func (s *Shell) status(context.Context, string) error {
	if s.cfg.Status == nil {
		return errNotSynced
	}
	fmt.Fprintln(s.out, strings.TrimRight(s.cfg.Status(), "\n"))
	return nil
}

func (s *Shell) readFile(ctx context.Context, arg string) error {
	if arg == "" {
		return errors.New(".read needs a file")
	}
	f, err := os.Open(arg)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.run(ctx, newPipe(f, arg))
}

// Tables that are of no interest to a user: SQLite's own, the innards of
// virtual tables, and the sync's.
const visible = `name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE 'turso\_sync\_%' ESCAPE '\' AND (name NOT LIKE 'agentdb\_%' ESCAPE '\' OR name = 'agentdb_conflicts')`

func (s *Shell) tables(ctx context.Context, pattern string) error {
	if pattern == "" {
		pattern = "%"
	}
	rows, err := s.conn.QueryContext(ctx, `SELECT name FROM pragma_table_list
		WHERE schema = 'main' AND type <> 'shadow' AND name LIKE ? AND `+visible+` ORDER BY name`, pattern)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		fmt.Fprintln(s.out, printable(name))
	}
	return rows.Err()
}

func (s *Shell) schema(ctx context.Context, table string) error {
	rows, err := s.conn.QueryContext(ctx, `SELECT sql FROM sqlite_schema
		WHERE sql IS NOT NULL AND (?1 = '' OR lower(tbl_name) = lower(?1))
		AND tbl_name NOT IN (SELECT name FROM pragma_table_list WHERE type = 'shadow') AND `+visible+`
		ORDER BY tbl_name, CASE type WHEN 'table' THEN 0 WHEN 'view' THEN 0 ELSE 1 END, name`, table)
	if err != nil {
		return err
	}
	defer rows.Close()
	found := false
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		found = true
		fmt.Fprintf(s.out, "%s;\n", text)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if table != "" && !found {
		return fmt.Errorf("no such table: %s", printable(table))
	}
	return nil
}

// complete offers what may follow at the end of a line.
func (s *Shell) complete(line string) []string {
	at := strings.LastIndexAny(line, " \t(,.=<>+-*/") + 1
	if strings.HasPrefix(line, ".") && at == 1 {
		at = 0
	}
	head, word := line[:at], line[at:]
	if word == "" {
		return nil
	}
	var list []string
	for _, w := range s.candidates(at == 0) {
		if len(w) > len(word) && strings.EqualFold(w[:len(word)], word) {
			list = append(list, head+w)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (s *Shell) candidates(first bool) []string {
	list := []string{
		"SELECT", "FROM", "WHERE", "INSERT INTO", "VALUES", "UPDATE", "DELETE FROM", "CREATE TABLE", "CREATE INDEX",
		"CREATE TRIGGER", "CREATE VIEW", "ALTER TABLE", "DROP TABLE", "GROUP BY", "ORDER BY", "LIMIT", "JOIN", "LEFT JOIN",
		"BEGIN", "COMMIT", "ROLLBACK", "PRIMARY KEY", "REFERENCES", "RETURNING", "EXPLAIN QUERY PLAN", "PRAGMA",
	}
	if first {
		for _, c := range commands() {
			list = append(list, "."+c.name)
		}
	}
	rows, err := s.conn.QueryContext(context.Background(), `SELECT name FROM sqlite_schema WHERE `+visible+`
		UNION SELECT p.name FROM sqlite_schema AS m, pragma_table_xinfo(m.name) AS p WHERE m.type IN ('table', 'view')`)
	if err != nil {
		return list // a completion less
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if rows.Scan(&name) == nil {
			list = append(list, name)
		}
	}
	return list
}
