package proof

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/agentdb/agentdb"
)

// actor makes the random statements of one replica.
type actor struct {
	rng    *rand.Rand
	schema *schema
	name   string
	tokens int
}

// statement is one random statement.
type statement struct {
	sql  string
	args []any
	blur bool // the model of "last push wins" doesn't follow it
}

func (a *actor) chance(n int) bool { return a.rng.IntN(n) == 0 }

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// token is a new name for a row. No token is part of another.
func (a *actor) token() string {
	a.tokens++
	return fmt.Sprintf("<%s-%d>", a.name, a.tokens)
}

func (a *actor) words() string {
	n := 1 + a.rng.IntN(3)
	out := make([]string, n)
	for i := range out {
		out[i] = pick(a.rng, words)
	}
	return strings.Join(out, " ")
}

// value is anything that a column may hold.
func (a *actor) value() any {
	switch a.rng.IntN(12) {
	case 0:
		return nil
	case 1:
		return int64(math.MaxInt64)
	case 2:
		return int64(math.MinInt64)
	case 3:
		return a.rng.NormFloat64()
	case 4:
		return []byte{}
	case 5:
		return []byte{0, 1, 0xff, byte(a.rng.IntN(256))}
	case 6:
		return "nul\x00" + a.words()
	case 7:
		return strings.Repeat(a.words(), 1+a.rng.IntN(2000))
	}
	return int64(a.rng.IntN(1000))
}

// row is an existing row: the columns of its key, and its token.
type row struct {
	key []any
	tok string
}

func (a *actor) anyRow(ctx context.Context, q agentdb.Querier, t *table) (*row, error) {
	cols := strings.Join(append([]string{"tok"}, t.key()...), ", ")
	n, err := agentdb.Get[int](ctx, q, "SELECT count(*) FROM "+t.name)
	if err != nil || n == 0 {
		return nil, err
	}
	r, err := agentdb.Get[[]any](ctx, q, fmt.Sprintf("SELECT %s FROM %s ORDER BY tok LIMIT 1 OFFSET %d", cols, t.name, a.rng.IntN(n)))
	if err != nil {
		return nil, err
	}
	tok, _ := r[0].(string)
	return &row{key: r[1:], tok: tok}, nil
}

// newKey is a key for an insert; nil lets SQLite choose.
func (a *actor) newKey(t *table) []any {
	switch t.kind {
	case keyRowID, keyAuto:
		switch a.rng.IntN(10) {
		case 0:
			return []any{int64(1 + a.rng.IntN(40))}
		case 1:
			return []any{int64(1000 + a.rng.IntN(40))}
		}
	case keyText, keyTextWR:
		if a.chance(12) && t.kind == keyText {
			return []any{nil}
		}
		return []any{fmt.Sprintf("k%d", a.rng.IntN(25))}
	case keyPair, keyPairWR:
		k := []any{fmt.Sprintf("k%d", a.rng.IntN(6)), int64(a.rng.IntN(5))}
		if t.kind == keyPair && a.chance(5) {
			k[a.rng.IntN(2)] = nil
		}
		return k
	}
	return nil
}

// values returns the columns and values of a new row, or none if it needs a
// parent and there is none.
func (a *actor) values(ctx context.Context, q agentdb.Querier, t *table) (cols []string, args []any, err error) {
	if key := a.newKey(t); key != nil {
		cols, args = append(cols, t.key()...), append(args, key...)
	}
	cols, args = append(cols, "tok", "a", "b"), append(args, a.token(), a.value(), a.words())
	if t.policy != "" && a.chance(8) {
		args[len(args)-1] = "forbidden"
	}
	if t.unique && !a.chance(3) {
		cols, args = append(cols, "u"), append(args, int64(a.rng.IntN(60)))
	}
	if t.check {
		cols, args = append(cols, "c", "d"), append(args, int64(a.rng.IntN(60)), int64(a.rng.IntN(60)))
	}
	if t.parent != nil {
		p, err := a.anyRow(ctx, q, t.parent)
		if err != nil {
			return nil, nil, err
		}
		if p == nil || hasNull(p.key) {
			if t.kind == keyOne {
				return nil, nil, nil
			}
			return cols, args, nil
		}
		cols, args = append(append(cols, t.refs()...), "ptok"), append(append(args, p.key...), p.tok)
	}
	return cols, args, nil
}

func hasNull(vs []any) bool {
	for _, v := range vs {
		if v == nil {
			return true
		}
	}
	return false
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// mayReplace reports whether REPLACE keeps the schema's own invariants: the
// deletes that it implies fire no triggers, and children move to the new row.
func (s *schema) mayReplace(t *table) bool {
	if t.fts || t.parent == t {
		return false
	}
	for _, o := range s.tables {
		if o.counts == t {
			return false
		}
		if o.parent == t && o.onDelete != "CASCADE" && o.onDelete != "SET NULL" {
			return false
		}
		if o.parent == t && (o.fts || o.kind == keyOne) {
			return false
		}
	}
	return true
}

// movable reports whether keys of the table may change under its children.
func (s *schema) movable(t *table) bool {
	if len(t.key()) == 0 || t.kind == keyOne || t.counts != nil {
		return false
	}
	for _, o := range s.tables {
		if o.parent == t && (o.onUpdate != "CASCADE" || o.kind == keyOne) {
			return false
		}
		if o.counts != nil && o.counts.parent == t {
			return false
		}
	}
	return true
}

// statement makes up a statement; its sql is empty if there is nothing to do.
func (a *actor) statement(ctx context.Context, q agentdb.Querier) (statement, error) {
	t := pick(a.rng, a.schema.tables)
	switch n := a.rng.IntN(100); {
	case n < 38:
		return a.insert(ctx, q, t)
	case n < 60:
		return a.update(ctx, q, t)
	case n < 68:
		return a.remove(ctx, q, t)
	case n < 74:
		return a.constrained(ctx, q, t)
	case n < 80:
		return a.move(ctx, q, t)
	case n < 84:
		return a.many(t)
	case n < 92:
		return a.throughView(ctx, q)
	}
	return a.fullText(ctx, q)
}

func (a *actor) insert(ctx context.Context, q agentdb.Querier, t *table) (statement, error) {
	cols, args, err := a.values(ctx, q, t)
	if err != nil || cols == nil {
		return statement{}, err
	}
	verb, tail, blur := "INSERT", "", false
	switch n := a.rng.IntN(12); {
	case n == 0 && a.schema.mayReplace(t):
		verb, blur = "REPLACE", true
	case n == 1:
		verb = "INSERT OR IGNORE"
	case n == 2:
		verb = "INSERT OR FAIL"
	case n == 3 && len(t.key()) > 0:
		tail, blur = fmt.Sprintf(" ON CONFLICT (%s) DO UPDATE SET a = excluded.a", strings.Join(t.key(), ", ")), true
	case n == 4 && t.kind != keyOne:
		if more, margs, err := a.values(ctx, q, t); err == nil && len(more) == len(cols) && strings.Join(more, ",") == strings.Join(cols, ",") {
			tail, args = ", ("+marks(len(cols))+")", append(args, margs...)
		}
	case n == 5:
		tail = " RETURNING tok"
	}
	sql := fmt.Sprintf("%s INTO %s (%s) VALUES (%s)%s", verb, t.name, strings.Join(cols, ", "), marks(len(cols)), tail)
	return statement{sql: sql, args: args, blur: blur || t.replace}, nil
}

func (a *actor) update(ctx context.Context, q agentdb.Querier, t *table) (statement, error) {
	r, err := a.anyRow(ctx, q, t)
	if err != nil || r == nil {
		return statement{}, err
	}
	switch a.rng.IntN(4) {
	case 0:
		return statement{sql: "UPDATE " + t.name + " SET a = ?, b = ? WHERE tok = ?", args: []any{a.value(), a.words(), r.tok}}, nil
	case 1:
		return statement{sql: "UPDATE " + t.name + " SET b = ? WHERE tok = ?", args: []any{a.words(), r.tok}}, nil
	case 2:
		if len(r.key) == 1 {
			return statement{sql: "UPDATE " + t.name + " SET a = ? WHERE " + t.key()[0] + " IS ?", args: []any{a.value(), r.key[0]}}, nil
		}
	}
	return statement{sql: "UPDATE " + t.name + " SET a = ? WHERE tok = ?", args: []any{a.value(), r.tok}}, nil
}

func (a *actor) remove(ctx context.Context, q agentdb.Querier, t *table) (statement, error) {
	r, err := a.anyRow(ctx, q, t)
	if err != nil || r == nil {
		return statement{}, err
	}
	return statement{sql: "DELETE FROM " + t.name + " WHERE tok = ?", args: []any{r.tok}}, nil
}

// constrained changes a column that a constraint may refuse.
func (a *actor) constrained(ctx context.Context, q agentdb.Querier, t *table) (statement, error) {
	r, err := a.anyRow(ctx, q, t)
	if err != nil || r == nil {
		return statement{}, err
	}
	switch {
	case t.check && a.chance(2):
		return statement{sql: fmt.Sprintf("UPDATE %s SET %s = ? WHERE tok = ?", t.name, pick(a.rng, []string{"c", "d"})), args: []any{int64(a.rng.IntN(70)), r.tok}}, nil
	case t.unique:
		return statement{sql: "UPDATE " + t.name + " SET u = ? WHERE tok = ?", args: []any{int64(a.rng.IntN(60)), r.tok}, blur: t.replace}, nil
	case t.parent != nil && t.kind != keyOne:
		p, err := a.anyRow(ctx, q, t.parent)
		if err != nil || p == nil || hasNull(p.key) {
			return statement{}, err
		}
		sets := strings.Join(t.refs(), " = ?, ") + " = ?, ptok = ?"
		return statement{sql: fmt.Sprintf("UPDATE %s SET %s WHERE tok = ?", t.name, sets), args: append(append(p.key, p.tok), r.tok)}, nil
	}
	return statement{}, nil
}

// move changes a row's key.
func (a *actor) move(ctx context.Context, q agentdb.Querier, t *table) (statement, error) {
	if !a.schema.movable(t) {
		return statement{}, nil
	}
	r, err := a.anyRow(ctx, q, t)
	if err != nil || r == nil {
		return statement{}, err
	}
	key := a.newKey(t)
	if key == nil {
		key = []any{int64(1 + a.rng.IntN(60))}
	}
	sets := strings.Join(t.key(), " = ?, ") + " = ?"
	return statement{sql: fmt.Sprintf("UPDATE %s SET %s WHERE tok = ?", t.name, sets), args: append(key, r.tok)}, nil
}

// many changes or deletes several rows at once.
func (a *actor) many(t *table) (statement, error) {
	m := 2 + a.rng.IntN(4)
	if a.chance(5) {
		return statement{sql: fmt.Sprintf("DELETE FROM %s WHERE length(b) %% %d = 0", t.name, m+5)}, nil
	}
	if a.chance(25) {
		return statement{sql: "DELETE FROM " + t.name}, nil
	}
	return statement{sql: fmt.Sprintf("UPDATE %s SET a = ? WHERE length(tok) %% %d = 0", t.name, m), args: []any{int64(a.rng.IntN(1000))}}, nil
}

func (a *actor) throughView(ctx context.Context, q agentdb.Querier) (statement, error) {
	for _, t := range a.schema.tables {
		if !t.view || a.chance(2) {
			continue
		}
		r, err := a.anyRow(ctx, q, t)
		if err != nil {
			return statement{}, err
		}
		switch {
		case a.chance(2) || r == nil:
			cols, args := append([]string{}, t.key()...), a.newKey(t)
			if args == nil {
				cols = nil
			}
			cols, args = append(cols, "tok", "a", "b"), append(args, a.token(), a.value(), a.words())
			return statement{sql: fmt.Sprintf("INSERT INTO %s_v (%s) VALUES (%s)", t.name, strings.Join(cols, ", "), marks(len(cols))), args: args}, nil
		case a.chance(4):
			return statement{sql: fmt.Sprintf("DELETE FROM %s_v WHERE tok = ?", t.name), args: []any{r.tok}}, nil
		}
		return statement{sql: fmt.Sprintf("UPDATE %s_v SET a = ? WHERE tok = ?", t.name), args: []any{a.value(), r.tok}}, nil
	}
	return statement{}, nil
}

// fullText writes to the full text table that has content of its own, or asks
// an index to tidy itself.
func (a *actor) fullText(ctx context.Context, q agentdb.Querier) (statement, error) {
	f := a.schema.fts
	if f == "" || a.chance(4) {
		for _, t := range a.schema.tables {
			if t.fts {
				return statement{sql: fmt.Sprintf("INSERT INTO %s_fts(%s_fts) VALUES ('optimize')", t.name, t.name)}, nil
			}
		}
		return statement{}, nil
	}
	n, err := agentdb.Get[int](ctx, q, "SELECT count(*) FROM "+f)
	if err != nil {
		return statement{}, err
	}
	if n == 0 || a.chance(2) {
		return statement{sql: "INSERT INTO " + f + "(tok, body) VALUES (?, ?)", args: []any{a.token(), a.words()}}, nil
	}
	id, err := agentdb.Get[int64](ctx, q, fmt.Sprintf("SELECT rowid FROM %s ORDER BY tok LIMIT 1 OFFSET %d", f, a.rng.IntN(n)))
	if err != nil {
		return statement{}, err
	}
	if a.chance(3) {
		return statement{sql: "DELETE FROM " + f + " WHERE rowid = ?", args: []any{id}}, nil
	}
	return statement{sql: "UPDATE " + f + " SET body = ? WHERE rowid = ?", args: []any{a.words(), id}}, nil
}

var errRollback = errors.New("rolled back on purpose")

// rolledBack reports whether SQLite has undone the whole transaction, or the
// statement, because of the data: any of that may happen to a random statement.
func refused(err error) bool {
	var e *agentdb.Error
	return errors.As(err, &e) && e.Primary() == 19 || // SQLITE_CONSTRAINT
		err != nil && strings.Contains(err.Error(), "delete that row first") // see TestReplaceOfOwnParent
}

// transaction runs random statements in tx and says in rec what they did.
func (a *actor) transaction(ctx context.Context, tx *agentdb.Tx, rec *record) error {
	snap, err := a.schema.look(ctx, tx)
	if err != nil {
		return err
	}
	type point struct {
		rec  record
		snap snapshot
	}
	var saved []point
	for range 1 + a.rng.IntN(4) {
		switch {
		case a.chance(10):
			if _, err := tx.Exec(ctx, fmt.Sprintf("SAVEPOINT s%d", len(saved))); err != nil {
				return err
			}
			saved = append(saved, point{rec.mark(), snap})
			rec.sql = append(rec.sql, "SAVEPOINT")
		case len(saved) > 0 && a.chance(3):
			n, sql := a.rng.IntN(len(saved)), rec.sql
			if _, err := tx.Exec(ctx, fmt.Sprintf("ROLLBACK TO s%d", n)); err != nil {
				return err
			}
			*rec, snap, saved = saved[n].rec, saved[n].snap, saved[:n+1]
			rec.sql = append(sql, fmt.Sprint("ROLLBACK TO the one at ", n))
		}
		if snap, err = a.step(ctx, tx, snap, rec); err != nil {
			return err
		}
	}
	if a.chance(15) {
		return errRollback
	}
	return nil
}

// step runs one random statement.
func (a *actor) step(ctx context.Context, tx *agentdb.Tx, before snapshot, rec *record) (snapshot, error) {
	st, err := a.statement(ctx, tx)
	if err != nil || st.sql == "" {
		return before, err
	}
	if strings.HasSuffix(st.sql, "RETURNING tok") {
		_, err = agentdb.All[string](ctx, tx, st.sql, st.args...)
	} else {
		_, err = tx.Exec(ctx, st.sql, st.args...)
	}
	if err != nil && !refused(err) {
		return nil, fmt.Errorf("%s: %w", st.sql, err)
	}
	rec.sql = append(rec.sql, fmt.Sprintf("%s %.60q %v", st.sql, st.args, err))
	after, lerr := a.schema.look(ctx, tx)
	if lerr != nil {
		return nil, errors.Join(err, lerr) // RAISE(ROLLBACK) leaves nothing to look at
	}
	rec.observe(before, after, st.blur)
	return after, nil
}
