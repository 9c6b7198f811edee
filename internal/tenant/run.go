package tenant

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// Query is a statement with its arguments.
type Query struct {
	SQL   string
	Args  []sqlite.Value
	Named []NamedArg
}

// NamedArg is an argument for the parameter of that name, with or without its
// prefix.
type NamedArg struct {
	Name  string
	Value sqlite.Value
}

// Column is a column of a result.
type Column struct {
	Name     string
	DeclType string // "" if it is not a table's column
}

// Rows takes the rows of a result. An error ends the statement.
type Rows interface {
	// Columns is called once, before the first row.
	Columns(cols []Column) error
	// Row is called with each row, whose values are valid until it returns.
	Row(vals []sqlite.Value) error
}

// Stream is a Rows that may hand its rows on while the statement runs.
type Stream interface {
	Rows
	// Holds is called once before Columns, for statements whose rows may be
	// handed on as they come. beside does what Row does by ErrBeside; it may be
	// called at any time, by anybody.
	Holds(h Hold, beside func())
}

// Hold is what a statement that only reads keeps while its rows are taken. They
// may be shown to others after Settle.
type Hold uint8

// What a statement may keep.
const (
	// HoldSnapshot: one of the database's readers. No writer waits for it.
	HoldSnapshot Hold = iota + 1
	// HoldDatabase: the database. Row may return ErrBeside, and should before
	// it waits for anybody.
	HoldDatabase
	// HoldTransaction: what the session's transaction does.
	HoldTransaction
)

// ErrBeside is returned by Row to have the statement begin again, from Columns
// on, where nobody waits for it. Some statements can't: they hold the database
// again.
var ErrBeside = errors.New("tenant: to be run beside the writer")

// Result is what a statement did.
type Result struct {
	Wrote    bool  // the statement was not one that only reads
	Affected int64 // rows, without those of triggers
	LastID   int64 // rowid of the last row that the session inserted
	Usage          // of its rows
}

// Description is what can be known of a statement without running it.
type Description struct {
	Params   []string // names with their prefix, "" for ?
	Columns  []Column
	Explain  bool
	ReadOnly bool
}

// Run runs one statement to its end. rows may be nil. An error that the author
// of the SQL should know of is a *sqlite.Error, ErrManyStatements,
// ErrNoStatement or ErrArguments; after any other the session should be closed.
func (s *Session) Run(ctx context.Context, q *Query, rows Rows) (Result, error) {
	s.cost = Usage{}
	res, err := s.runOnce(ctx, q, rows)
	if errors.Is(err, ErrBeside) {
		res, err = s.runOnce(ctx, q, rows)
	}
	res.Usage = s.cost
	return res, s.m.Suspect(ctx, err)
}

// spend counts what a statement has cost.
func (s *Session) spend(u Usage) {
	s.cost.Add(u)
	s.m.meters.add(s.name, u)
}

func (s *Session) runOnce(ctx context.Context, q *Query, rows Rows) (Result, error) {
	if err := s.read(ctx, q, rows); !errors.Is(err, errWriter) {
		return Result{}, err
	}
	res, err := s.runWriter(ctx, q, rows)
	if errors.Is(err, errReader) {
		return Result{}, s.beginRead(ctx)
	}
	return res, err
}

// runWriter is Run on the connection that writes.
func (s *Session) runWriter(ctx context.Context, q *Query, rows Rows) (Result, error) {
	if err := s.enter(ctx); err != nil {
		return Result{}, err
	}
	defer s.leave()
	g := &s.d.guest
	p, err := g.single(s.d.conn, q.SQL)
	if err != nil {
		return Result{}, err
	}
	if p == nil {
		return Result{}, ErrNoStatement
	}
	defer g.cache.put(p)
	if p.st != nil {
		if err := bind(p.st, q); err != nil {
			return Result{}, err
		}
	}
	res, err := s.run(ctx, p, rows)
	return res, advise(g.explain(err))
}

// errReader says that the transaction that was to begin only reads: the
// database is shared now.
var errReader = errors.New("tenant: for a reader")

// Script runs all statements of a text, up to the first that fails.
func (s *Session) Script(ctx context.Context, text string) error {
	for text != "" {
		if s.r != nil {
			return logic("a transaction that only reads takes no scripts")
		}
		if err := s.enter(ctx); err != nil {
			return err
		}
		rest, err := s.next(ctx, text)
		s.leave()
		if errors.Is(err, errReader) {
			err = s.beginRead(ctx)
		}
		if err != nil {
			return err
		}
		text = rest
	}
	return nil
}

// next runs the first statement of a text and returns the text after it.
func (s *Session) next(ctx context.Context, text string) (string, error) {
	g := &s.d.guest
	p, rest, err := g.first(s.d.conn, text)
	if err != nil || p == nil {
		return "", err
	}
	defer p.finalize()
	if p.st != nil && p.st.BindCount() > 0 {
		return "", fmt.Errorf("%w: a script takes none", ErrArguments)
	}
	_, err = s.run(ctx, p, nil)
	return rest, advise(g.explain(err))
}

// Describe prepares a statement without running it.
func (s *Session) Describe(ctx context.Context, text string) (d *Description, err error) {
	err = s.onReader(ctx, func(_ *database, c *reader) error {
		return c.prepared(func() (err error) {
			d, err = describe(&c.guest, c.conn, text)
			return err
		})
	})
	if !errors.Is(err, errWriter) {
		return d, err
	}
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	return describe(&s.d.guest, s.d.conn, text)
}

func describe(g *guest, conn *sqlite.Conn, text string) (*Description, error) {
	p, err := g.single(conn, text)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, ErrNoStatement
	}
	defer g.cache.put(p)
	if p.st == nil {
		return &Description{ReadOnly: true}, nil
	}
	d := &Description{Columns: columns(p.st), Explain: p.st.IsExplain(), ReadOnly: p.readOnly}
	for i := range p.st.BindCount() {
		d.Params = append(d.Params, p.st.BindName(i+1))
	}
	return d, nil
}

func columns(st *sqlite.Stmt) []Column {
	cols := make([]Column, st.ColumnCount())
	for i := range cols {
		cols[i] = Column{Name: st.ColumnName(i), DeclType: st.ColumnDeclType(i)}
	}
	return cols
}

// bind binds positional arguments to the parameters without a name, or with a
// number, and named ones to the others.
func bind(st *sqlite.Stmt, q *Query) error {
	n := st.BindCount()
	if len(q.Args) > n {
		return fmt.Errorf("%w: %d for %d parameters", ErrArguments, len(q.Args), n)
	}
	for i := 1; i <= n; i++ {
		v, ok := argument(q, i, st.BindName(i))
		if !ok {
			return fmt.Errorf("%w: none for parameter %d %s", ErrArguments, i, st.BindName(i))
		}
		if err := st.Bind(i, v); err != nil {
			return err
		}
	}
	return nil
}

func argument(q *Query, i int, name string) (sqlite.Value, bool) {
	if name != "" && name[0] != '?' {
		for j := len(q.Named) - 1; j >= 0; j-- {
			if a := q.Named[j].Name; a == name || a == name[1:] {
				return q.Named[j].Value, true
			}
		}
	}
	if i <= len(q.Args) {
		return q.Args[i-1], true
	}
	return sqlite.Value{}, false
}

// run runs a bound statement.
func (s *Session) run(ctx context.Context, p *query, rows Rows) (Result, error) {
	switch {
	case p.pragma != "":
		return Result{}, s.setting(p, rows)
	case p.control != "":
		if rows != nil {
			if err := rows.Columns(nil); err != nil {
				return Result{}, err
			}
		}
		return Result{}, s.control(ctx, p)
	case !p.readOnly:
		return s.write(ctx, p, rows)
	}
	start := time.Now()
	w := s.watch(ctx, s.d.conn, &s.d.guest, p.st)
	err := s.d.count(w, w.step(rows, func() error {
		s.seen.Store(s.d.head.Seq)
		announce(rows, HoldDatabase, HoldTransaction, s.tx, func() { w.interrupt(ErrBeside) })
		return nil
	}))
	s.lostBy(err)
	s.slow = s.slow || time.Since(start) > slowRead || errors.Is(err, ErrBeside)
	return Result{}, err
}

// announce tells a Stream what its statement holds: outside of a transaction, or
// within.
func announce(rows Rows, alone, within Hold, tx bool, beside func()) {
	if st, ok := rows.(Stream); ok && tx {
		st.Holds(within, beside)
	} else if ok {
		st.Holds(alone, beside)
	}
}

// step runs the statement to its end. begun, if not nil, is called when it is
// known what the statement sees.
func (w *watch) step(rows Rows, begun func() error) error {
	st := w.st
	if w.guest != nil {
		leave, err := w.guest.within(w.conn, st.SQL())
		if err != nil {
			return err
		}
		defer leave()
	}
	row, err := st.Step()
	if err == nil && begun != nil {
		err = begun()
	}
	if err != nil {
		return err
	}
	if rows != nil {
		if err := rows.Columns(columns(st)); err != nil {
			return err
		}
	}
	var vals []sqlite.Value
	for row {
		w.rows++
		if rows != nil {
			if vals == nil {
				vals = make([]sqlite.Value, st.ColumnCount())
			}
			for i := range vals {
				vals[i] = look(st, i)
			}
			if err := rows.Row(vals); err != nil {
				return err
			}
		}
		if row, err = st.Step(); err != nil {
			return err
		}
	}
	return nil
}

// look returns a value whose bytes are the statement's own.
func look(st *sqlite.Stmt, i int) sqlite.Value {
	switch k := st.ColumnKind(i); k {
	case sqlite.KindInteger:
		return sqlite.Int(st.ColumnInt64(i))
	case sqlite.KindFloat:
		return sqlite.Real(st.ColumnFloat(i))
	case sqlite.KindNull:
		return sqlite.Null()
	default:
		return sqlite.Value{Kind: k, B: st.ColumnRaw(i)}
	}
}

// write runs a statement that writes. Outside of a transaction it gets one of
// its own.
func (s *Session) write(ctx context.Context, p *query, rows Rows) (res Result, err error) {
	if !s.cfg.Write {
		return res, &sqlite.Error{Code: sqlite.CodeReadOnly, Message: "attempt to write a readonly database: the token, or block_writes of the database, allows reading only", Offset: -1}
	}
	own := !s.tx
	if own {
		if err := s.begin(); err != nil {
			return res, err
		}
	}
	d := s.d
	before := d.conn.TotalChanges()
	if err = d.cap.Before(p.st); err == nil {
		w := s.watch(ctx, d.conn, &d.guest, p.st)
		if err = w.end(w.step(rows, nil)); w.why == nil && sqlite.IsInterrupt(err) {
			err = change.ErrTooMuch // the capture interrupted it
		}
		if aerr := d.cap.After(p.st, err); err == nil {
			err = aerr
		}
		d.counted.add(p.st.SQL(), w.since, Usage{RowsRead: w.read, RowsWritten: uint64(d.conn.TotalChanges() - before)})
	}
	_ = p.st.Reset() // what failed was reported by Step
	s.spend(Usage{RowsWritten: uint64(d.conn.TotalChanges() - before)})
	if !p.changes {
		d.guest.cache.clear() // what they hold at a time may be more with a new trigger
	}
	s.lastID, s.counts = d.conn.LastInsertRowID(), [2]int64{d.conn.Changes(), d.conn.TotalChanges()}
	res = Result{Wrote: true, LastID: s.lastID}
	if p.changes && d.conn.TotalChanges() != before {
		res.Affected = d.conn.Changes()
	}
	var engine *sqlite.Error
	switch {
	case err == nil && own:
		if err = s.commit(ctx); err != nil && s.tx {
			s.rollback()
		}
	case err == nil:
		return res, nil
	case own && s.tx, s.tx && !errors.As(err, &engine) && !errors.Is(err, change.ErrUnsupported):
		// What a statement did that its rows' taker ended is half done.
		s.rollback()
	default:
		s.lostBy(err)
	}
	return res, err
}

// advise makes a *sqlite.Error of the refusals of statements.
func advise(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && strings.HasPrefix(e.Message, "cannot VACUUM") {
		return &sqlite.Error{Code: sqlite.CodeAuth, Message: noAttach, Offset: -1}
	}
	for _, k := range []struct {
		is   error
		code int
	}{
		{change.ErrUnsupported, sqlite.CodeAuth},
		{change.ErrTooMuch, sqlite.CodeTooBig},
	} {
		if errors.Is(err, k.is) {
			return &sqlite.Error{Code: k.code, Message: err.Error(), Offset: -1}
		}
	}
	return err
}

// setting handles the settings of a connection that belong to the session.
func (s *Session) setting(p *query, rows Rows) error {
	if rows != nil {
		if err := rows.Columns(nil); err != nil {
			return err
		}
	}
	if p.pragma != "foreign_keys" || s.tx { // within a transaction it does nothing in SQLite
		return nil
	}
	on := true
	switch strings.Trim(p.value, `'"`) {
	case "on", "yes", "true":
	case "off", "no", "false":
		on = false
	default:
		n, err := strconv.Atoi(p.value)
		on = err == nil && n != 0
	}
	s.noFKs = !on
	return s.d.conn.DBConfig(sqlite.ConfigEnableFKey, on)
}
