package proof

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// broken returns what is wrong with a file's content in itself: children at
// wrong parents, triggers that took effect twice or never.
func (s *schema) broken(path string) (out []string, err error) {
	c, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	ask := func(what, text string) {
		rows, qerr := query(c, text)
		err = errors.Join(err, qerr)
		for _, r := range rows {
			out = append(out, what+": "+strings.Join(r, " "))
		}
	}
	for _, t := range s.tables {
		if p := t.parent; p != nil && !p.natural {
			ask(t.name+" hangs on a wrong parent", fmt.Sprintf("SELECT c.tok, c.ptok, p.tok FROM %s c JOIN %s p ON c.%s = p.id WHERE c.ptok IS NOT p.tok", t.name, p.name, t.refs()[0]))
		}
		if ch := t.counts; ch != nil {
			ask(t.name+" counts its children wrong", fmt.Sprintf("SELECT tok, n, k FROM (SELECT p.tok, p.n, (SELECT count(*) FROM %s c WHERE c.%s = p.%s) AS k FROM %s p) WHERE n <> k",
				ch.name, ch.refs()[0], t.key()[0], t.name))
		}
		if t.log && !t.natural {
			ask(t.name+" logged wrongly", fmt.Sprintf("SELECT tok, (SELECT count(*) FROM log l WHERE l.tok = t.tok) AS k FROM %s t WHERE k <> 1", t.name))
		}
	}
	ask("logged twice", "SELECT tok, count(*) FROM log GROUP BY tok HAVING count(*) > 1")
	return out, err
}

// strayed returns the rows of a file that only pushed whose number is not theirs
// on the server: it belongs to another row there, or to none.
func (s *schema) strayed(own, server string) (out []string, err error) {
	c, err := sqlite.Open(own, sqlite.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.ExecArgs("ATTACH ? AS server", sqlite.Text(server)); err != nil {
		return nil, err
	}
	names := []string{s.fts}
	for _, t := range s.tables {
		if t.kind == keyRowID || t.kind == keyAuto || t.kind == keyNone {
			names = append(names, t.name)
		}
	}
	for _, name := range names {
		if name == "" {
			continue
		}
		rows, qerr := query(c, fmt.Sprintf("SELECT o.rowid, o.tok, s.tok FROM main.%[1]s o LEFT JOIN server.%[1]s s ON s.rowid = o.rowid WHERE o.rowid > -(1 << 62) AND s.tok IS NOT o.tok", name))
		err = errors.Join(err, qerr)
		for _, r := range rows {
			out = append(out, name+" strayed: "+strings.Join(r, " "))
		}
	}
	return out, err
}

// TestHarness lets the random statements run on plain local files: what the
// other tests demand of replicas must be true of one file first.
func TestHarness(t *testing.T) {
	for i := range uint64(12) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			testHarness(t, baseSeed()+i)
		})
	}
}

func testHarness(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := randomSchema(rng)
	path := filepath.Join(t.TempDir(), "plain.db")
	db := opened(t, path, &agentdb.Options{Synchronous: "OFF"})
	for range 2 { // each statement may be repeated
		for _, d := range s.ddl() {
			exec(t, db, d)
		}
	}
	a := &actor{rng: rng, schema: s, name: "a"}
	m := newModel()
	done := 0
	for range 150 {
		var rec record
		err := db.Update(t.Context(), func(tx *agentdb.Tx) error {
			rec = record{}
			return a.transaction(t.Context(), tx, &rec)
		})
		if err == nil {
			m.commit(&rec)
			m.push(&rec)
			done++
		} else if !errors.Is(err, errRollback) && !refused(err) {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	st := inspect(t, path)
	wrong, err := s.broken(path)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := s.look(context.Background(), db)
	if err != nil {
		t.Fatal(err)
	}
	wrong = append(append(wrong, m.missing(st)...), m.stale(snap)...)
	for _, w := range wrong {
		t.Errorf("seed %d: %s", seed, w)
	}
	if done < 60 || len(m.born) < 30 {
		t.Errorf("seed %d: only %d transactions and %d rows", seed, done, len(m.born))
	}
	if t.Failed() {
		t.Log(strings.Join(s.ddl(), ";\n"))
	}
}
