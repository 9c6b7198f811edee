package agentdb

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// QueryContext runs one statement. If it only reads, its rows are streamed; if it writes, it is run to its end first.
func (s *sqlConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	p, bound, err := s.c.query(ctx, text, plainArgs(args))
	if err != nil {
		if errors.Is(err, errToWriter) {
			err = ErrReadOnly
		}
		return nil, err
	}
	rows := &sqlRows{c: s.c, p: p}
	if !p.readOnly {
		err := s.buffer(ctx, rows, bound)
		return rows, err
	}
	rows.watch = s.c.watch(ctx)
	more, err := s.c.first(ctx, p)
	if err != nil {
		rows.watch.end()
		s.c.done(p, bound)
		return nil, err
	}
	rows.ctx, rows.more = ctx, more
	rows.describe()
	s.c.live = append(s.c.live, p)
	return rows, nil
}

// buffer runs a statement that writes and keeps its rows.
func (s *sqlConn) buffer(ctx context.Context, rows *sqlRows, bound int) error {
	p := rows.p
	defer s.c.done(p, bound)
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	rows.describe()
	rows.p = nil
	_, err := s.c.run(ctx, p, func() error {
		row := make([]driver.Value, len(rows.names))
		for i := range row {
			row[i] = declaredValue(p.st, i, rows.decls[i])
		}
		rows.kept = append(rows.kept, row)
		return nil
	})
	return fromEngine(ctx, err, p.text)
}

// sqlRows are the rows of one query. They belong to the goroutine that has the connection.
type sqlRows struct {
	c     *conn
	p     *prepared // nil if the rows are in kept, or closed
	ctx   context.Context
	watch *watch
	more  bool // there is a row that Next has not handed out yet
	kept  [][]driver.Value

	names []string
	decls []string
}

var (
	_ driver.RowsColumnTypeDatabaseTypeName = (*sqlRows)(nil)
	_ driver.RowsColumnTypeScanType         = (*sqlRows)(nil)
)

func (r *sqlRows) describe() {
	n := r.p.st.ColumnCount()
	r.names, r.decls = make([]string, n), make([]string, n)
	for i := range r.names {
		r.names[i] = r.p.st.ColumnName(i)
		r.decls[i] = r.p.st.ColumnDeclType(i)
	}
}

func (r *sqlRows) Columns() []string { return r.names }

func (r *sqlRows) Next(dest []driver.Value) error {
	if len(r.kept) > 0 {
		copy(dest, r.kept[0])
		r.kept = r.kept[1:]
		return nil
	}
	if r.p == nil || !r.more {
		return io.EOF
	}
	if !(&cursor{c: r.c, p: r.p}).busyStill() {
		r.p = nil
		return ErrTxDone
	}
	if r.ctx.Err() != nil {
		return ctxError(r.ctx)
	}
	for i := range dest {
		dest[i] = declaredValue(r.p.st, i, r.decls[i])
	}
	var err error
	if r.more, err = r.p.st.Step(); err != nil {
		r.more = false
		r.c.noticeRollback()
		return fromEngine(r.ctx, err, r.p.text)
	}
	return nil
}

// Close ends the statement. It may be called twice.
func (r *sqlRows) Close() error {
	r.watch.end()
	if r.p != nil {
		r.c.endLive(r.p)
	}
	r.p, r.kept = nil, nil
	return nil
}

// ColumnTypeDatabaseTypeName returns the declared type without its length.
func (r *sqlRows) ColumnTypeDatabaseTypeName(i int) string {
	name, _, _ := strings.Cut(r.decls[i], "(")
	return strings.ToUpper(strings.TrimSpace(name))
}

// ColumnTypeScanType returns the type of the current row's value, or what the declared type lets expect.
func (r *sqlRows) ColumnTypeScanType(i int) reflect.Type {
	decl := strings.ToUpper(r.decls[i])
	switch {
	case declaredTime(decl):
		return reflect.TypeFor[time.Time]()
	case declaredBool(decl):
		return reflect.TypeFor[bool]()
	case strings.Contains(decl, "INT"):
		return reflect.TypeFor[int64]()
	case strings.Contains(decl, "CHAR"), strings.Contains(decl, "CLOB"), strings.Contains(decl, "TEXT"):
		return reflect.TypeFor[string]()
	case strings.Contains(decl, "BLOB"):
		return reflect.TypeFor[[]byte]()
	case strings.Contains(decl, "REAL"), strings.Contains(decl, "FLOA"), strings.Contains(decl, "DOUB"):
		return reflect.TypeFor[float64]()
	}
	return r.valueType(i)
}

func (r *sqlRows) valueType(i int) reflect.Type {
	if r.p != nil && r.more {
		switch r.p.st.ColumnKind(i) {
		case sqlite.KindInteger:
			return reflect.TypeFor[int64]()
		case sqlite.KindFloat:
			return reflect.TypeFor[float64]()
		case sqlite.KindText:
			return reflect.TypeFor[string]()
		case sqlite.KindBlob:
			return reflect.TypeFor[[]byte]()
		}
	}
	return reflect.TypeFor[any]()
}

// PrepareContext checks a single statement; it is kept prepared by its text.
func (s *sqlConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	if err := s.c.check(ctx, text); err != nil {
		return nil, err
	}
	return &sqlStmt{conn: s, text: text}, nil
}

// Prepare is there for the interface only; database/sql calls PrepareContext.
func (s *sqlConn) Prepare(text string) (driver.Stmt, error) {
	return s.PrepareContext(context.Background(), text)
}

// sqlStmt is a prepared statement of database/sql.
type sqlStmt struct {
	conn *sqlConn
	text string
}

var (
	_ driver.StmtExecContext   = (*sqlStmt)(nil)
	_ driver.StmtQueryContext  = (*sqlStmt)(nil)
	_ driver.NamedValueChecker = (*sqlStmt)(nil)
)

// NumInput leaves the counting of arguments to us, because of the named ones.
func (t *sqlStmt) NumInput() int { return -1 }
func (t *sqlStmt) Close() error  { return nil }

func (t *sqlStmt) CheckNamedValue(*driver.NamedValue) error { return nil }

func (t *sqlStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return t.conn.ExecContext(ctx, t.text, args)
}

func (t *sqlStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return t.conn.QueryContext(ctx, t.text, args)
}

// Exec is there for the interface only; database/sql calls ExecContext.
func (t *sqlStmt) Exec(args []driver.Value) (driver.Result, error) {
	return t.ExecContext(context.Background(), namedValues(args))
}

// Query is there for the interface only; database/sql calls QueryContext.
func (t *sqlStmt) Query(args []driver.Value) (driver.Rows, error) {
	return t.QueryContext(context.Background(), namedValues(args))
}

func namedValues(args []driver.Value) []driver.NamedValue {
	list := make([]driver.NamedValue, len(args))
	for i, v := range args {
		list[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return list
}
