package server

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/agentdb/agentdb/internal/hrana"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
)

// dumpRoutes adds the paths that hand out whole databases.
func (s *Server) dumpRoutes() {
	for _, prefix := range []string{"", "/db/{name}"} {
		for path, h := range map[string]handler{
			"/dump": s.dump, "/info": s.info, "/export": s.export, "/export/{generation}": s.export, "/sync/{generation}/{from}/{to}": s.frames,
		} {
			s.mux.HandleFunc(prefix+path, s.handle("dump", s.sqlHandler(h)))
		}
	}
}

// reads returns the database that a request wants to read, and what it may do there.
func (s *Server) reads(w *recorder, r *http.Request) (name string, cfg tenant.SessionConfig, err error) {
	if err := onlyGet(r); err != nil {
		return "", cfg, err
	}
	if name, cfg, err = s.authorizeSQL(w, r); err == nil {
		if !cfg.Scope.ReadsAll() {
			err = errWhole
		}
	}
	return name, cfg, err
}

// export answers with the database's file.
func (s *Server) export(w *recorder, r *http.Request) error {
	name, _, err := s.reads(w, r)
	if err != nil {
		return err
	}
	generation, err := s.exported(r)
	if err != nil {
		return err
	}
	ctx, check := s.guard(w, r)
	size, parts, err := s.dbs.Export(ctx, name, generation)
	if err == nil {
		err = check()
	}
	if err != nil {
		return err
	}
	w.Header()["Content-Type"] = []string{"application/vnd.sqlite3"}
	w.Header()["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	out := bufio.NewWriterSize(w, 1<<18)
	for b, err := range parts {
		if err != nil {
			return err
		}
		if _, err := out.Write(b); err != nil {
			return errors.Join(errGone, err)
		}
	}
	return out.Flush()
}

// dump answers with the SQL that makes the database anew.
func (s *Server) dump(w *recorder, r *http.Request) error {
	name, cfg, err := s.reads(w, r)
	if err != nil {
		return err
	}
	cfg.Create = false
	conn := s.dbs.SQL(name, cfg)
	defer conn.Close()
	ctx, _ := s.guard(w, r)
	d := &dumper{ctx: ctx, conn: conn, out: bufio.NewWriterSize(w, 1<<16)}
	if err := d.begin(); err != nil {
		return err
	}
	if err := conn.Settle(r.Context()); err != nil {
		return err
	}
	w.Header()["Content-Type"] = []string{"text/plain; charset=utf-8"}
	if err := d.all(); err != nil {
		w.WriteHeader(http.StatusOK) // what follows is cut off
		return err
	}
	return d.out.Flush()
}

// dumper writes a database as SQL.
type dumper struct {
	ctx     context.Context
	conn    hrana.Conn
	out     *bufio.Writer
	objects []object
}

// object is an entry of the schema.
type object struct{ kind, name, sql string }

// rowFunc takes each row of a query as texts.
type rowFunc func(cols []string) error

func (rowFunc) Columns([]tenant.Column) error { return nil }

func (f rowFunc) Row(vals []sqlite.Value) error {
	cols := make([]string, len(vals))
	for i := range vals {
		cols[i] = string(vals[i].B)
	}
	return f(cols)
}

func (d *dumper) query(sql string, f rowFunc) error {
	_, err := d.conn.Run(d.ctx, &tenant.Query{SQL: sql}, f)
	return err
}

// begin begins a transaction that reads, and reads the schema. Tables come
// first, and those that back a virtual table not at all.
func (d *dumper) begin() error {
	if err := d.query("BEGIN TRANSACTION READONLY", nil); err != nil {
		return err
	}
	return d.query(`SELECT m.type, m.name, m.sql FROM sqlite_schema m LEFT JOIN pragma_table_list l ON l.name = m.name AND l.schema = 'main'
		WHERE m.sql IS NOT NULL AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND m.name NOT LIKE 'agentdb\_%' ESCAPE '\' AND m.name NOT LIKE 'turso\_sync\_%' ESCAPE '\' AND coalesce(l.type, '') <> 'shadow'
		ORDER BY m.type <> 'table', m.type = 'trigger', m.rowid`,
		func(c []string) error {
			d.objects = append(d.objects, object{c[0], c[1], c[2]})
			return nil
		})
}

func (d *dumper) all() error {
	d.line("PRAGMA foreign_keys=OFF;")
	d.line("BEGIN TRANSACTION;")
	for _, o := range d.objects {
		d.line(o.sql + ";")
		if o.kind != "table" {
			continue
		}
		if err := d.rows(o.name); err != nil {
			return err
		}
	}
	if err := d.sequences(); err != nil {
		return err
	}
	d.line("COMMIT;")
	return nil
}

// line writes a line; an error stays with the writer.
func (d *dumper) line(s string) {
	_, _ = d.out.WriteString(s)
	_ = d.out.WriteByte('\n')
}

// rows writes a table's rows. Generated columns are made anew.
func (d *dumper) rows(table string) error {
	var names, values []string
	err := d.query("SELECT name FROM pragma_table_xinfo("+literal(table)+") WHERE hidden = 0", func(c []string) error {
		n := quoteName(c[0])
		names = append(names, n)
		values = append(values, "CASE WHEN typeof("+n+") = 'text' AND instr("+n+", char(0)) THEN 'CAST(x'''||hex("+n+")||''' AS TEXT)' ELSE quote("+n+") END")
		return nil
	})
	if err != nil || len(names) == 0 {
		return err
	}
	head := "INSERT INTO " + quoteName(table) + "(" + strings.Join(names, ",") + ") VALUES("
	return d.query("SELECT "+strings.Join(values, "||','||")+" FROM "+quoteName(table), func(c []string) error {
		d.line(head + c[0] + ");")
		_, err := d.out.Write(nil) // what went wrong before
		return err
	})
}

// sequences writes the counters of AUTOINCREMENT.
func (d *dumper) sequences() error {
	found := false
	if err := d.query("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'", func([]string) error {
		found = true
		return nil
	}); err != nil || !found {
		return err
	}
	d.line("DELETE FROM sqlite_sequence;")
	return d.query("SELECT quote(name)||','||seq FROM sqlite_sequence", func(c []string) error {
		d.line("INSERT INTO sqlite_sequence VALUES(" + c[0] + ");")
		return nil
	})
}

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
