package change

import (
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// facts are what the authorizer tells about a statement when it is prepared.
type facts struct {
	loaded int      // which reading of the schema they were gathered under
	off    bool     // and whether triggers were off
	writes []string // tables written, by triggers too
	direct []string // tables, views and virtual tables named by the statement itself
	steps  []step   // writes by triggers
	finds  bool     // updates or deletes rows
	update bool     // is an UPDATE
	ddlFacts
	pragma string
	vacuum bool
	plain  bool      // was checked, and need not be again
	view   bool      // direct target is a view
	vtab   *relation // direct target is a virtual table
	uses   int       // how often it was run
	fired
}

// ddlFacts are what is known of a statement that changes the schema of main.
type ddlFacts struct {
	ddl    bool   // it does
	create string // the object that a CREATE makes
	kind   DDLKind
	ctas   bool   // CREATE TABLE … AS SELECT
	drops  string // the table that a DROP TABLE removes
	on     string // the table that an index, a trigger or an ALTER TABLE is about
	module string // of a new virtual table
}

// fired says which triggers belong to a statement.
type fired struct{ guards, others bool }

// step is a write by a trigger.
type step struct{ trigger, table string }

// observe is the authorizer's callback. It listens, and denies only settings
// that would undermine the capture.
func (k *Capture) observe(a sqlite.Action) sqlite.Verdict {
	if k.opt.Authorize != nil {
		if v := k.opt.Authorize(a); v != sqlite.Allow {
			return v
		}
	}
	if a.Code == sqlite.ActPragma && undermines(strings.ToLower(a.Arg1), strings.ToLower(a.Arg2)) {
		return sqlite.Deny
	}
	f := k.gather
	if f == nil {
		return sqlite.Allow
	}
	f.guards = f.guards || hasPrefixFold(a.Trigger, guardPrefix)
	f.others = f.others || a.Trigger != "" && !hasPrefixFold(a.Trigger, guardPrefix)
	main := a.DB == "main" || a.DB == ""
	switch a.Code {
	case sqlite.ActInsert, sqlite.ActUpdate, sqlite.ActDelete:
		if !main {
			break
		}
		f.writes = appendNew(f.writes, a.Arg1)
		if a.Trigger == "" {
			f.direct = appendNew(f.direct, a.Arg1)
			f.finds = f.finds || a.Code != sqlite.ActInsert
			f.update = f.update || a.Code == sqlite.ActUpdate
		} else {
			f.steps = append(f.steps, step{a.Trigger, a.Arg1})
		}
	case sqlite.ActAlterTable:
		f.schemaChange(a.Arg1 == "main", "", DDLOther)
		f.on = a.Arg2
	default:
		if main && !hasPrefixFold(a.Arg1, "sqlite_") { // statistics are the file's own
			f.observeSchema(a)
		}
	}
	return sqlite.Allow
}

// undermines reports whether a setting would let writes past the capture, or
// past what the server checks.
func undermines(pragma, value string) bool {
	switch pragma {
	case "foreign_keys":
		return slices.Contains([]string{"0", "off", "no", "false"}, value)
	case "writable_schema":
		return value != "" && !slices.Contains([]string{"0", "off", "no", "false"}, value)
	case "journal_mode":
		return value != "" && value != "wal"
	}
	return false
}

func (f *facts) observeSchema(a sqlite.Action) {
	switch a.Code {
	case sqlite.ActCreateTable:
		f.schemaChange(true, a.Arg1, DDLCreateTable)
	case sqlite.ActCreateIndex:
		f.schemaChange(true, a.Arg1, DDLCreateIndex)
		f.on = a.Arg2
	case sqlite.ActCreateTrigger:
		f.schemaChange(true, a.Arg1, DDLOther)
		f.on = a.Arg2
	case sqlite.ActCreateVTable:
		f.module = strings.ToLower(a.Arg2)
		f.schemaChange(true, a.Arg1, DDLOther)
	case sqlite.ActCreateView:
		f.schemaChange(true, a.Arg1, DDLOther)
	case sqlite.ActDropTable, sqlite.ActDropVTable:
		f.schemaChange(true, "", DDLOther)
		f.drops = a.Arg1
	case sqlite.ActDropIndex, sqlite.ActDropView, sqlite.ActDropTrigger:
		f.schemaChange(true, "", DDLOther)
	case sqlite.ActPragma:
		f.pragma = strings.ToLower(a.Arg1)
	case sqlite.ActSelect:
		f.ctas = f.ddl && f.kind == DDLCreateTable
	}
}

func (f *facts) schemaChange(main bool, create string, kind DDLKind) {
	if !main {
		return
	}
	if !f.ddl {
		f.create, f.kind = create, kind
	}
	f.ddl = true
}

// appendNew appends s unless it is there already.
func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// facts returns what is known of a statement.
func (k *Capture) facts(st *sqlite.Stmt) (*facts, error) {
	if f, ok := st.Tag.(*facts); ok && f.loaded == k.schema.loaded && f.off == k.off {
		return f, nil
	}
	f, err := k.probe(st)
	if err != nil {
		return nil, err
	}
	f.vacuum = isVacuum(st.SQL())
	if !f.ddl {
		for _, name := range f.direct {
			switch r := k.schema.find(name); {
			case r == nil:
			case r.kind == relView:
				f.view = true
			case r.kind == relVirtual:
				f.vtab = r
			}
		}
	}
	st.Tag = f
	return f, nil
}

// probe prepares a statement once more: the authorizer speaks only then.
func (k *Capture) probe(st *sqlite.Stmt) (*facts, error) {
	f := &facts{loaded: k.schema.loaded, off: k.off}
	k.gather = f
	probe, _, err := k.conn.Prepare(st.SQL())
	k.gather = nil
	if err != nil {
		return nil, err
	}
	probe.Finalize()
	return f, nil
}
