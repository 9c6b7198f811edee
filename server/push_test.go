package server_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/agentdb/agentdb/server"
)

// tursoClient sends what Turso's sync clients send, without a file: it knows
// rows by the ids that it would have.
type tursoClient struct {
	s      *sqlServer
	name   string
	rev    string
	file   *pages // without the client's own changes
	gen    int
	change int      // the number of the last change
	next   int      // that of the next one
	writes []string // JSON of steps not sent yet
}

func (s *sqlServer) turso(name string) *tursoClient {
	c := &tursoClient{s: s, name: name, next: 1}
	p, _, _ := s.pull("x", "", nil)
	c.rev, c.file = p.revision, p
	return c
}

// pull follows the server, and counts as clients do. What the client has not
// sent yet it runs again, which makes those writes of it.
func (c *tursoClient) pull(again ...func()) {
	c.s.t.Helper()
	p, _, _ := c.s.pull("x", "", str(3, c.rev))
	if c.rev = p.revision; len(p.pages) == 0 {
		return
	}
	c.file = p.on(c.file)
	c.writes, c.change, c.next = nil, 0, 1
	for _, write := range again {
		write()
		c.next = c.change + 1
	}
	const (
		create = "CREATE TABLE IF NOT EXISTS turso_sync_last_change_id (client_id TEXT PRIMARY KEY, pull_gen INTEGER, change_id INTEGER)"
		update = "UPDATE turso_sync_last_change_id SET pull_gen = %d, change_id = %d WHERE client_id = '%s'"
	)
	first := fmt.Sprintf(update, c.gen+1, 0, c.name)
	if !c.marked() {
		first = fmt.Sprintf("INSERT INTO turso_sync_last_change_id(client_id, pull_gen, change_id) VALUES('%s', %d, 0)", c.name, c.gen+1)
	}
	gen := c.file.query(c.s.t, "SELECT pull_gen FROM turso_sync_last_change_id WHERE client_id = '"+c.name+"'",
		create, first, fmt.Sprintf(update, c.gen+1, c.change, c.name))
	c.gen, _ = strconv.Atoi(gen)
	c.next += 4
}

// marked reports whether the server's mark of the client is in its file.
func (c *tursoClient) marked() bool {
	c.s.t.Helper()
	return c.file.query(c.s.t, "SELECT count(*) FROM sqlite_schema WHERE name = 'turso_sync_last_change_id'") != "0" &&
		c.file.query(c.s.t, "SELECT count(*) FROM turso_sync_last_change_id WHERE client_id = '"+c.name+"'") != "0"
}

const inTransaction = `{"type":"not","cond":{"type":"is_autocommit"}}`

func stepJSON(cond, sql string, args ...any) string {
	vals := []any{}
	for _, a := range args {
		switch a := a.(type) {
		case int:
			vals = append(vals, map[string]any{"type": "integer", "value": strconv.Itoa(a)})
		case nil:
			vals = append(vals, map[string]any{"type": "null"})
		default:
			vals = append(vals, map[string]any{"type": "text", "value": a})
		}
	}
	b, _ := json.Marshal(map[string]any{"condition": json.RawMessage(cond), "stmt": map[string]any{"sql": sql, "args": vals, "want_rows": false}})
	return string(b)
}

func (c *tursoClient) write(sql string, args ...any) {
	c.change, c.next = c.next, c.next+2 // a COMMIT has a number too
	c.writes = append(c.writes, stepJSON(inTransaction, sql, args...))
}

func (c *tursoClient) insert(id int, v string) {
	c.write(`INSERT INTO "t"("id", "v") VALUES (?,?) ON CONFLICT("id") DO UPDATE SET "id" = excluded."id","v" = excluded."v"`, id, v)
}

func (c *tursoClient) update(id int, v string) {
	c.write(`UPDATE "t" SET "v" = ? WHERE "id" = ?`, v, id)
}

func (c *tursoClient) delete(id int) { c.write(`DELETE FROM "t" WHERE "id" = ?`, id) }

// request returns the pushing request.
func (c *tursoClient) request() string {
	steps := []string{
		stepJSON("null", "BEGIN IMMEDIATE"),
		stepJSON(inTransaction, "CREATE TABLE IF NOT EXISTS turso_sync_last_change_id (client_id TEXT PRIMARY KEY, pull_gen INTEGER, change_id INTEGER)"),
	}
	steps = append(steps, c.writes...)
	if len(c.writes) > 0 {
		steps = append(steps, stepJSON(inTransaction, "INSERT INTO turso_sync_last_change_id(client_id, pull_gen, change_id) VALUES (?, ?, ?) ON CONFLICT(client_id) DO UPDATE SET pull_gen=excluded.pull_gen, change_id=excluded.change_id", c.name, c.gen, c.change))
	}
	steps = append(steps, stepJSON(inTransaction, "COMMIT"))
	return fmt.Sprintf(`{"type":"batch","batch":{"steps":[%s]}}`, strings.Join(steps, ","))
}

func (c *tursoClient) push() {
	c.s.t.Helper()
	a := c.s.pipeline("", c.request())
	if a.Results[0].Type != "ok" || a.Baton != "" || len(a.Results[0].Response.Result.StepResults) != 0 {
		c.s.t.Fatalf("push: %+v", a.Results[0])
	}
	c.writes = nil
}

// rows returns id=v of all rows.
func (s *sqlServer) rows() string {
	s.t.Helper()
	a := s.pipeline("", "SELECT coalesce(group_concat(id||'='||v,' '),'') FROM (SELECT * FROM t ORDER BY id)")
	return fmt.Sprint(a.Results[0].Response.Result.Rows[0][0].Value)
}

func (s *sqlServer) expect(want string) {
	s.t.Helper()
	if got := s.rows(); got != want {
		s.t.Errorf("rows: %s, not %s", got, want)
	}
}

func newTurso(t *testing.T) *sqlServer {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES(1,'one')")
	return s
}

func TestTursoIDs(t *testing.T) {
	s := newTurso(t)
	a, b := s.turso("a"), s.turso("b")
	a.insert(2, "a2")
	b.insert(2, "b2")
	b.insert(3, "b3")
	a.push()
	b.push()
	s.expect("1=one 2=a2 3=b3 4=b2")
	b.update(2, "b2'")  // its own, which is 4
	b.insert(3, "b3'")  // an upsert of its own
	b.insert(1, "one'") // an upsert of one that it has seen
	b.push()
	s.expect("1=one' 2=a2 3=b3' 4=b2'")
	b.delete(2)
	b.push()
	b.insert(2, "b2 again") // the same id in the next push
	b.push()
	s.expect("1=one' 2=a2 3=b3' 4=b2 again")
	b.update(2, "b2'")
	b.push()
	b.pull()
	b.update(2, "a2'") // that of a, which it has seen now
	b.delete(3)
	b.insert(3, "again")
	b.push()
	s.expect("1=one' 2=a2' 3=again 4=b2'")
}

// TestTursoIDOfItsOwn has a client use an id before it learns that a row of its
// own got that id: it then deletes that row to make room.
func TestTursoIDOfItsOwn(t *testing.T) {
	s := newTurso(t)
	a, b := s.turso("a"), s.turso("b")
	a.insert(2, "a2")
	b.insert(2, "b2")
	a.push()
	b.push()
	s.expect("1=one 2=a2 3=b2")
	b.pull(func() { b.delete(3) }, func() { b.insert(3, "b3") })
	b.push()
	s.expect("1=one 2=a2 3=b2 4=b3")
}

func TestTursoRepeatedPush(t *testing.T) {
	s := newTurso(t)
	s.pipeline("", "CREATE TABLE n(v TEXT)")
	a := s.turso("a")
	a.write(`INSERT INTO "n"("v") VALUES (?)`, "x")
	again := a.request()
	a.push()
	s.pipeline("", again)
	a.write(`INSERT INTO "n"("v") VALUES (?)`, "x")
	a.push()
	s.pipeline("", again) // late
	if got := s.pipeline("", "SELECT count(*) FROM n").Results[0].Response.Result.Rows[0][0].Value; got != "2" {
		t.Errorf("%v rows", got)
	}
	a.push() // nothing
}

// TestTursoUnknownBase has a client that pushes to a server that doesn't
// remember what it had seen.
func TestTursoUnknownBase(t *testing.T) {
	s := newTurso(t)
	a := &tursoClient{s: s, name: "a", gen: 5, change: 10}
	a.insert(1, "a1")
	a.insert(2, "a2")
	a.push()
	s.expect("1=one 2=a2 3=a1")
	a.update(1, "a1'")
	a.push()
	s.expect("1=one 2=a2 3=a1'")
}

// TestTursoRestart has the server restarted between what a client pulled and its
// first push: it must not be taken for a client that pulled later.
func TestTursoRestart(t *testing.T) {
	s := newTurso(t)
	s.pipeline("", "CREATE TABLE n(v TEXT)")
	a, b := s.turso("a"), s.turso("b")
	a.insert(2, "a2")
	a.write(`INSERT INTO "n"("v") VALUES (?)`, "an")
	a.push()
	c := s.turso("c")
	s.stop()
	s.start()
	c.pull() // it has all
	b.insert(2, "b2")
	b.write(`INSERT INTO "n"("v") VALUES (?)`, "bn")
	b.write(`UPDATE "n" SET "v" = ? WHERE rowid = ?`, "bn'", 1)
	b.push()
	s.expect("1=one 2=a2 3=b2")
	if got := s.text("SELECT group_concat(v, ' ') FROM n"); got != "an bn" {
		t.Errorf("rows without a key: %s", got)
	}
	if got := s.text("SELECT group_concat(kind || losing) FROM agentdb_conflicts"); !strings.Contains(got, "bn'") {
		t.Errorf("an update that may mean two rows is not recorded: %s", got)
	}
	// The same with a client that the server knows by its stamp.
	b.pull()
	c.pull()
	a.insert(4, "a4")
	a.push()
	s.stop()
	s.start()
	b.insert(4, "b4")
	b.write(`UPDATE "n" SET "v" = ? WHERE rowid = ?`, "bn'", 2)
	b.push()
	s.expect("1=one 2=a2 3=b2 4=a4 5=b4")
	if got := s.text("SELECT group_concat(v, ' ') FROM n"); got != "an bn'" {
		t.Errorf("rows without a key: %s", got)
	}
}

// text returns the value that a query yields.
func (s *sqlServer) text(sql string) string {
	s.t.Helper()
	return fmt.Sprint(s.pipeline("", sql).Results[0].Response.Result.Rows[0][0].Value)
}

// TestTursoOverwrite has clients overwrite what they can't have seen: it is
// recorded, and nothing else is.
func TestTursoOverwrite(t *testing.T) {
	s := newTurso(t)
	s.pipeline("", "ALTER TABLE t ADD COLUMN w", "CREATE TABLE k(k TEXT PRIMARY KEY, v)", "INSERT INTO k VALUES('x', 1)")
	a, b := s.turso("a"), s.turso("b")
	record := func(want string) {
		t.Helper()
		if got := s.text("SELECT coalesce(group_concat(kind || losing, ' '), '') FROM agentdb_conflicts"); got != want {
			t.Errorf("recorded: %s, not %s", got, want)
		}
	}
	a.update(1, "a")
	a.write(`UPDATE "k" SET "v" = ? WHERE "k" = ?`, 2, "x")
	a.push()
	b.write(`UPDATE "t" SET "w" = ? WHERE "id" = ?`, "b", 1) // another column
	b.push()
	b.update(1, "a") // the same value
	b.push()
	record("")
	b.update(1, "b")
	b.update(1, "b'") // its own
	b.push()
	b.update(1, "b''")
	b.push()
	record(`overwrite{"id":1,"v":"a","w":"b"}`)
	b.write(`DELETE FROM "k" WHERE "k" = ?`, "x")
	b.push()
	record(`overwrite{"id":1,"v":"a","w":"b"} delete{"k":"x","v":2}`)
	a.pull(func() { a.update(1, "a'") }) // it wrote that before it pulled what it overwrites
	a.push()
	a.update(1, "a''")
	a.push()
	b.pull()
	b.update(1, "seen")
	b.push()
	record(`overwrite{"id":1,"v":"a","w":"b"} delete{"k":"x","v":2} overwrite{"id":1,"v":"b''","w":"b"}`)
}

// TestTursoPullsBetween has a client write between two pulls, without a push: an
// id may mean what it meant before the first one, or after it.
func TestTursoPullsBetween(t *testing.T) {
	s := newTurso(t)
	s.pipeline("", "CREATE TABLE n(v TEXT)", "INSERT INTO n VALUES('first')")
	a, b := s.turso("a"), s.turso("b")
	a.insert(2, "a2")
	b.insert(2, "b2")
	a.push()
	b.push()
	again := []func(){func() { b.update(1, "one'") }}
	b.pull(again...)
	a.write(`INSERT INTO "n"("v") VALUES (?)`, "an")
	a.push()
	again = append(again, func() { b.update(2, "a2'") }, func() { b.write(`INSERT INTO "n"("v") VALUES (?)`, "bn") },
		func() { b.write(`UPDATE "n" SET "v" = ? WHERE rowid = ?`, "bn'", 2) })
	b.pull(again...)
	b.push()
	if got := s.text("SELECT group_concat(v, ' ') FROM n"); got != "first an bn" {
		t.Errorf("rows without a key: %s", got)
	}
	lost := s.text("SELECT group_concat(kind || losing, ' ') FROM agentdb_conflicts")
	if !strings.Contains(lost, `overwrite{"id":3,"v":"b2"}`) || !strings.Contains(lost, "bn'") {
		t.Errorf("recorded: %s", lost)
	}
}

func TestTursoTransform(t *testing.T) {
	s := newTurso(t)
	a := s.turso("a")
	a.write(`UPDATE t SET v = v || ? WHERE id = ?`, "!", 1)
	a.write(`ROLLBACK`)
	a.write(`ATTACH 'x' AS x`)
	a.write(`nonsense`)
	a.write(`INSERT INTO t VALUES(1,'no')`)
	a.write(`INSERT OR ROLLBACK INTO t VALUES(1,'no')`)
	a.insert(9, "nine")
	a.push()
	s.expect("1=one! 9=nine")
	got := s.pipeline("", "SELECT group_concat(kind,' ') FROM agentdb_conflicts").Results[0].Response.Result.Rows[0][0].Value
	if got != "schema schema schema unique unique" {
		t.Errorf("conflicts: %v", got)
	}
}

func TestTursoReadOnly(t *testing.T) {
	s := newSQL(t, server.Config{})
	token := func(access string) string {
		tok, err := server.CreateToken(s.dir, server.TokenSpec{Database: "t", Access: access})
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	a := &tursoClient{s: s, name: "a"}
	a.write("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	for access, want := range map[string]string{"full": `"step_errors":[]`, "read": "SQLITE_READONLY"} {
		if status, text := s.post("/db/t/v2/pipeline", token(access), `{"requests":[`+a.request()+`]}`); status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", access, status, text)
		}
	}
}

// TestTursoWritesAfterAPull has a client pull with unsent changes, which it runs
// again, and write more before it pushes: an id in the first part means what it
// meant then, one in the second part what the client has pulled.
func TestTursoWritesAfterAPull(t *testing.T) {
	s := newTurso(t)
	a, b := s.turso("a"), s.turso("b")
	a.insert(2, "a2")
	b.insert(2, "b2")
	a.push()
	b.push()
	s.expect("1=one 2=a2 3=b2")
	b.pull(func() { b.update(2, "b2'") }) // its own, which is 3
	b.update(1, "one'")
	b.push()
	s.expect("1=one' 2=a2 3=b2'")
	b.pull(func() { b.update(3, "b2''") }) // not known by its old id any more
	b.update(2, "a2'")
	b.push()
	s.expect("1=one' 2=a2' 3=b2''")
	b.pull()
	a.insert(4, "a4")
	a.push()
	b.pull(func() { b.delete(4) }, func() { b.insert(4, "b4") }, func() { b.update(2, "a2''") })
	b.update(4, "b4'")
	b.push()
	s.expect("1=one' 2=a2'' 3=b2'' 4=a4 5=b4'")
	b.pull()
	b.delete(4)
	b.insert(4, "replaced")
	b.push()
	s.expect("1=one' 2=a2'' 3=b2'' 4=replaced 5=b4'")
}

// TestTursoNoRowIsLost lets clients insert, update and delete rows of their own,
// pushing and pulling at random, and at the same time. Each has to find its rows
// as it left them, whatever ids they got.
func TestTursoNoRowIsLost(t *testing.T) {
	s := newTurso(t)
	const clients, rounds = 6, 40
	want := make([][]string, clients)
	var wg sync.WaitGroup
	fleet := make([]*tursoClient, clients)
	for i := range fleet {
		fleet[i] = s.turso(fmt.Sprint("c", i))
	}
	for i, c := range fleet {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			if i%2 == 1 {
				c = s.turso(c.name) // later than others
			}
			top := c.top()
			own := map[int]string{} // since the last pull, by the client's id
			kept := []string{}
			for n := range rounds {
				switch k := r.IntN(10); {
				case k < 6:
					top++
					own[top] = fmt.Sprintf("c%d-%d", i, n)
					c.insert(top, own[top])
				case k < 8:
					for id := range own {
						own[id] += "'"
						c.update(id, own[id])
						break
					}
				case k == 8:
					for id := range own {
						delete(own, id)
						c.delete(id)
						break
					}
				}
				if r.IntN(3) == 0 {
					c.push()
				}
				if len(c.writes) == 0 && r.IntN(4) == 0 {
					c.pull()
					for _, v := range own {
						kept = append(kept, v)
					}
					own = map[int]string{}
					top = c.top()
				}
			}
			c.push()
			for _, v := range own {
				kept = append(kept, v)
			}
			want[i] = kept
		})
	}
	wg.Wait()
	all := slices.Concat(want...)
	all = append(all, "one")
	var got []string
	for _, row := range strings.Fields(s.rows()) {
		_, v, _ := strings.Cut(row, "=")
		got = append(got, v)
	}
	slices.Sort(all)
	slices.Sort(got)
	if !slices.Equal(got, all) {
		t.Errorf("%d rows:\n%v\nwant %d:\n%v", len(got), got, len(all), all)
	}
}

// top returns the highest id at the revision where the client is.
func (c *tursoClient) top() int {
	p, _, _ := c.s.pull("x", "", str(2, c.rev))
	n, err := strconv.Atoi(p.query(c.s.t, "SELECT max(id) FROM t"))
	if err != nil {
		c.s.t.Error(err)
	}
	return n
}

// conflicts returns the recorded conflicts.
func (s *sqlServer) conflicts() string {
	s.t.Helper()
	a := s.pipeline("", "SELECT coalesce(group_concat(table_name||' '||kind||' '||message||' '||losing,'; '),'') FROM (SELECT * FROM agentdb_conflicts ORDER BY id)")
	return fmt.Sprint(a.Results[0].Response.Result.Rows[0][0].Value)
}
