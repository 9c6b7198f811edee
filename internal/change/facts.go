package change

import (
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// facts are what the authorizer tells about a statement when it is prepared.
type facts struct {
	version int64    // of the schema they were gathered under
	writes  []string // tables written, by triggers too
	direct  []string // tables, views and virtual tables named by the statement itself
	ddl     bool     // changes the schema of main
	create  string   // the object that a CREATE makes
	kind    DDLKind
	ctas    bool   // CREATE TABLE … AS SELECT
	drops   string // the table that a DROP TABLE removes
	pragma  string
	vacuum  bool
	plain   bool      // was checked, and need not be again
	view    bool      // direct target is a view
	vtab    *relation // direct target is a virtual table
}

// observe is the authorizer's callback. It only listens, and denies nothing.
func (k *Capture) observe(a sqlite.Action) bool {
	f := k.gather
	if f == nil {
		return true
	}
	main := a.DB == "main" || a.DB == ""
	switch a.Code {
	case sqlite.ActInsert, sqlite.ActUpdate, sqlite.ActDelete:
		if !main {
			break
		}
		f.writes = appendNew(f.writes, a.Arg1)
		if a.Trigger == "" {
			f.direct = appendNew(f.direct, a.Arg1)
		}
	case sqlite.ActCreateTable:
		f.schemaChange(main, a.Arg1, DDLCreateTable)
	case sqlite.ActCreateIndex:
		f.schemaChange(main, a.Arg1, DDLCreateIndex)
	case sqlite.ActCreateView, sqlite.ActCreateTrigger, sqlite.ActCreateVTable:
		f.schemaChange(main, a.Arg1, DDLOther)
	case sqlite.ActDropTable, sqlite.ActDropVTable:
		f.schemaChange(main, "", DDLOther)
		f.drops = a.Arg1
	case sqlite.ActDropIndex, sqlite.ActDropView, sqlite.ActDropTrigger:
		f.schemaChange(main, "", DDLOther)
	case sqlite.ActAlterTable:
		f.schemaChange(a.Arg1 == "main", "", DDLOther)
	case sqlite.ActPragma:
		f.pragma = strings.ToLower(a.Arg1)
	case sqlite.ActSelect:
		f.ctas = f.ddl && f.kind == DDLCreateTable
	}
	return true
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

// facts returns what is known of a statement, preparing it once more if need
// be: the authorizer speaks only then.
func (k *Capture) facts(st *sqlite.Stmt) (*facts, error) {
	if f, ok := st.Tag.(*facts); ok && f.version == k.schema.version {
		return f, nil
	}
	f := &facts{version: k.schema.version}
	k.gather = f
	probe, _, err := k.conn.Prepare(st.SQL())
	k.gather = nil
	if err != nil {
		return nil, err
	}
	probe.Finalize()
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
