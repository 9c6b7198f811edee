package agentdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// SQL returns a *sql.DB on the same file, with the same queue of writers and
// the same capture: for code written for database/sql. It is always the same
// one, unless it was closed, and it is closed along with db.
//
// A transaction of it writes unless sql.TxOptions.ReadOnly is set: it holds the
// write lock from its begin to its end. Rows of a statement that writes are
// read before the call returns.
func (db *DB) SQL() *sql.DB {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.sqlDB == nil {
		db.sqlDB = sql.OpenDB(&connector{db: db})
		db.sqlDB.SetMaxIdleConns(db.opts.Readers)
		if db.closing {
			_ = db.sqlDB.Close() // so that it answers that it is closed
		}
	}
	return db.sqlDB
}

// sqlDriver is the driver "agentdb" of database/sql. Its data source name is
// the path of a file, maybe with file: before it and with parameters after a
// question mark: synchronous (OFF, NORMAL, FULL, EXTRA), busy_timeout (a
// duration such as 5s) and cache_kb.
type sqlDriver struct{}

// Open is there for the interface only; database/sql calls OpenConnector.
func (d sqlDriver) Open(name string) (driver.Conn, error) {
	c, err := d.OpenConnector(name)
	if err != nil {
		return nil, err
	}
	return c.Connect(context.Background())
}

func (sqlDriver) OpenConnector(name string) (driver.Connector, error) {
	path, opts, err := parseDSN(name)
	if err != nil {
		return nil, err
	}
	full, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	db, err := newDB(path, full)
	if err != nil {
		return nil, err
	}
	return &connector{db: db, owned: true}, nil
}

func parseDSN(name string) (string, *Options, error) {
	path, query, _ := strings.Cut(name, "?")
	path = strings.TrimPrefix(strings.TrimPrefix(path, "file://"), "file:")
	params, err := url.ParseQuery(query)
	if err != nil {
		return "", nil, fmt.Errorf("agentdb: data source name: %w", err)
	}
	o := &Options{}
	for key, values := range params {
		value := values[len(values)-1]
		var err error
		switch key {
		case "synchronous":
			o.Synchronous = strings.ToUpper(value)
		case "busy_timeout":
			o.BusyTimeout, err = time.ParseDuration(value)
		case "cache_kb":
			o.CacheKB, err = strconv.Atoi(value)
		default:
			err = errors.New("there is no such parameter")
		}
		if err != nil {
			return "", nil, fmt.Errorf("agentdb: data source name: %s: %w", key, err)
		}
	}
	return path, o, nil
}

// connector makes the connections of one *sql.DB.
type connector struct {
	db    *DB
	owned bool // db has no other user: it was made for sql.Open
}

func (k *connector) Driver() driver.Driver { return sqlDriver{} }

func (k *connector) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := k.db.openWriter(ctx)
	if err != nil {
		return nil, err
	}
	return &sqlConn{db: k.db, c: c}, nil
}

// Close is called by sql.DB.Close.
func (k *connector) Close() error {
	if k.owned {
		return k.db.Close()
	}
	k.db.mu.Lock()
	defer k.db.mu.Unlock()
	if !k.db.closing {
		k.db.sqlDB = nil // the next call of SQL makes a new one
	}
	return nil
}

// sqlConn is a connection of database/sql, which uses it from one goroutine at a time.
type sqlConn struct {
	db     *DB
	c      *conn // nil when closed
	locked bool  // it holds the write lock of db
}

var (
	_ driver.Conn               = (*sqlConn)(nil)
	_ driver.ConnPrepareContext = (*sqlConn)(nil)
	_ driver.ConnBeginTx        = (*sqlConn)(nil)
	_ driver.ExecerContext      = (*sqlConn)(nil)
	_ driver.QueryerContext     = (*sqlConn)(nil)
	_ driver.NamedValueChecker  = (*sqlConn)(nil)
	_ driver.Pinger             = (*sqlConn)(nil)
	_ driver.SessionResetter    = (*sqlConn)(nil)
	_ driver.Validator          = (*sqlConn)(nil)
)

// lock takes the write lock, unless the open transaction holds it already or can't write.
func (s *sqlConn) lock(ctx context.Context) error {
	if s.locked || s.c.readOnly {
		return nil
	}
	if err := s.db.lock.lock(ctx); err != nil {
		return err
	}
	s.locked = true
	return nil
}

// unlock gives the write lock back, unless a transaction goes on.
func (s *sqlConn) unlock() {
	if s.locked && !s.c.inTx {
		s.locked = false
		s.db.lock.unlock()
	}
}

// CheckNamedValue lets everything through: the binding knows more types than database/sql.
func (s *sqlConn) CheckNamedValue(*driver.NamedValue) error { return nil }

func (s *sqlConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.unlock()
	res, err := s.c.exec(ctx, text, plainArgs(args))
	if err != nil {
		return nil, err
	}
	return sqlResult{res}, nil
}

// plainArgs turns database/sql's arguments into ours.
func plainArgs(args []driver.NamedValue) []any {
	if len(args) == 0 {
		return nil
	}
	list := make([]any, len(args))
	for i, a := range args {
		list[i] = a.Value
		if a.Name != "" {
			list[i] = sql.Named(a.Name, a.Value)
		}
	}
	return list
}

func (s *sqlConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	if ctx.Err() != nil {
		return nil, ctxError(ctx)
	}
	if s.c.inTx {
		return nil, errNested
	}
	how := ctlBegin
	if !o.ReadOnly {
		how = ctlBeginImmediate
		if err := s.lock(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.begin(ctx, how); err != nil {
		s.unlock()
		return nil, err
	}
	s.c.managed, s.c.readOnly = true, o.ReadOnly
	return (*sqlTx)(s), nil
}

func (s *sqlConn) begin(ctx context.Context, how int) error {
	w := s.c.watch(ctx)
	defer w.end()
	return s.c.begin(ctx, how)
}

// Begin is there for the interface only; database/sql calls BeginTx.
func (s *sqlConn) Begin() (driver.Tx, error) {
	return s.BeginTx(context.Background(), driver.TxOptions{})
}

func (s *sqlConn) Ping(ctx context.Context) error {
	rows, err := s.QueryContext(ctx, "SELECT 1", nil)
	if err != nil {
		return err
	}
	return rows.Close()
}

// IsValid is asked when the connection goes back to the pool. A transaction
// that was left open must not keep the write lock there.
func (s *sqlConn) IsValid() bool {
	if s.c == nil {
		return false
	}
	s.abandon()
	return true
}

// ResetSession rolls back what the last user of the connection has left open.
func (s *sqlConn) ResetSession(context.Context) error {
	if s.c == nil {
		return driver.ErrBadConn
	}
	s.abandon()
	return nil
}

// abandon ends an open transaction and gives the write lock back.
func (s *sqlConn) abandon() {
	s.c.dropLive()
	s.c.rollback()
	s.c.managed, s.c.readOnly = false, false
	s.unlock()
}

func (s *sqlConn) Close() error {
	if s.c == nil {
		return nil
	}
	s.abandon()
	err := s.c.close()
	s.c = nil
	return fromEngine(context.Background(), err, "")
}

// sqlTx is an sqlConn in a transaction.
type sqlTx sqlConn

func (t *sqlTx) Commit() error {
	s := (*sqlConn)(t)
	defer s.abandon()
	s.c.dropLive()
	return s.c.commit()
}

func (t *sqlTx) Rollback() error {
	(*sqlConn)(t).abandon()
	return nil
}

// sqlResult is a Result with database/sql's methods.
type sqlResult struct{ r Result }

func (r sqlResult) LastInsertId() (int64, error) { return r.r.LastInsertID, nil }
func (r sqlResult) RowsAffected() (int64, error) { return r.r.RowsAffected, nil }
