package proof

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/agentdb/agentdb"
)

// TestPushModeDense lets push replicas and others write to tables of a few rows
// whose numbers are used again and again, with lost answers, writes while an
// answer is on its way, and schema changes that can't be undone. Whatever number
// a row gets, what is said about it must never reach another. The order of all
// that is the seed's.
func TestPushModeDense(t *testing.T) {
	n := uint64(max(*flagRounds/25, 1))
	node := newNode(t)
	for i := range n {
		seed := baseSeed() + i
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			wrong, notes := newDense(t, node, seed, nil).run()
			if len(wrong) == 0 {
				return
			}
			wrong, notes = shrink(t, node, seed, wrong, notes)
			t.Errorf("seed %d: %s\n%s", seed, strings.Join(wrong, "; "), strings.Join(notes, "\n"))
		})
	}
}

// shrink leaves out steps that a failure doesn't need.
func shrink(t *testing.T, node *node, seed uint64, wrong, notes []string) ([]string, []string) {
	skip := map[int]bool{}
	for again := true; again; {
		again = false
		for i := range denseSteps {
			if skip[i] {
				continue
			}
			skip[i] = true
			if w, n := newDense(t, node, seed, skip).run(); len(w) > 0 {
				wrong, notes, again = w, n, true
			} else {
				delete(skip, i)
			}
		}
	}
	return wrong, notes
}

const denseSteps = 50

// dense is one such world.
type dense struct {
	t      *testing.T
	rng    *rand.Rand
	seed   uint64
	agents []*denseAgent
	tables []string
	notes  []string
	wrong  []string
	mu     sync.Mutex
	skip   map[int]bool
	step   int
	fts    bool   // r is a full-text table
	ignore string // INSERT OR IGNORE, unless it would raise AUTOINCREMENT's counter at one replica alone
	late   bool   // the foreign key is checked at the end of a transaction
	pair   bool   // the key of k is two columns
	rows   int
}

type denseAgent struct {
	*agent
	name string
	push bool
}

var denseWorlds int

func newDense(t *testing.T, node *node, seed uint64, skip map[int]bool) *dense {
	denseWorlds++
	d := &dense{t: t, seed: seed, skip: skip, rng: rand.New(rand.NewPCG(seed, 77))}
	l := &lab{t: t, dir: t.TempDir(), node: node}
	for _, name := range []string{"p", "q", "a", "b"} {
		x := &agent{lab: l, path: filepath.Join(l.dir, name+".db"), proxy: newProxy(t, node)}
		x.opts = agentdb.Options{URL: x.proxy.url(fmt.Sprint("dense", denseWorlds)), Synchronous: "OFF"}
		if name >= "p" {
			x.opts.Sync = agentdb.SyncPush
		} else {
			x.opts.Sync = agentdb.SyncFull
		}
		x.reopen()
		d.agents = append(d.agents, &denseAgent{x, name, x.opts.Sync == agentdb.SyncPush})
	}
	id := d.one("INTEGER PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT")
	if d.ignore = "INSERT OR IGNORE"; strings.HasSuffix(id, "AUTOINCREMENT") {
		d.ignore = "INSERT"
	}
	unique := d.one("", " UNIQUE", " UNIQUE ON CONFLICT REPLACE")
	follows := d.one("", "ON UPDATE CASCADE ON DELETE SET NULL", "ON UPDATE CASCADE ON DELETE CASCADE", "ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED", "DEFERRABLE INITIALLY DEFERRED")
	schema := []string{
		"CREATE TABLE IF NOT EXISTS t (id " + id + ", tok TEXT, v TEXT, u INTEGER" + unique + ")",
		"CREATE TABLE IF NOT EXISTS c (id " + id + ", tok TEXT, v TEXT, u INTEGER" + unique + ", p INTEGER REFERENCES t(id) " + follows + ", ptok TEXT)",
		d.one("CREATE TABLE IF NOT EXISTS r (tok TEXT, v TEXT, u INTEGER"+unique+")", "CREATE VIRTUAL TABLE IF NOT EXISTS r USING fts5(tok, v, u)"),
		"CREATE TABLE IF NOT EXISTS k (k TEXT PRIMARY KEY, tok TEXT, v TEXT, u INTEGER" + unique + ", p TEXT REFERENCES parent(k) ON DELETE CASCADE)", // or with a key of two columns, below
		"CREATE TABLE IF NOT EXISTS parent (k TEXT PRIMARY KEY, u INTEGER UNIQUE)",
		"CREATE TABLE IF NOT EXISTS child (k TEXT REFERENCES parent(k) DEFERRABLE INITIALLY DEFERRED)",
	}
	if d.pair = d.rng.IntN(2) > 0; d.pair {
		schema[3] = "CREATE TABLE IF NOT EXISTS k (n INTEGER DEFAULT 1, k TEXT, tok TEXT, v TEXT, u INTEGER" + unique + ", p TEXT REFERENCES parent(k) ON DELETE CASCADE, PRIMARY KEY (k, n))"
	}
	d.late = strings.HasSuffix(follows, "DEFERRED")
	d.tables, d.fts = []string{"t", "c", "r", "k"}, strings.Contains(schema[2], "fts5")
	d.note("%s", strings.Join(schema, "; "))
	for _, x := range d.agents {
		for _, s := range schema {
			x.exec(s)
		}
	}
	return d
}

func (d *dense) one(of ...string) string { return of[d.rng.IntN(len(of))] }

func (d *dense) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

func (d *dense) run() (wrong, notes []string) {
	for i := range denseSteps {
		d.step, d.rows = i, 0
		d.rng = rand.New(rand.NewPCG(d.seed, uint64(i)))
		if d.skip[i] {
			continue
		}
		x := d.agents[d.rng.IntN(len(d.agents))]
		if d.rng.IntN(3) > 0 {
			x = d.agents[d.seed%4]
		}
		switch n := d.rng.IntN(20); {
		case n < 12:
			d.transaction(x)
		case n < 13:
			d.barrier(x)
		default:
			d.sync(x)
		}
	}
	d.settle()
	d.wrong = append(d.wrong, d.check(false)...)
	for _, x := range d.agents {
		for _, table := range d.tables {
			x.exec("UPDATE " + table + " SET v = tok || ' final' WHERE tok LIKE '" + x.name + "%'")
		}
	}
	d.note("final")
	d.settle()
	wrong = append(d.wrong, d.check(true)...)
	for _, x := range d.agents {
		closed(d.t, x.DB)
		x.proxy.close()
	}
	return wrong, d.notes
}

// failed notes an error that is none of a statement's.
func (d *dense) failed(err error) { d.wrong = append(d.wrong, err.Error()) }

// transaction runs some statements at one replica.
func (d *dense) transaction(x *denseAgent) {
	n := max(1, d.rng.IntN(5)-1)
	if d.late {
		n = 1 // else a child may rightly get another parent under the number of its own
	}
	var stmts []string
	err := x.Update(d.t.Context(), func(tx *agentdb.Tx) error {
		stmts = stmts[:0]
		for range n {
			s, err := d.statement(x, tx)
			stmts = append(stmts, s)
			if err != nil && !refused(err) {
				return err
			}
		}
		return nil
	})
	d.note("%s: %s %v", x.name, strings.Join(stmts, "; "), err)
	if err != nil && !refused(err) {
		d.failed(err)
	}
}

// barrier changes the schema in a way that can't be undone.
func (d *dense) barrier(x *denseAgent) {
	x.exec(fmt.Sprintf("CREATE TABLE gone%[1]d (x); DROP TABLE gone%[1]d", d.step))
	d.note("%s: barrier", x.name)
}

const denseIDs = 12

// statement runs one.
func (d *dense) statement(x *denseAgent, tx *agentdb.Tx) (string, error) {
	ctx := d.t.Context()
	table := d.tables[d.rng.IntN(len(d.tables))]
	key := "id"
	if table == "r" || table == "k" {
		key = "rowid"
	}
	toks, err := agentdb.All[string](ctx, tx, "SELECT tok FROM "+table+" ORDER BY tok")
	if err != nil {
		return "", err
	}
	var some string
	if len(toks) > 0 {
		some = "'" + toks[d.rng.IntN(len(toks))] + "'"
	}
	d.rows++
	now := d.step*10 + d.rows
	tok := fmt.Sprintf("'%s%d'", x.name, now)
	num, u := 1+d.rng.IntN(denseIDs), d.one("NULL", "NULL", fmt.Sprint(d.rng.IntN(9)))
	kind := d.rng.IntN(12)
	if some == "" {
		kind %= 3
	}
	if d.fts && table == "r" && !x.push && kind >= 6 && kind < 9 {
		kind = 3 // a full-text row that gets another number counts as another row
	}
	var s string
	switch {
	case d.rng.IntN(12) == 0: // what is refused later takes its transaction back
		p := d.rng.IntN(4)
		s = d.one(fmt.Sprintf("INSERT OR IGNORE INTO parent VALUES ('k%d', %d)", p, d.rng.IntN(5)), "INSERT INTO child SELECT k FROM parent LIMIT 1",
			fmt.Sprintf("UPDATE k SET p = (SELECT k FROM parent WHERE k = 'k%d') WHERE rowid %% 2 = %d", p, p%2), fmt.Sprintf("DELETE FROM parent WHERE k = 'k%d' AND k NOT IN (SELECT k FROM child)", p))
	case kind < 2 && table == "k":
		s = fmt.Sprintf("INSERT INTO k (k, tok, v, u) VALUES (%s, %s, %[2]s, %s)", d.one("NULL", tok), tok, u)
	case kind >= 6 && kind < 8 && table == "k" && (x.push || some < "'c"): // a push replica doesn't learn the key
		set := "k = " + d.one("NULL", "tok")
		if d.pair && d.rng.IntN(2) > 0 {
			set = "n = " + d.one("NULL", "1", "2", "rowid, rowid = 2", "3, k = NULL", "4, k = tok")
		}
		s = fmt.Sprintf("UPDATE k SET %s WHERE tok = %s", set, some)
	case kind < 2 && table == "c":
		parent := "'?'"
		if ps, _ := agentdb.All[string](ctx, tx, "SELECT tok FROM t ORDER BY tok"); len(ps) > 0 {
			parent = "'" + ps[d.rng.IntN(len(ps))] + "'"
		}
		s = fmt.Sprintf("INSERT INTO c (tok, v, u, p, ptok) SELECT %s, %[1]s, %s, id, tok FROM t WHERE tok = %s", tok, u, parent)
	case kind < 2:
		s = fmt.Sprintf("INSERT INTO %s (tok, v, u) VALUES (%s, %[2]s, %s)", table, tok, u)
	case kind < 3 && d.late && table == "t":
		s = fmt.Sprintf("%s INTO t (id, tok, v, u) VALUES (%d, %s, %[3]s, %s)", d.ignore, num, tok, u)
	case kind < 3:
		s = fmt.Sprintf("%s INTO %s (%s, tok, v, u) VALUES (%d, %s, %[5]s, %s)", d.one("INSERT", "REPLACE", d.ignore), table, key, num, tok, u)
	case kind < 6:
		s = fmt.Sprintf("UPDATE %s SET v = tok || ' %d' WHERE tok = %s", table, now, some)
	case kind < 7:
		s = fmt.Sprintf("UPDATE %s SET %s = %d, v = tok || ' %d' WHERE tok = %s", table, key, num, now, some)
	case kind < 9:
		s = fmt.Sprintf("UPDATE %s SET %s = %d WHERE tok = %s", table, key, num, some)
	case kind < 10:
		s = fmt.Sprintf("UPDATE %s SET u = %s WHERE tok = %s", table, u, some)
	default:
		s = fmt.Sprintf("DELETE FROM %s WHERE tok = %s", table, some)
	}
	_, err = tx.Exec(ctx, s)
	return s, err
}

// sync syncs a replica, maybe with a lost answer or with writes that race it.
func (d *dense) sync(x *denseAgent) {
	lost, race := d.rng.IntN(5) == 0, 0
	if d.rng.IntN(3) == 0 {
		race = 1 + d.rng.IntN(3)
	}
	f := fault{}
	if lost {
		f.kind = faultDropAnswer
	}
	f.watch = func(s step) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for ; s == stepExecuted && race > 0; race-- {
			d.transaction(x)
		}
	}
	x.proxy.do(f)
	rep, err := x.Sync(bg(d.t))
	d.mu.Lock() // the proxy's goroutine is done with it, but the race detector can't know
	defer d.mu.Unlock()
	x.proxy.mu.Lock()
	x.proxy.queue = nil
	x.proxy.mu.Unlock()
	d.note("%s: sync lost=%v: %d %v %v", x.name, lost, rep.Pushed, rep.IDs, err)
	if err != nil && !errors.Is(err, agentdb.ErrOffline) {
		d.failed(err)
	}
}

func (d *dense) settle() {
	for range 2 {
		for _, x := range d.agents {
			for i := 0; i == 0 || x.Status().Pending > 0; i++ {
				rep, err := x.Sync(bg(d.t))
				d.note("%s: settles %d %v %v", x.name, rep.Pushed, rep.IDs, err)
				if i > 20 || err != nil {
					d.failed(fmt.Errorf("%s does not settle: %w", x.name, err))
					return
				}
			}
		}
	}
}

type denseRow struct {
	ID   int64
	Tok  string
	V    string
	Ptok *string
	Pnow *string
}

func (d *dense) look(x *denseAgent, table string) []denseRow {
	q := "SELECT rowid AS id, tok, v FROM " + table
	if table == "k" { // one with a key may have any number
		keyless := "k IS NULL"
		if d.pair {
			keyless += " OR n IS NULL"
		}
		q = "SELECT iif(" + keyless + ", rowid, -1) AS id, tok, v FROM k"
	}
	if table == "c" {
		q = "SELECT c.id, c.tok, c.v, c.ptok, t.tok AS pnow FROM c LEFT JOIN t ON t.id = c.p"
	}
	rows, err := agentdb.All[denseRow](context.Background(), x, q+" ORDER BY 1")
	if err != nil {
		d.t.Fatal(err)
	}
	return rows
}

// check compares what each replica has with what one that pulls has. In the end
// each row has its author's final update.
func (d *dense) check(final bool) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	a, b := inspect(d.t, d.agents[2].path), inspect(d.t, d.agents[3].path)
	if diff := a.diff(b); diff != "" {
		say("a (<) and b (>) differ: %s", diff)
	}
	for _, table := range d.tables {
		byID, byTok := map[int64]denseRow{}, map[string]denseRow{}
		for _, r := range d.look(d.agents[2], table) {
			if _, twice := byTok[r.Tok]; twice {
				say("%s: %s is there twice", table, r.Tok)
			}
			byID[r.ID], byTok[r.Tok] = r, r
			if r.V != r.Tok && !strings.HasPrefix(r.V, r.Tok+" ") {
				say("%s: %s has what was said of another: %s", table, r.Tok, r.V)
			}
			if r.Pnow != nil && *r.Pnow != *r.Ptok {
				say("%s: %s hangs on %s instead of %s", table, r.Tok, *r.Pnow, *r.Ptok)
			}
		}
		for _, x := range d.agents {
			for _, r := range d.look(x, table) {
				there, ok := byTok[r.Tok]
				switch {
				case (r.ID > 0) && byID[r.ID].Tok != r.Tok:
					say("%s: %s is %d at %s, where the server has %q", table, r.Tok, r.ID, x.name, byID[r.ID].Tok)
				case ok && r.ID < -1<<62:
					say("%s: %s is nothing at %s, and %d on the server", table, r.Tok, x.name, there.ID)
				case final && ok && strings.HasPrefix(r.Tok, x.name) && !strings.HasSuffix(there.V, " final"):
					say("%s: %s lost its last update: %s", table, r.Tok, there.V)
				}
			}
		}
	}
	return wrong
}
