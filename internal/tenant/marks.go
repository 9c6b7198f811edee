package tenant

import (
	"strings"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/turso"
)

// isMarks reports whether a name is that of the table of Turso's marks, or of its
// index.
func isMarks(name string) bool {
	const index, suffix = "sqlite_autoindex_", "_1"
	if len(name) > len(turso.MarkTable) && strings.EqualFold(name, index+turso.MarkTable+suffix) {
		return true
	}
	return strings.EqualFold(name, turso.MarkTable)
}

// hidden decides on actions on what nobody but the server has to do with: its
// marks, and tables that are the file's bytes. It reports false if there is
// nothing to decide. What a push does, and what its triggers do, is a client's,
// too.
func (g *guest) hidden(a sqlite.Action) (sqlite.Verdict, bool) {
	if g.marking {
		return 0, false
	}
	table := a.Arg1
	switch a.Code {
	case sqlite.ActRead:
		if g.active && strings.EqualFold(table, "sqlite_dbpage") {
			return g.missing(table), true
		}
		if g.asks {
			return 0, false
		}
	case sqlite.ActInsert, sqlite.ActUpdate, sqlite.ActDelete, sqlite.ActDropTable:
	case sqlite.ActAlterTable, sqlite.ActCreateIndex, sqlite.ActCreateTrigger:
		table = a.Arg2
	case sqlite.ActAnalyze:
		return sqlite.Ignore, isMarks(table)
	case sqlite.ActPragma:
		return sqlite.Ignore, g.active && isMarks(a.Arg2)
	case sqlite.ActCreateTable, sqlite.ActCreateView, sqlite.ActCreateVTable:
		if isMarks(table) {
			return g.deny("names that begin with " + change.TursoPrefix + " are those of Turso's sync clients"), true
		}
		return 0, false
	default:
		return 0, false
	}
	if !isMarks(table) {
		return 0, false
	}
	return g.missing(turso.MarkTable), true
}

// missing denies something as if the table were not there.
func (g *guest) missing(table string) sqlite.Verdict {
	g.denied, g.lacks = "no such table: "+table, true
	return sqlite.Deny
}

// marksDo calls fn, in which the server uses the marks.
func (d *database) marksDo(fn func() error) error {
	d.guest.marking = true
	defer func() { d.guest.marking = false }()
	return fn()
}
