package proof

import (
	"context"
	"fmt"
	"strings"

	"github.com/agentdb/agentdb"
)

// change is a random change of the schema.
type change struct {
	sql    string
	always bool   // it has to work offline too
	drops  string // the table whose rows it deletes
}

// extras are the tables that replicas make, rename and drop on their own.
func (a *actor) extras(ctx context.Context, q agentdb.Querier) ([]string, error) {
	return agentdb.All[string](ctx, q, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'extra%' ORDER BY name")
}

// migrate makes up a change of the schema. Replicas choose among few names, so
// that they often make the same one.
func (a *actor) migrate(ctx context.Context, q agentdb.Querier) (change, error) {
	extra, err := a.extras(ctx, q)
	if err != nil {
		return change{}, err
	}
	t := pick(a.rng, a.schema.tables).name
	one := fmt.Sprintf("extra%d", a.rng.IntN(3))
	switch n := a.rng.IntN(14); {
	case n < 3:
		return change{sql: fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (id INTEGER PRIMARY KEY, tok TEXT, x TEXT)", one), always: true}, nil
	case n < 5:
		return change{sql: fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s_b ON %s (b)", t, t), always: true}, nil
	case n < 8:
		return change{sql: fmt.Sprintf("ALTER TABLE %s ADD COLUMN x_%s_%d TEXT DEFAULT 'dflt'", t, a.name, a.rng.IntN(1000)), always: true}, nil
	case n == 8:
		return change{sql: fmt.Sprintf("DROP INDEX IF EXISTS %s_b", t)}, nil
	case n == 9:
		return change{sql: fmt.Sprintf("CREATE VIEW IF NOT EXISTS view_%s AS SELECT tok FROM %s", t, t)}, nil
	case n == 10:
		return change{sql: fmt.Sprintf("DROP VIEW IF EXISTS view_%s", t)}, nil
	case len(extra) == 0:
		return change{}, nil
	}
	name := pick(a.rng, extra)
	switch a.rng.IntN(3) {
	case 0:
		return change{sql: "DROP TABLE " + name, drops: name}, nil
	case 1:
		return change{sql: fmt.Sprintf("ALTER TABLE %s RENAME TO extra%d", name, 3+a.rng.IntN(3)), drops: name}, nil
	}
	return change{sql: fmt.Sprintf("ALTER TABLE %s RENAME COLUMN x TO y%d", name, a.rng.IntN(2)), drops: name}, nil
}

// writeExtra is a transaction on one of the extra tables, if there is any.
func (a *actor) writeExtra(ctx context.Context, tx *agentdb.Tx) (tok, table string, err error) {
	extra, err := a.extras(ctx, tx)
	if err != nil || len(extra) == 0 {
		return "", "", err
	}
	table = pick(a.rng, extra)
	if a.chance(3) {
		_, err = tx.Exec(ctx, "UPDATE "+table+" SET tok = tok WHERE id % 2 = 0")
		return "", "", err
	}
	tok = a.token()
	_, err = tx.Exec(ctx, "INSERT INTO "+table+" (tok) VALUES (?)", tok)
	return tok, table, err
}

// harmless reports whether a statement that changes the schema failed for a
// reason of the schema, as it would in any SQLite file.
func harmless(err error) bool {
	for _, s := range []string{"already", "no such", "duplicate column", "there is"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}
