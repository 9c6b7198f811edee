package proof

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/server"
)

const notes = "CREATE TABLE IF NOT EXISTS notes (body TEXT)" // no key: a row sent twice is there twice

func TestLostAnswerIsNotSentTwice(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec(notes)
	as[0].exec("INSERT INTO notes VALUES ('one')")
	as[0].proxy.do(fault{kind: faultDropAnswer})
	as[0].fails()
	as[0].exec("INSERT INTO notes VALUES ('two')")
	as[0].reopen()
	as[0].proxy.do(fault{kind: faultDropAnswer}, fault{kind: faultTwice})
	as[0].fails()
	if rep := as[0].sync(); rep.Pushed != 3 {
		t.Errorf("%+v", rep)
	}
	settle(as...)
	want(t, "rows", fmt.Sprint(as[1].texts("SELECT body FROM notes ORDER BY body")), "[one two]")
}

// TestEveryCutAnswer cuts the answer of the server after each byte: the sync
// fails, nothing has changed, and the next one goes on as if nothing had been.
func TestEveryCutAnswer(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec(notes)
	as[0].exec("INSERT INTO notes VALUES ('start')")
	settle(as...)
	every := 1
	if testing.Short() {
		every = 7
	}
	for _, kind := range []faultKind{faultCutAnswer, faultCutCleanly} {
		for n := 1; ; n += every {
			text := fmt.Sprintf("%d/%d", kind, n)
			as[0].exec("INSERT INTO notes VALUES (?)", text)
			as[0].sync()
			as[1].exec("INSERT INTO notes VALUES (?)", "b"+text)
			before := inspect(t, as[1].path)
			as[1].proxy.do(fault{kind: kind, at: n})
			if _, err := as[1].Sync(bg(t)); err == nil {
				break // n bytes were all
			}
			if d := before.diff(inspect(t, as[1].path)); d != "" {
				t.Fatalf("cut after %d bytes changed the file:\n%s", n, d)
			}
			if n%8 == 0 { // other times the next answer is longer for it
				as[1].sync()
			}
			if n > 5000 {
				t.Fatal("the answer has no end")
			}
		}
		as[1].sync()
	}
	settle(as...)
	want(t, "twice", get[int](t, as[0].DB, "SELECT count(*) - count(DISTINCT body) FROM notes"), 0)
}

// TestCutSnapshot cuts the first answer, the one with the whole database.
func TestCutSnapshot(t *testing.T) {
	l := newLab(t)
	a := l.agent("a", agentdb.SyncFull)
	a.exec(notes)
	a.exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO notes SELECT hex(randomblob(40)) FROM n")
	a.sync()
	cuts := 24
	if testing.Short() {
		cuts = 8
	}
	for i := range cuts {
		b := l.agent(fmt.Sprint("b", i), agentdb.SyncFull)
		if i%2 == 0 {
			b.exec("CREATE TABLE mine (x)")
			b.exec("INSERT INTO mine VALUES (1)")
		}
		kind := faultCutAnswer
		if i%4 >= 2 {
			kind = faultCutCleanly
		}
		b.proxy.do(fault{kind: kind, part: float64(i) / float64(cuts)}, fault{kind: kind, at: -1})
		b.fails()
		b.fails()
		want(t, "rows after a cut", get[int](t, b.DB, "SELECT count(*) FROM sqlite_schema WHERE name = 'notes'"), 0)
		b.sync()
		want(t, "rows", get[int](t, b.DB, "SELECT count(*) FROM notes"), 20000)
		closed(t, b.DB)
	}
}

func TestCutRequest(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec(notes)
	for i := range 40 {
		as[0].exec("INSERT INTO notes VALUES (?)", fmt.Sprint(i))
		as[0].proxy.do(fault{kind: faultCutRequest, part: float64(i) / 40})
		as[0].fails()
	}
	as[0].proxy.do(fault{kind: faultCutRequest, at: -1}, fault{kind: faultUnavailable}, fault{kind: faultGarbage})
	for range 3 {
		as[0].fails()
	}
	settle(as...)
	want(t, "rows", get[int](t, as[1].DB, "SELECT count(DISTINCT body) FROM notes"), 40)
}

// TestOldRequestsComeAgain repeats requests late and out of order.
func TestOldRequestsComeAgain(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec(notes)
	settle(as...)
	as[0].proxy.chaos(func() fault { return fault{kind: faultReplay} })
	for i := range 30 {
		as[0].exec("INSERT INTO notes VALUES (?)", fmt.Sprint(i))
		as[0].sync()
		if i%5 == 0 {
			as[1].exec("DELETE FROM notes WHERE rowid % 3 = 0")
		}
		as[1].sync()
	}
	settle(as...)
	want(t, "twice", get[int](t, as[0].DB, "SELECT count(*) - count(DISTINCT body) FROM notes"), 0)
}

func TestOffline(t *testing.T) {
	l := newLab(t)
	a := l.agent("a", agentdb.SyncFull)
	a.proxy.offline(true)
	a.exec(notes)
	a.exec("INSERT INTO notes VALUES ('offline')")
	before := inspect(t, a.path)
	for name, f := range map[string]func(context.Context) (agentdb.Report, error){"sync": a.Sync, "pull": a.Pull, "push": a.Push} {
		if _, err := f(bg(t)); !errors.Is(err, agentdb.ErrOffline) {
			t.Errorf("%s: %v", name, err)
		}
	}
	called := 0
	err := a.UpdateOnServer(bg(t), func(tx *agentdb.Tx) error {
		called++
		_, err := tx.Exec(bg(t), "INSERT INTO notes VALUES ('claimed')")
		return err
	})
	if !errors.Is(err, agentdb.ErrOffline) {
		t.Errorf("update on server: %v", err)
	}
	if d := before.diff(inspect(t, a.path)); d != "" {
		t.Errorf("changed while offline:\n%s", d)
	}
	if st := a.Status(); st.Pending != 2 || st.LastError == nil {
		t.Errorf("%+v", st)
	}
	a.proxy.offline(false)
	if rep := a.sync(); rep.Pushed != 2 || rep.RoundTrips != 1 || rep.BytesSent == 0 || rep.BytesReceived == 0 {
		t.Errorf("%+v", rep)
	}
	if st := a.Status(); st.Pending != 0 || st.LastError != nil || st.Replica == "" || st.LastSync.IsZero() {
		t.Errorf("%+v", st)
	}
}

func TestWrongToken(t *testing.T) {
	t.Parallel()
	n := newNodeWith(t, server.Config{DataDir: filepath.Join(t.TempDir(), "data")})
	good, err := server.CreateToken(n.cfg.DataDir, server.TokenSpec{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := server.CreateToken(n.cfg.DataDir, server.TokenSpec{Database: database, Access: "read"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	try := func(name string, o agentdb.Options) error {
		o.URL = n.url(database)
		db, err := agentdb.Open(bg(t), filepath.Join(dir, name+".db"), &o)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if o.Sync != agentdb.SyncPull {
			exec(t, db, notes)
			exec(t, db, "INSERT INTO notes VALUES (?)", name)
		}
		rep, err := db.Sync(bg(t))
		if err != nil && rep.RoundTrips != 1 {
			t.Errorf("%s: %d requests for an answer that was known after the first", name, rep.RoundTrips)
		}
		return err
	}
	if err := try("good", agentdb.Options{AuthToken: good}); err != nil {
		t.Error(err)
	}
	for name, o := range map[string]agentdb.Options{"none": {}, "bad": {AuthToken: "bad"}, "cut": {AuthToken: good[:len(good)-3]}} {
		if err := try(name, o); !errors.Is(err, agentdb.ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := try("reads", agentdb.Options{AuthToken: reader, Sync: agentdb.SyncPull}); err != nil {
		t.Error(err)
	}
	if err := try("writes", agentdb.Options{AuthToken: reader}); err == nil {
		t.Error("a token that only reads could push")
	}
	asked := 0
	fn := func(context.Context) (string, error) {
		if asked++; asked == 1 {
			return "stale", nil
		}
		return good, nil
	}
	if err := try("func", agentdb.Options{TokenFunc: fn, AuthToken: "never used"}); err != nil || asked != 2 {
		t.Errorf("%v after %d calls", err, asked)
	}
	// What failed for its token goes through with a better one.
	if err := try("bad", agentdb.Options{AuthToken: good}); err != nil {
		t.Error(err)
	}
	db := opened(t, filepath.Join(dir, "good.db"), &agentdb.Options{URL: n.url(database), AuthToken: good})
	synced(t, db)
	got := all[string](t, db, "SELECT body FROM notes ORDER BY body")
	want(t, "rows", strings.Join(got, " "), "bad bad func good")
}

func TestPullMode(t *testing.T) {
	l := newLab(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPull)
	a.exec(notes)
	a.exec("INSERT INTO notes VALUES ('x')")
	a.sync()
	p.sync()
	before := inspect(t, p.path)
	ctx := bg(t)
	for _, sql := range []string{
		"INSERT INTO notes VALUES ('mine')", "UPDATE notes SET body = 'mine'", "DELETE FROM notes", "CREATE TABLE mine (x)",
		"DROP TABLE notes", "ALTER TABLE notes ADD COLUMN x", "CREATE INDEX i ON notes (body)", "REPLACE INTO notes VALUES (1)",
		"SELECT 1; INSERT INTO notes VALUES ('mine')", "DELETE FROM agentdb_conflicts",
	} {
		if _, err := p.Exec(ctx, sql); !errors.Is(err, agentdb.ErrReadOnly) {
			t.Errorf("%s: %v", sql, err)
		}
		err := p.Update(ctx, func(tx *agentdb.Tx) error { _, err := tx.Exec(ctx, sql); return err })
		if !errors.Is(err, agentdb.ErrReadOnly) {
			t.Errorf("%s in Update: %v", sql, err)
		}
		if _, err := p.SQL().ExecContext(ctx, sql); !errors.Is(err, agentdb.ErrReadOnly) {
			t.Errorf("%s in database/sql: %v", sql, err)
		}
	}
	if _, err := agentdb.Get[string](ctx, p.DB, "INSERT INTO notes VALUES ('mine') RETURNING body"); !errors.Is(err, agentdb.ErrReadOnly) {
		t.Errorf("returning: %v", err)
	}
	err := p.UpdateOnServer(ctx, func(tx *agentdb.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO notes VALUES ('mine')")
		return err
	})
	if !errors.Is(err, agentdb.ErrReadOnly) {
		t.Errorf("update on server: %v", err)
	}
	if d := before.diff(inspect(t, p.path)); d != "" {
		t.Error(d)
	}
	a.exec("UPDATE notes SET body = 'y'")
	a.sync()
	if rep := p.sync(); rep.Pulled != 1 {
		t.Errorf("%+v", rep)
	}
	same(t, a.path, p.path)
}

func TestPushMode(t *testing.T) {
	l := newLab(t)
	a, p := l.agent("a", agentdb.SyncFull), l.agent("p", agentdb.SyncPush)
	for _, x := range []*agent{a, p} {
		x.exec("CREATE TABLE IF NOT EXISTS tasks (id INTEGER PRIMARY KEY, name TEXT)")
		x.exec("INSERT INTO tasks (name) VALUES (?)", x.path)
		x.exec("INSERT INTO tasks (name) VALUES (?)", x.path+"2")
	}
	a.sync()
	rep := p.sync()
	if len(rep.IDs) != 2 || rep.IDs[0].Table != "tasks" || rep.IDs[0].Old != 1 {
		t.Errorf("%+v", rep)
	}
	want(t, "rows of a push replica", get[int](t, p.DB, "SELECT count(*) FROM tasks"), 2)
	for _, id := range rep.IDs {
		want(t, "rows with the new id", get[int](t, p.DB, "SELECT count(*) FROM tasks WHERE id = ?", id.New), 1)
	}
	p.exec("UPDATE tasks SET name = name || '!' WHERE id = ?", rep.IDs[1].New)
	p.sync()
	a.sync()
	want(t, "rows", get[int](t, a.DB, "SELECT count(DISTINCT name) FROM tasks"), 4)
	want(t, "updated", get[string](t, a.DB, "SELECT name FROM tasks WHERE id = ?", rep.IDs[1].New), p.path+"2!")
}

func TestBackground(t *testing.T) {
	l := newLab(t)
	a := l.agent("a", agentdb.SyncFull)
	a.exec(notes)
	a.sync()
	b := l.agent("b", agentdb.SyncFull)
	closed(t, b.DB)
	b.opts.Interval = time.Hour // only being woken is fast enough
	b.DB = opened(t, b.path, &b.opts)
	eventually(t, "the first pull", func() bool {
		n, err := agentdb.Get[int](bg(t), b.DB, "SELECT count(*) FROM sqlite_schema WHERE name = 'notes'")
		return err == nil && n == 1
	})
	for i := range 5 {
		a.exec("INSERT INTO notes VALUES (?)", fmt.Sprint("a", i))
		a.sync()
		eventually(t, "news", func() bool {
			return get[int](t, b.DB, "SELECT count(*) FROM notes WHERE body = ?", fmt.Sprint("a", i)) == 1
		})
		b.exec("INSERT INTO notes VALUES (?)", fmt.Sprint("b", i))
		eventually(t, "push", func() bool { return b.Status().Pending == 0 })
		a.sync()
		want(t, "rows", get[int](t, a.DB, "SELECT count(*) FROM notes WHERE body = ?", fmt.Sprint("b", i)), 1)
	}
	b.proxy.offline(true)
	b.exec("INSERT INTO notes VALUES ('offline')")
	time.Sleep(200 * time.Millisecond)
	b.proxy.offline(false)
	eventually(t, "push after the network came back", func() bool { return b.Status().Pending == 0 })
	settle(a, b)
}

func TestWatch(t *testing.T) {
	l := newLab(t)
	as := l.full(2)
	as[0].exec("CREATE TABLE tasks (id INTEGER PRIMARY KEY, name TEXT)")
	as[0].exec("CREATE TABLE other (x)")
	settle(as...)
	ctx, cancel := context.WithCancel(bg(t))
	defer cancel()
	got := make(chan agentdb.Change, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ch, err := range as[1].Watch(ctx, "tasks") {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("watch: %v", err)
				}
				return
			}
			got <- ch
		}
	}()
	next := func(what string) agentdb.Change {
		select {
		case ch := <-got:
			return ch
		case <-time.After(10 * time.Second):
			t.Fatalf("no change: %s", what)
		}
		panic("unreachable")
	}
	time.Sleep(100 * time.Millisecond) // until the goroutine watches
	as[1].exec("INSERT INTO other VALUES (1)")
	as[1].exec("INSERT INTO tasks (name) VALUES ('local')")
	if ch := next("local insert"); ch.Table != "tasks" || ch.Op != agentdb.Insert || ch.Remote || ch.New["name"] != "local" || ch.Old != nil || ch.Key != int64(1) {
		t.Errorf("%+v", ch)
	}
	as[1].sync()
	as[0].sync()
	as[0].exec("UPDATE tasks SET name = 'remote' WHERE id = 1")
	as[0].sync()
	as[1].sync()
	if ch := next("remote update"); ch.Op != agentdb.Update || !ch.Remote || ch.New["name"] != "remote" || ch.Old["name"] != "local" {
		t.Errorf("%+v", ch)
	}
	as[0].exec("DELETE FROM tasks")
	as[0].sync()
	as[1].sync()
	if ch := next("remote delete"); ch.Op != agentdb.Delete || !ch.Remote || ch.New != nil || ch.Old["name"] != "remote" {
		t.Errorf("%+v", ch)
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("watch goes on after its context")
	}
}

// TestWriteDuringSync commits while a sync is under way: before the server has
// the request, and while the answer is on its way.
func TestWriteDuringSync(t *testing.T) {
	for _, mode := range []agentdb.SyncMode{agentdb.SyncFull, agentdb.SyncPush} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/%v", mode, lost), func(t *testing.T) { testWriteDuringSync(t, mode, lost) })
		}
	}
}

func testWriteDuringSync(t *testing.T, mode agentdb.SyncMode, lost bool) {
	l := newLab(t)
	a, b := l.agent("a", agentdb.SyncFull), l.agent("b", mode)
	for _, x := range []*agent{a, b} {
		x.exec("CREATE TABLE IF NOT EXISTS p (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE IF NOT EXISTS c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p(id), name TEXT)")
	}
	a.exec("INSERT INTO p (name) VALUES ('a'), ('a2'), ('a3')")
	a.exec("INSERT INTO c (p, name) VALUES (1, 'a'), (2, 'a2')")
	a.sync()
	const pause = 150 * time.Millisecond
	b.exec("INSERT INTO p (name) VALUES ('b')")
	b.exec("INSERT INTO c (p, name) VALUES (1, 'b')")
	child := func(name string) {
		t.Helper()
		b.exec("INSERT INTO c (p, name) SELECT id, ? FROM p WHERE name = 'b'", name)
		b.exec("UPDATE c SET name = name || '.' WHERE name = ?", name)
	}
	for range 2 {
		if lost {
			b.proxy.do(fault{delay: pause, kind: faultDropAnswer})
		} else {
			b.proxy.do(fault{delay: pause})
		}
		done := make(chan error)
		go func() {
			_, err := b.Sync(bg(t))
			done <- err
		}()
		time.Sleep(pause / 2)
		child("b") // before the server has seen anything
		time.Sleep(pause)
		child("b") // the server has answered
		if err := <-done; (err != nil) != lost {
			t.Errorf("sync: %v", err)
		}
		child("b")
	}
	b.sync()
	b.sync()
	a.sync()
	want(t, "children of their parents", get[int](t, a.DB, "SELECT count(*) FROM c JOIN p ON p.id = c.p WHERE rtrim(c.name, '.') = p.name"), 9)
	want(t, "renamed", get[int](t, a.DB, "SELECT count(*) FROM c WHERE name = 'b.'"), 7)
}
