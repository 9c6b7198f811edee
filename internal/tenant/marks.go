package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/history"
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

// unmarked is the pages of a database that are others without the table of
// Turso's marks.
type unmarked struct {
	size  uint32 // of the database, in pages
	pages map[uint32][]byte
}

// unmark takes the table of Turso's marks out of a database as it was at a
// revision, in memory. It leaves pages that hold nothing, as if the table had been
// dropped.
func (m *Manager) unmark(ctx context.Context, id history.DBID, head history.Head) (*unmarked, error) {
	u := &unmarked{size: head.DBSize, pages: map[uint32][]byte{}}
	if head.DBSize == 0 {
		return u, nil
	}
	var format [2]byte // page 1 says whether there is a WAL
	img := &sqlite.Image{Pages: head.DBSize, Read: func(no uint32) ([]byte, error) {
		if p := u.pages[no]; p != nil {
			return p, nil
		}
		p, err := m.cfg.Store.Page(ctx, id, no, head.Seq)
		if err == nil && no == 1 {
			p = slices.Clone(p)
			copy(format[:], p[formatAt:])
			p[formatAt], p[formatAt+1] = 1, 1
		}
		return p, err
	}, Write: func(no uint32, page []byte) { u.pages[no] = slices.Clone(page) }}
	err := m.dropMarks(img)
	if img.Err != nil {
		return nil, translate(img.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("tenant: take the marks out: %w", err)
	}
	if one := u.pages[1]; one != nil {
		copy(one[formatAt:], format[:])
	}
	u.size = img.Pages
	return u, nil
}

// dropMarks drops the table of Turso's marks from an image. What it held isn't
// left in it.
func (m *Manager) dropMarks(img *sqlite.Image) error {
	conn, err := sqlite.OpenImage(img, sqlite.Options{Temp: m.tempSpace()})
	if err != nil {
		return err
	}
	err = conn.Exec("PRAGMA journal_mode=MEMORY; PRAGMA secure_delete=ON; DROP TABLE IF EXISTS main." + turso.MarkTable)
	return errors.Join(err, conn.Close())
}
