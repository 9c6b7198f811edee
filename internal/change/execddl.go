package change

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// script runs a statement on a virtual table.
func (x *Executor) script(e *Event) error {
	st, tail, err := x.conn.Prepare(e.SQL)
	if err != nil {
		return x.refuseRead(e, err)
	}
	if st == nil || strings.TrimSpace(tail) != "" {
		return x.reject(e, "schema", "not one statement", nil)
	}
	defer st.Finalize()
	f, err := x.cap.facts(st)
	if err != nil {
		return x.refuseRead(e, err)
	}
	if f.ddl || f.vtab == nil || f.pragma != "" || st.ReadOnly() {
		return x.reject(e, "schema", "not a write to a virtual table", nil)
	}
	if st.BindCount() != len(e.Args) {
		return x.reject(e, "schema", fmt.Sprintf("%d arguments for %d parameters", len(e.Args), st.BindCount()), nil)
	}
	if err := bindAll(st, 1, e.Args); err != nil {
		return err
	}
	refused, err := x.do(st)
	if err != nil {
		return err
	}
	if refused != nil {
		return x.reject(e, refusalKind(refused), refused.Message, nil)
	}
	return nil
}

// ddl runs a schema change. What was done already, by another replica, in the
// same words, is done.
func (x *Executor) ddl(e *Event) error {
	if done, err := x.ddlDone(e); err != nil {
		return err
	} else if done {
		x.note(wire.OpNoop, 0)
		return nil
	}
	st, tail, err := x.conn.Prepare(e.SQL)
	if err != nil {
		if benign(e.SQL, err) {
			x.retable(retabled(e.SQL))
			x.note(wire.OpNoop, 0)
			return nil
		}
		return x.refuseRead(e, err)
	}
	if st == nil || strings.TrimSpace(tail) != "" {
		return x.reject(e, "schema", "not one statement", nil)
	}
	defer st.Finalize()
	f, err := x.cap.facts(st)
	if err != nil {
		return x.refuseRead(e, err)
	}
	if !f.ddl {
		return x.reject(e, "schema", "not a schema change", nil)
	}
	t := retabled(e.SQL)
	if r := x.cap.schema.find(t.from); r != nil {
		t.from = r.Name
	}
	along, err := x.takenAlong(t)
	if err != nil {
		return err
	}
	refused, err := x.do(st)
	if err != nil {
		return err
	}
	if refused != nil {
		return x.reject(e, refusalKind(refused), refused.Message, nil)
	}
	x.retable(t)
	for _, c := range along {
		if err := x.Conflict(c); err != nil {
			return err
		}
	}
	return nil
}

// ddlDone reports whether the object that a CREATE makes is there, in the same
// words.
func (x *Executor) ddlDone(e *Event) (bool, error) {
	if !hasPrefixFold(e.SQL, "create") || e.Name == "" {
		return false, nil
	}
	have, err := x.conn.QueryText("SELECT coalesce(sql,'') FROM main.sqlite_schema WHERE name=? COLLATE NOCASE", sqlite.Text(e.Name))
	if errors.Is(err, sqlite.ErrNoRow) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("change: look for %s: %w", e.Name, err)
	}
	return sameDDL(have, e.SQL), nil
}

// benign tells a schema change that somebody else made first.
func benign(sql string, err error) bool {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return false
	}
	switch {
	case hasPrefixFold(sql, "drop"):
		return strings.Contains(se.Message, "no such ")
	case hasPrefixFold(sql, "alter"):
		return strings.Contains(se.Message, "duplicate column name")
	}
	return false
}
