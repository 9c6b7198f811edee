// Package workload says what the embedded engines are asked to do, and measures how long that takes them. Each engine is a
// program of its own (bench/engines/...) that calls Main with an implementation of Engine; every engine runs the same loops
// over the same data and must come to the same check sums, so a fast wrong answer is noticed.
package workload

import "fmt"

// The names of the workloads, in the order in which they run.
const (
	Bulk       = "bulk insert"
	Autocommit = "autocommit insert"
	Point      = "point read in a transaction"
	Scan       = "scan"
	Aggregate  = "aggregate"
	FTS        = "FTS query"
	JSON       = "JSON"
)

// Names lists the workloads in the order in which they run.
func Names() []string { return []string{Bulk, Autocommit, Point, Scan, Aggregate, FTS, JSON} }

// DDL is the schema that every engine gets.
const DDL = `CREATE TABLE notes (id INTEGER PRIMARY KEY, author TEXT NOT NULL, score REAL NOT NULL, body TEXT NOT NULL);
CREATE TABLE log (id INTEGER PRIMARY KEY, author TEXT NOT NULL, score REAL NOT NULL, body TEXT NOT NULL);
CREATE TABLE docs (id INTEGER PRIMARY KEY, doc TEXT NOT NULL);`

// DDLSearch is the full text index, for the engines that have FTS5.
const DDLSearch = `CREATE VIRTUAL TABLE search USING fts5(body);`

// The statements of the workloads.
const (
	SQLBulk       = `INSERT INTO notes (author, score, body) VALUES (?, ?, ?)`
	SQLAutocommit = `INSERT INTO log (author, score, body) VALUES (?, ?, ?)`
	SQLPoint      = `SELECT id, author, score, body FROM notes WHERE id = ?`
	SQLScan       = `SELECT id, author, score, body FROM notes`
	SQLAggregate  = `SELECT sum(k) FROM (SELECT author, count(*) + sum(length(body)) + cast(avg(score) AS INTEGER) AS k FROM notes GROUP BY author)`
	SQLFTS        = `SELECT rowid FROM search WHERE search MATCH ? ORDER BY rank LIMIT 20`
	SQLJSON       = `SELECT sum(json_extract(doc, '$.meta.size')) FROM docs WHERE json_extract(doc, '$.kind') = 'tool'`
	SQLDoc        = `INSERT INTO docs (id, doc) VALUES (?, ?)`
	SQLSearch     = `INSERT INTO search (rowid, body) VALUES (?, ?)`
)

// Row is one row of notes and of log. The tags are for agentdb's scan by column name.
type Row struct {
	ID     int64   `json:"id"`
	Author string  `json:"author"`
	Score  float64 `json:"score"`
	Body   string  `json:"body"`
}

// Sum folds a row into a check sum.
func (r *Row) Sum() int64 { return r.ID + int64(len(r.Author)) + int64(r.Score) + int64(len(r.Body)) }

// Sizes is how much work there is.
type Sizes struct {
	Rows       int `json:"rows"`       // rows of notes: bulk insert, scan, aggregate
	Commits    int `json:"commits"`    // autocommit inserts
	Reads      int `json:"reads"`      // point reads
	Scans      int `json:"scans"`      // times the whole table is read
	Aggregates int `json:"aggregates"` // times the aggregate runs
	Docs       int `json:"docs"`       // documents for FTS and JSON
	Queries    int `json:"queries"`    // FTS queries
	JSONs      int `json:"jsons"`      // times the JSON query runs
}

// Scaled returns the sizes of a full run times f.
func Scaled(f float64) Sizes {
	n := func(x int) int { return max(1, int(float64(x)*f)) }
	return Sizes{Rows: n(100_000), Commits: n(2000), Reads: n(100_000), Scans: 5, Aggregates: 10, Docs: n(20_000), Queries: n(1000), JSONs: 10}
}

// Data is what the workloads insert and ask for.
type Data struct {
	Sizes   Sizes    `json:"sizes"`
	Notes   []Row    `json:"notes"`
	IDs     []int64  `json:"ids"`
	Docs    []string `json:"docs"`    // JSON documents
	Bodies  []string `json:"bodies"`  // texts of the FTS index
	Queries []string `json:"queries"` // FTS queries
}

// Generate makes the data; equal sizes give equal data.
func Generate(s Sizes) *Data {
	t := NewText(7)
	d := &Data{Sizes: s}
	for range max(s.Rows, s.Commits) {
		d.Notes = append(d.Notes, Row{Author: "agent-" + t.Base36(3)[:1], Score: float64(t.Between(0, 1_000_000)) / 1000, Body: t.Sentence(100)})
	}
	for range s.Reads {
		d.IDs = append(d.IDs, int64(t.Between(1, s.Rows+1)))
	}
	kinds := []string{"tool", "plan", "note", "step"}
	for i := range s.Docs {
		d.Docs = append(d.Docs, fmt.Sprintf(`{"id":%d,"kind":%q,"meta":{"size":%d,"tags":[%q,%q]},"text":%q}`,
			i, kinds[t.Between(0, 4)], t.Between(0, 10_000), t.Word(), t.Word(), t.Sentence(200)))
		d.Bodies = append(d.Bodies, t.Sentence(400))
	}
	for range s.Queries {
		d.Queries = append(d.Queries, t.Word()+" "+t.Word())
	}
	return d
}

// Engine is one way to run the workloads. Each method is a whole loop, written the way that engine's users would write it.
type Engine interface {
	Script(sql string) error                            // several statements, not measured
	Load(sql string, texts []string) error              // (1, texts[0]), (2, texts[1]), ... in one transaction, not measured
	Bulk(sql string, rows []Row) error                  // one transaction
	Autocommit(sql string, rows []Row) error            // a transaction per row
	Point(sql string, ids []int64) (int64, error)       // one read transaction; the sum of Row.Sum
	Scan(sql string) (int64, error)                     // the sum of Row.Sum
	Scalar(sql string) (int64, error)                   // the one value of the one row
	Search(sql string, queries []string) (int64, error) // the sum of all rowids found
	Close() error
}
