package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/agentdb/agentdb/bench/workload"
)

// product is one of the two things that the sync suite compares: a server with its clients.
type product interface {
	name() string
	// start runs the server on a fresh data directory.
	start(ctx context.Context, dir string) error
	// addr is the server's host and port.
	addr() string
	// open opens a replica through the given address (the server's or a proxy's) and returns how many seconds it took until
	// it held the server's rows.
	open(ctx context.Context, path, addr string) (client, float64, error)
	// commits makes single-row commits on the server, one per row.
	commits(ctx context.Context, sql string, rows [][]any) error
	stop() error
}

// client is a replica. Methods that return a number return the seconds that the library's own call took.
type client interface {
	exec(ctx context.Context, sql string) error
	// insert runs the statement once per row: each row its own transaction, or all in one.
	insert(ctx context.Context, sql string, rows [][]any, oneTx bool) error
	push(ctx context.Context) (float64, error)
	pull(ctx context.Context) (float64, error)
	sync(ctx context.Context) (float64, error) // both ways, the way the library's users do it
	value(ctx context.Context, sql string) (float64, error)
	close() error
}

// stage is a running server with a directory for replicas.
type stage struct {
	product
	dir     string
	clients int
	proxies []*proxy
	opened  []client
	ends    []func()
}

// collides tells whether the product lets two offline agents take the same INTEGER PRIMARY KEY, so that rows get lost.
func (st *stage) collides() bool { _, ok := st.product.(*tursoProduct); return ok }

// atEnd has fn run before the replicas are closed.
func (st *stage) atEnd(fn func()) { st.ends = append(st.ends, fn) }

// newStage starts a product's server.
func newStage(ctx context.Context, p product, s *settings) (*stage, error) {
	dir, err := os.MkdirTemp(s.tmp, "stage-")
	if err != nil {
		return nil, err
	}
	if err := p.start(ctx, dir); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name(), err)
	}
	return &stage{product: p, dir: dir}, nil
}

// direct opens a replica that talks to the server itself.
func (st *stage) direct(ctx context.Context) (client, float64, error) {
	return st.openAt(ctx, st.addr())
}

// counted opens a replica behind a proxy of its own.
func (st *stage) counted(ctx context.Context) (client, *proxy, error) {
	p, err := newProxy(st.addr())
	if err != nil {
		return nil, nil, err
	}
	st.proxies = append(st.proxies, p)
	c, _, err := st.openAt(ctx, p.addr())
	return c, p, err
}

func (st *stage) openAt(ctx context.Context, addr string) (client, float64, error) {
	st.clients++
	c, took, err := st.open(ctx, filepath.Join(st.dir, "replica"+strconv.Itoa(st.clients)+".db"), addr)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: open: %w", st.name(), err)
	}
	st.opened = append(st.opened, c)
	return c, took, nil
}

// end closes everything and removes the files.
func (st *stage) end() error {
	for _, fn := range st.ends {
		fn()
	}
	var first error
	for _, c := range st.opened {
		if err := c.close(); err != nil && first == nil {
			first = err
		}
	}
	for _, p := range st.proxies {
		p.close()
	}
	if err := st.stop(); err != nil && first == nil {
		first = err
	}
	_ = os.RemoveAll(st.dir)
	return first
}

// The tables of the sync suite.
const (
	notesDDL    = `CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, body TEXT)`
	notesInsert = `INSERT INTO notes (body) VALUES (?)`

	memoryDDL    = `CREATE TABLE IF NOT EXISTS memory (id INTEGER PRIMARY KEY, agent TEXT NOT NULL, kind TEXT NOT NULL, created TEXT NOT NULL, meta TEXT, body TEXT)`
	memoryInsert = `INSERT INTO memory (agent, kind, created, meta, body) VALUES (?, ?, ?, ?, ?)`

	// peopleDDL is the table of Turso's own benchmark of its sync (tursodatabase/turso-sync-benchmark).
	peopleDDL    = `CREATE TABLE IF NOT EXISTS bench (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, email TEXT NOT NULL, bio TEXT, score REAL)`
	peopleInsert = `INSERT INTO bench (name, email, bio, score) VALUES (?, ?, ?, ?)`
)

// memorySize is about what a row of memories takes in a database file.
const memorySize = 578

// notes returns n rows of one text of 100 bytes.
func notes(t *workload.Text, n int) [][]any {
	rows := make([][]any, n)
	for i := range rows {
		rows[i] = []any{t.Sentence(100)}
	}
	return rows
}

// memories returns rows as an agent's memory has them, about 600 bytes each.
func memories(t *workload.Text, n int) [][]any {
	kinds := []string{"observation", "tool_call", "tool_result", "plan", "reflection", "message"}
	tools := []string{"web_search", "read_file", "write_file", "run_command", "sql_query", "send_message"}
	rows := make([][]any, n)
	for i := range rows {
		kind, tool := kinds[t.Between(0, len(kinds))], tools[t.Between(0, len(tools))]
		created := fmt.Sprintf("2026-03-%02dT%02d:%02d:%02d.%03dZ", 1+i/40000%28, t.Between(0, 24), t.Between(0, 60), t.Between(0, 60), t.Between(0, 1000))
		meta := fmt.Sprintf(`{"session":"session-%04d","tool":%q,"status":"success","tokens":{"prompt":%d,"completion":%d},"model":"local-7b-instruct","temperature":0.2,"tags":[%q,%q]}`,
			i/50, tool, t.Between(100, 4000), t.Between(10, 900), t.Word(), t.Word())
		rows[i] = []any{fmt.Sprintf("agent-%02d", t.Between(0, 40)), kind, created, meta, t.Sentence(t.Between(100, 500))}
	}
	return rows
}

// people returns rows of the shape of Turso's own benchmark.
func people(t *workload.Text, n int) [][]any {
	const x120 = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	rows := make([][]any, n)
	for i := range rows {
		rows[i] = []any{fmt.Sprintf("user_%d", i), fmt.Sprintf("user%d@bench.dev", i),
			fmt.Sprintf("Bio for user %d: %s [%s]", i, x120, t.Base36(11)), t.Float() * 10000}
	}
	return rows
}
