package proof

import (
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentdb/agentdb"
)

// duplicate copies a closed file, or a directory.
func duplicate(t testing.TB, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(from + suffix); err == nil {
			t.Fatalf("%s is still there: the file is open", from+suffix)
		}
	}
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// bodies is the content of notes, in one line.
func (a *agent) bodies() string {
	a.lab.t.Helper()
	return strings.Join(a.texts("SELECT body FROM notes ORDER BY body"), " ")
}

func (a *agent) write(bodies ...string) {
	a.lab.t.Helper()
	for _, b := range bodies {
		a.exec("INSERT INTO notes VALUES (?)", b)
	}
}

// TestRestoredBackup puts an older copy of a file back.
func TestRestoredBackup(t *testing.T) {
	for _, how := range []string{"copy", "vacuum into"} {
		for _, pending := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", how, pending), func(t *testing.T) { testRestoredBackup(t, how, pending) })
		}
	}
}

func testRestoredBackup(t *testing.T, how string, pending bool) {
	l := newLab(t)
	as := l.full(2)
	a := as[0]
	a.exec(notes)
	a.write("1")
	settle(as...)
	if pending {
		a.write("2") // in the backup, not yet sent
	}
	backup := filepath.Join(l.dir, "backup")
	if how == "vacuum into" {
		if _, err := a.Exec(bg(t), "VACUUM INTO '"+backup+"'"); err != nil {
			t.Skipf("refused: %v", err)
		}
		closed(t, a.DB)
	} else {
		closed(t, a.DB)
		duplicate(t, a.path, backup)
	}
	a.DB = opened(t, a.path, &a.opts)
	a.write("3", "4")
	a.sync()
	a.write("5") // lost with the file
	closed(t, a.DB)
	if err := os.Rename(backup, a.path); err != nil {
		t.Fatal(err)
	}
	a.DB = opened(t, a.path, &a.opts)
	a.write("6", "7")
	a.sync()
	settle(as...)
	wanted := "1 3 4 6 7"
	if pending {
		wanted = "1 2 3 4 6 7"
	}
	want(t, "rows", a.bodies(), wanted)
	a.write("8")
	settle(as...)
	want(t, "rows", as[1].bodies(), wanted+" 8")
}

// TestClonedFile lets two copies of a file live on.
func TestClonedFile(t *testing.T) {
	for _, pending := range []bool{false, true} {
		t.Run(fmt.Sprint(pending), func(t *testing.T) {
			l := newLab(t)
			a, other := l.agent("a", agentdb.SyncFull), l.agent("b", agentdb.SyncFull)
			a.exec(notes)
			a.write("1")
			settle(a, other)
			if pending {
				a.write("2")
			}
			closed(t, a.DB)
			clone := &agent{lab: l, path: filepath.Join(l.dir, "clone.db"), proxy: newProxy(t, l.node)}
			clone.opts = a.opts
			clone.opts.URL = clone.proxy.url(database)
			duplicate(t, a.path, clone.path)
			a.DB = opened(t, a.path, &a.opts)
			clone.reopen()
			for i := range 5 {
				a.write(fmt.Sprint("a", i))
				clone.write(fmt.Sprint("c", i), fmt.Sprint("d", i))
				if i%2 == 0 {
					a.sync()
					clone.sync()
				} else {
					clone.sync()
				}
			}
			settle(a, clone, other)
			wanted := "1 a0 a1 a2 a3 a4 c0 c1 c2 c3 c4 d0 d1 d2 d3 d4"
			if pending {
				// What both copies hold unsent may arrive from one of them or from both; never from none.
				want(t, "rows", strings.Replace(strings.Replace(other.bodies(), "1 2 2 a0", "1 a0", 1), "1 2 a0", "1 a0", 1), wanted)
			} else {
				want(t, "rows", other.bodies(), wanted)
			}
			if a.Status().Replica == clone.Status().Replica {
				t.Error("both copies go by the same name still")
			}
		})
	}
}

// TestRestoredServer puts an older state of the server back.
func TestRestoredServer(t *testing.T) {
	for _, schema := range []string{"CREATE TABLE notes (body TEXT)", "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)", "CREATE TABLE notes (body TEXT PRIMARY KEY) WITHOUT ROWID"} {
		t.Run(schema, func(t *testing.T) {
			l := newLab(t)
			as := l.full(3)
			put := func(a *agent, text string) { a.exec("INSERT INTO notes (body) VALUES (?)", text) }
			as[0].exec(schema)
			put(as[0], "1")
			settle(as...)
			put(as[1], "early") // stays unsent until after the restore
			settle(as[0], as[2])
			l.node.down()
			old := filepath.Join(l.dir, "old")
			duplicate(t, l.node.cfg.DataDir, old)
			l.node.up()
			put(as[0], "2")
			as[0].sync()
			put(as[2], "3")
			settle(as[0], as[2])
			as[0].exec("UPDATE notes SET body = '1 changed' WHERE body = '1'")
			as[0].sync()
			l.node.down()
			if err := os.RemoveAll(l.node.cfg.DataDir); err != nil {
				t.Fatal(err)
			}
			duplicate(t, old, l.node.cfg.DataDir)
			l.node.up()
			put(as[0], "4")
			if rep := as[0].sync(); rep.Resent == 0 {
				t.Errorf("%+v", rep)
			}
			if rep := as[2].sync(); rep.Resent == 0 {
				t.Errorf("%+v", rep)
			}
			settle(as...)
			want(t, "rows", as[1].bodies(), "1 changed 2 3 4 early")
			put(as[2], "5")
			settle(as...)
			want(t, "rows", as[0].bodies(), "1 changed 2 3 4 5 early")
		})
	}
}

// sqlite3 runs the Debian command on a file.
func sqlite3(t testing.TB, path, sql string) (string, error) {
	t.Helper()
	bin, err := osexec.LookPath("sqlite3")
	if err != nil {
		t.Skip("no sqlite3 command here")
	}
	out, err := osexec.Command(bin, "-bail", path, sql).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestSqlite3Reads(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec(notes)
	as[0].write("1", "2")
	settle(as...)
	read := func() {
		t.Helper()
		out, err := sqlite3(t, as[0].path, "SELECT group_concat(body, ' ') FROM (SELECT body FROM notes ORDER BY body); PRAGMA integrity_check")
		if err != nil || out != as[1].bodies()+"\nok" {
			t.Errorf("%s: %v", out, err)
		}
	}
	read() // while our process has it open
	as[0].write("3")
	settle(as...)
	read()
	closed(t, as[0].DB)
	read() // and while it has not
	read()
	as[0].DB = opened(t, as[0].path, &as[0].opts)
	as[0].write("4")
	as[1].write("5")
	settle(as...)
	want(t, "rows", as[0].bodies(), "1 2 3 4 5")
}

// TestSqlite3Writes demands that nothing written by another program is
// silently left out: it is refused, or it arrives, or the sync says that the
// file had to be put aside.
func TestSqlite3Writes(t *testing.T) {
	for _, open := range []bool{true, false} {
		for _, sql := range []string{
			"INSERT INTO notes VALUES ('foreign')", "UPDATE notes SET body = 'foreign' WHERE body = '1'", "DELETE FROM notes WHERE body = '1'",
			"CREATE TABLE foreigner (x)", "CREATE TABLE foreigner (x); INSERT INTO foreigner VALUES (1)", "DROP TABLE notes", "ALTER TABLE notes ADD COLUMN x", "PRAGMA user_version = 7", "VACUUM",
		} {
			t.Run(fmt.Sprintf("%v/%s", open, sql), func(t *testing.T) { testSqlite3Writes(t, open, sql) })
		}
	}
}

func testSqlite3Writes(t *testing.T, open bool, sql string) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec(notes)
	as[0].write("1", "2")
	settle(as...)
	as[0].write("pending")
	if !open {
		closed(t, as[0].DB)
	}
	before := inspect(t, as[0].path)
	out, err := sqlite3(t, as[0].path, sql)
	wrote := before.diff(inspect(t, as[0].path)) != ""
	if err != nil && wrote {
		t.Errorf("refused, but changed: %s", out)
	}
	if !open {
		as[0].DB = opened(t, as[0].path, &as[0].opts)
	}
	as[1].write("other")
	as[1].sync()
	var reports []agentdb.Report
	for range 2 {
		reports = append(reports, as[0].sync())
		as[1].sync()
	}
	t.Logf("%s: %v, wrote %v, reports %+v", out, err, wrote, reports)
	same(t, as[0].path, as[1].path)
	said := false
	for _, r := range reports {
		said = said || r.Diverged != ""
	}
	arrived := inspect(t, as[1].path)
	if wrote && !said && fmt.Sprint(before.rows["notes"], before.schema) == fmt.Sprint(arrived.rows["notes"], arrived.schema) {
		t.Error("what another program wrote was neither refused nor sent nor reported")
	}
	for _, body := range []string{"pending", "other"} {
		if err == nil && strings.HasPrefix(sql, "DROP") {
			continue
		}
		want(t, body, strings.Count(as[1].bodies(), body), 1)
	}
}

// TestPlainFileIsOrdinary lets both write one file that isn't synced.
func TestPlainFileIsOrdinary(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "plain.db")
	db := opened(t, path, nil)
	exec(t, db, notes)
	for i := range 5 {
		exec(t, db, "INSERT INTO notes VALUES (?)", fmt.Sprint("a", i))
		if out, err := sqlite3(t, path, fmt.Sprintf("INSERT INTO notes VALUES ('s%d'); CREATE TABLE IF NOT EXISTS mine (x)", i)); err != nil {
			t.Fatal(out)
		}
	}
	want(t, "rows", get[int](t, db, "SELECT count(*) FROM notes"), 10)
	want(t, "tables", strings.Join(all[string](t, db, "SELECT name FROM sqlite_schema"), " "), "notes mine")
}

// TestJoin gives a plain local file a server.
func TestJoin(t *testing.T) {
	for _, remote := range []bool{false, true} {
		t.Run(fmt.Sprint(remote), func(t *testing.T) {
			l := newLab(t)
			b := l.agent("b", agentdb.SyncFull)
			schema := "CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT); CREATE TABLE IF NOT EXISTS steps (task INTEGER REFERENCES tasks(id), name TEXT); CREATE TABLE IF NOT EXISTS %s (k TEXT PRIMARY KEY) WITHOUT ROWID"
			fill := func(q execer, who string) {
				exec(t, q, fmt.Sprintf(schema, "own_"+who))
				exec(t, q, "INSERT INTO own_"+who+" VALUES ('x')")
				exec(t, q, "INSERT INTO tasks (name) VALUES (?), (?)", who, who+"2")
				exec(t, q, "INSERT INTO steps VALUES (1, ?), (2, ?)", who, who+"2")
				exec(t, q, "DELETE FROM tasks WHERE id = 3")
			}
			if remote {
				fill(b.DB, "b")
				b.sync()
			}
			path := filepath.Join(l.dir, "a.db")
			db := opened(t, path, nil)
			fill(db, "a")
			exec(t, db, "CREATE VIRTUAL TABLE IF NOT EXISTS f USING fts5(tok, body)")
			exec(t, db, "INSERT INTO f VALUES ('<f-1>', 'ant bee')")
			closed(t, db)
			a := l.agent("a", agentdb.SyncFull)
			want(t, "rows before the first sync", get[int](t, a.DB, "SELECT count(*) FROM tasks"), 2)
			a.exec("INSERT INTO tasks (name) VALUES ('a3')")
			settle(a, b)
			n := 3
			if remote {
				n = 5
			}
			want(t, "tasks", get[int](t, b.DB, "SELECT count(*) FROM tasks"), n)
			want(t, "steps", get[int](t, b.DB, "SELECT count(*) FROM steps s JOIN tasks t ON t.id = s.task AND t.name = s.name"), n-1)
			want(t, "full text", get[int](t, b.DB, "SELECT count(*) FROM f WHERE f MATCH 'bee'"), 1)
			want(t, "own table", get[int](t, b.DB, "SELECT count(*) FROM own_a"), 1)
		})
	}
}

// TestLargeValue carries 100 MB through.
func TestLargeValue(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	l := newLab(t)
	as := l.full(2)
	as[0].exec("CREATE TABLE big (v BLOB)")
	settle(as...)
	as[0].exec("INSERT INTO big VALUES (zeroblob(100000000))")
	as[0].exec("INSERT INTO big VALUES (randomblob(3000000))")
	settle(as...)
	want(t, "bytes", get[int](t, as[1].DB, "SELECT max(length(v)) FROM big"), 100_000_000)
}
