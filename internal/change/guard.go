package change

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// guardFunc is the function that guard triggers would call. Only agentdb's own
// connections have it, so that a write by another program fails, when it is
// prepared, with "no such function: agentdb_write_through_agentdb_only". The
// triggers never run it: that costs less with every row.
const guardFunc = "agentdb_write_through_agentdb_only"

const guardPrefix = Prefix + "guard_"

// guardedOps are what guards protect a table from.
var guardedOps = [...]string{"insert", "update", "delete"}

// guardable reports whether a table is one that guards protect.
func (k *Capture) guardable(name string) bool {
	r := k.schema.rels[name]
	return r != nil && r.kind == relTable && !r.skip
}

// Guarded reports whether err is that of a connection which may not write to
// guarded tables, and tried.
func Guarded(err *sqlite.Error) bool {
	return err.Message == "no such function: "+guardFunc
}

// AllowGuarded lets a connection write to guarded tables.
func AllowGuarded(c *sqlite.Conn) error {
	return c.CreateFunction(guardFunc, 0, true, func([]sqlite.Value) (sqlite.Value, error) {
		return sqlite.Null(), nil
	})
}

// Guard creates the guard triggers that are missing and drops those whose
// table is gone. They are the client file's own and never synced.
func (k *Capture) Guard() error {
	if err := k.schema.refresh(); err != nil {
		return err
	}
	return k.guard()
}

func (k *Capture) guard() error {
	if !k.opt.Guard {
		return nil
	}
	have, err := k.guards()
	if err != nil {
		return err
	}
	gather, suspended := k.gather, k.suspended
	k.gather, k.suspended = nil, true
	defer func() { k.gather, k.suspended = gather, suspended }()
	for _, r := range k.schema.rels {
		if r.skip || r.kind != relTable {
			continue
		}
		for _, op := range guardedOps {
			name := guardName(r.Name, op)
			if have[name] == r.Name {
				delete(have, name)
				continue
			}
			sql := fmt.Sprintf("CREATE TRIGGER %s AFTER %s ON %s WHEN 0 BEGIN SELECT %s(); END", quote(name), op, quote(r.Name), guardFunc)
			if have[name] != "" {
				sql = "DROP TRIGGER " + quote(name) + ";" + sql
				delete(have, name)
			}
			if err := k.conn.Exec(sql); err != nil {
				return fmt.Errorf("change: guard %s: %w", r.Name, err)
			}
		}
	}
	for name := range have {
		if err := k.conn.Exec("DROP TRIGGER " + quote(name)); err != nil {
			return fmt.Errorf("change: drop guard: %w", err)
		}
	}
	return k.schema.refreshTriggers()
}

// passAfter is how often a statement is run before it is worth to be compiled
// without guards.
const passAfter = 16

// passGuards makes a statement pass the guards if there is no other trigger that
// it fires: SQLite would open a journal and a frame for every row just to find
// that there is nothing to run.
func (k *Capture) passGuards(st *sqlite.Stmt) error {
	f, err := k.probe(st)
	if err != nil || !f.guards || f.others {
		return err
	}
	return st.PassTriggers()
}

// guards returns the guard triggers that there are, with their tables.
func (k *Capture) guards() (map[string]string, error) {
	st, err := k.conn.Cached("SELECT name, tbl_name FROM main.sqlite_schema WHERE type='trigger'")
	if err != nil {
		return nil, fmt.Errorf("change: read guards: %w", err)
	}
	defer st.Done()
	m := map[string]string{}
	for {
		row, err := st.Step()
		if err != nil {
			return nil, fmt.Errorf("change: read guards: %w", err)
		}
		if !row {
			return m, nil
		}
		if name := st.ColumnText(0); strings.HasPrefix(name, guardPrefix) {
			m[name] = st.ColumnText(1)
		}
	}
}

// guardName is the same for a table whatever else the schema holds.
func guardName(table, op string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.ToLower(table)))
	return fmt.Sprintf("%s%s_%016x", guardPrefix, op, h.Sum64())
}
