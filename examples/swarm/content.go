package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"iter"
	"math"

	"github.com/agentdb/agentdb"
)

// content is what a file holds, in brief: equal for two files that hold the same.
type content struct {
	Hash      string // of all rows with their ids, of the full-text index and the schema
	Integrity string // what SQLite's integrity_check says
	Hits      int    // of the query
	Answer    []string
	Conflicts int
}

// readContent reads all of a database, in one snapshot.
func readContent(ctx context.Context, db *agentdb.DB, query string) (*content, error) {
	var c content
	err := db.View(ctx, func(tx *agentdb.Tx) (err error) {
		if c.Hash, err = contentHash(ctx, tx); err != nil {
			return err
		}
		if c.Integrity, err = agentdb.Get[string](ctx, tx, "PRAGMA integrity_check"); err != nil {
			return err
		}
		if c.Hits, err = agentdb.Get[int](ctx, tx, "SELECT count(*) FROM doc_index WHERE doc_index MATCH ?", query); err != nil {
			return err
		}
		if c.Answer, err = search(ctx, tx, query); err != nil {
			return err
		}
		c.Conflicts, err = countConflicts(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the content: %w", err)
	}
	return &c, nil
}

// search asks the full-text index for the documentation that fits best.
func search(ctx context.Context, q agentdb.Querier, query string) ([]string, error) {
	return agentdb.All[string](ctx, q, `
		SELECT concat_ws('.', p.path, nullif(s.recv, ''), s.name)
		FROM doc_index
		JOIN docs d ON d.id = doc_index.rowid
		JOIN packages p ON p.id = d.package_id
		LEFT JOIN symbols s ON s.id = d.symbol_id
		WHERE doc_index MATCH ?
		ORDER BY doc_index.rank, 1
		LIMIT 5`, query)
}

func countConflicts(ctx context.Context, q agentdb.Querier) (int, error) {
	n, err := agentdb.Get[int](ctx, q, "SELECT count(*) FROM sqlite_schema WHERE name = 'agentdb_conflicts'")
	if err != nil || n == 0 {
		return 0, err
	}
	return agentdb.Get[int](ctx, q, "SELECT count(*) FROM agentdb_conflicts")
}

// contentHash hashes the schema and every table but those in which a replica
// keeps its own books.
func contentHash(ctx context.Context, q agentdb.Querier) (string, error) {
	h := sha256.New()
	const ours = `(name NOT LIKE 'agentdb\_%' ESCAPE '\' OR name = 'agentdb_conflicts')`
	err := hashRows(h, agentdb.Iter[[]any](ctx, q, "SELECT name, tbl_name, sql FROM sqlite_schema WHERE "+ours+" ORDER BY name"))
	if err != nil {
		return "", err
	}
	tables, err := agentdb.All[string](ctx, q, "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' AND name <> 'sqlite_sequence' AND "+ours+" ORDER BY name")
	if err != nil {
		return "", err
	}
	for _, t := range tables { // each has two columns or more, and the first two are unique
		if err := hashRows(h, agentdb.Iter[[]any](ctx, q, "SELECT * FROM "+t+" ORDER BY 1, 2")); err != nil {
			return "", fmt.Errorf("%s: %w", t, err)
		}
	}
	if err := hashRows(h, agentdb.Iter[[]any](ctx, q, "SELECT name, seq FROM sqlite_sequence WHERE "+ours+" ORDER BY name")); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashRows adds rows, each value with its type and length.
func hashRows(h hash.Hash, rows iter.Seq2[[]any, error]) error {
	var buf []byte
	for row, err := range rows {
		if err != nil {
			return err
		}
		buf = append(buf[:0], byte(len(row)))
		for _, v := range row {
			buf = appendValue(buf, v)
		}
		h.Write(buf)
	}
	h.Write([]byte("end"))
	return nil
}

func appendValue(buf []byte, v any) []byte {
	switch v := v.(type) {
	case int64:
		return binary.BigEndian.AppendUint64(append(buf, 'i'), uint64(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(buf, 'f'), math.Float64bits(v))
	case string:
		buf = binary.BigEndian.AppendUint64(append(buf, 't'), uint64(len(v)))
		return append(buf, v...)
	case []byte:
		buf = binary.BigEndian.AppendUint64(append(buf, 'b'), uint64(len(v)))
		return append(buf, v...)
	default:
		return append(buf, '0')
	}
}

// A difference is how a table of the swarm's result compares with that of the
// single process. Ids differ by nature; whom a row belongs to must not.
type difference struct {
	Table string
	Want  int // rows of the single process
	Got   int // rows of the swarm
	Lost  int // rows that only the single process has
	Extra int // rows that only the swarm has
}

// views lists the tables with their rows written without ids: a reference is
// spelled out, so that a child on a wrong parent is another row.
func views() [][2]string {
	return [][2]string{
		{"tasks", `SELECT concat_ws('|', dir, state) FROM tasks ORDER BY 1`},
		{"packages", `SELECT concat_ws('|', t.dir, path, name, files, idents) FROM packages p JOIN tasks t ON t.id = p.task_id ORDER BY 1`},
		{"symbols", `SELECT concat_ws('|', p.path, s.kind, s.recv, s.name, s.file, s.line, s.decls) FROM symbols s JOIN packages p ON p.id = s.package_id ORDER BY 1`},
		{"references", `SELECT concat_ws('|', p.path, r.target, r.name, r.uses) FROM refs r JOIN packages p ON p.id = r.package_id ORDER BY 1`},
		{"doc comments", `SELECT concat_ws('|', p.path, s.kind, s.recv, s.name, d.text) FROM docs d JOIN packages p ON p.id = d.package_id LEFT JOIN symbols s ON s.id = d.symbol_id ORDER BY 1`},
	}
}

// compare counts the differences between the swarm's result and the single process's.
func compare(ctx context.Context, got, want agentdb.Querier) ([]difference, error) {
	var list []difference
	for _, v := range views() {
		d, err := mergeCount(agentdb.Iter[string](ctx, got, v[1]), agentdb.Iter[string](ctx, want, v[1]))
		if err != nil {
			return nil, fmt.Errorf("compare %s: %w", v[0], err)
		}
		d.Table = v[0]
		list = append(list, d)
	}
	return list, nil
}

// mergeCount walks along two sorted sequences.
func mergeCount(got, want iter.Seq2[string, error]) (difference, error) {
	var d difference
	nextGot, stopGot := iter.Pull2(got)
	defer stopGot()
	nextWant, stopWant := iter.Pull2(want)
	defer stopWant()
	g, err, moreGot := nextGot()
	if err != nil {
		return d, err
	}
	w, err, moreWant := nextWant()
	for err == nil && (moreGot || moreWant) {
		takeGot := moreGot && (!moreWant || g <= w)
		takeWant := moreWant && (!moreGot || w <= g)
		switch {
		case !takeWant:
			d.Extra++
		case !takeGot:
			d.Lost++
		}
		if takeWant {
			d.Want++
			w, err, moreWant = nextWant()
		}
		if takeGot && err == nil {
			d.Got++
			g, err, moreGot = nextGot()
		}
	}
	return d, err
}
