package agentdb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/agentdbtest"
	"github.com/agentdb/agentdb/internal/wire"
)

// narrow refuses requests with more than a few changes, as a server does that
// is asked for too much at a time.
type narrow struct {
	changes int
	refused int
}

func (f *narrow) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	req, err := wire.DecodeRequest(body, 1<<30)
	if err != nil {
		return nil, err
	}
	if len(req.Changes) > f.changes || req.Strict != nil && f.changes == 0 {
		f.refused++
		return &http.Response{StatusCode: http.StatusRequestEntityTooLarge, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(r)
}

// TestTooMuchAtATime: what is too much for one request goes in several.
func TestTooMuchAtATime(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	f := &narrow{changes: 3}
	a := agentAt(t, srv, tmp(t), agentdb.SyncFull, f)
	runSQL(t, a, tasks)
	for range 20 {
		runSQL(t, a, "INSERT INTO tasks(v) VALUES('x')")
	}
	rep := mustSync(t, a)
	if rep.Pushed != 22 || f.refused == 0 {
		t.Errorf("%+v, %d refused", rep, f.refused)
	}
	if err := a.UpdateOnServer(t.Context(), func(tx *agentdb.Tx) error {
		_, err := tx.Exec(t.Context(), "INSERT INTO tasks(v) VALUES('strict')")
		return err
	}); err != nil {
		t.Error(err)
	}
	b := agent(t, srv, agentdb.SyncFull)
	mustSync(t, b)
	want(t, b, "SELECT count(*) FROM tasks", "[[21]]")
	f.changes = 0
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('too much by itself')")
	if _, err := a.Sync(t.Context()); !errors.Is(err, agentdb.ErrQuota) {
		t.Errorf("one change that is too much: %v", err)
	}
}

// picky refuses requests with a change above a size, as a server does.
type picky struct{ bytes int }

func (f *picky) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	req, err := wire.DecodeRequest(body, 1<<30)
	if err != nil {
		return nil, err
	}
	for _, c := range req.Changes {
		if len(c.Body) > f.bytes {
			return &http.Response{StatusCode: http.StatusRequestEntityTooLarge, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(r)
}

// TestDropTransaction: one transaction that the server will never take is named
// by the error, and can be given up: what came after it goes on, and a record
// says what it was.
func TestDropTransaction(t *testing.T) {
	for _, mode := range []agentdb.SyncMode{agentdb.SyncFull, agentdb.SyncPush} {
		for _, schema := range []bool{false, true} {
			if mode == agentdb.SyncPush && schema {
				continue
			}
			t.Run(fmt.Sprint(mode, schema), func(t *testing.T) { dropTransaction(t, mode, schema) })
		}
	}
}

func dropTransaction(t *testing.T, mode agentdb.SyncMode, schema bool) {
	srv := agentdbtest.NewServer(t)
	a, b := agentAt(t, srv, tmp(t), mode, &picky{300_000}), agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	runSQL(t, a, "INSERT INTO tasks(id,v) VALUES(1,'first')")
	mustSync(t, a)
	mustSync(t, b)
	runSQL(t, b, "INSERT INTO tasks(v) VALUES('theirs')")
	mustSync(t, b)
	runSQL(t, a, "INSERT INTO tasks(id,v) VALUES(10,'before')")
	if err := a.Update(t.Context(), func(tx *agentdb.Tx) error {
		for _, sql := range []string{"INSERT INTO tasks(id,v) VALUES(11, hex(randomblob(200000)))", "UPDATE tasks SET v='changed' WHERE id=1"} {
			if _, err := tx.Exec(t.Context(), sql); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	runSQL(t, a, "INSERT INTO notes(id,task,v) VALUES(1,11,'of the large one')")
	runSQL(t, a, "INSERT INTO notes(id,task,v) VALUES(2,10,'of the small one')")
	if schema {
		runSQL(t, a, "CREATE VIEW vw AS SELECT v FROM tasks")
	}
	runSQL(t, a, "INSERT INTO tasks(id,v) VALUES(12,'after')")
	_, err := a.Sync(t.Context())
	var refused *agentdb.RefusedError
	if !errors.As(err, &refused) || !errors.Is(err, agentdb.ErrQuota) || refused.Transaction != 5 || refused.Size < 400_000 {
		t.Fatalf("the error is %v", err)
	}
	for _, no := range []int64{0, 1, 99} {
		if _, err := a.DropTransaction(t.Context(), no); err == nil {
			t.Errorf("transaction %d was dropped", no)
		}
	}
	kept, err := a.DropTransaction(t.Context(), refused.Transaction)
	if err != nil {
		t.Fatal(err)
	}
	want(t, agentdbtest.OpenFile(t, kept, nil), "SELECT length(v) FROM tasks WHERE id=11", "[[400000]]")
	want(t, a, "SELECT id, v FROM tasks WHERE id>=10 OR id=1 ORDER BY id", "[[1 first] [10 before] [12 after]]")
	both(t, a, b)
	want(t, b, "SELECT v FROM tasks ORDER BY v", "[[after] [before] [first] [theirs]]")
	want(t, b, "SELECT v FROM notes", "[[of the small one]]")
	for _, db := range []*agentdb.DB{b, a} {
		if db == a && mode == agentdb.SyncPush {
			continue
		}
		want(t, db, "SELECT kind, table_name, key, change, length(losing)>10 FROM agentdb_conflicts ORDER BY kind, key",
			"[[foreign-key notes 1 6 1] [refused tasks 1 5 1] [refused tasks 11 5 <nil>]]")
	}
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('goes on')")
	if rep := mustSync(t, a); rep.Pushed != 1 {
		t.Errorf("%+v", rep)
	}
}

// TestTooLargeToCommit: a transaction that no server would take is refused
// where it is made.
func TestTooLargeToCommit(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	srv := agentdbtest.NewServer(t)
	a := agent(t, srv, agentdb.SyncFull)
	runSQL(t, a, tasks)
	res, err := a.Exec(t.Context(), "INSERT INTO tasks(v) VALUES(randomblob(68000000))")
	if !errors.Is(err, agentdb.ErrQuota) || res != (agentdb.Result{}) {
		t.Errorf("%+v, the error is %v", res, err)
	}
	runSQL(t, a, "INSERT INTO tasks(v) VALUES('fine')")
	mustSync(t, a)
	want(t, a, "SELECT id, v FROM tasks", "[[1 fine]]")
}

// busy is a server that takes no more requests for a while.
type busy struct{ times int }

func (b *busy) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.times--; b.times >= 0 {
		_ = r.Body.Close()
		return &http.Response{StatusCode: http.StatusTooManyRequests, Body: http.NoBody, Header: http.Header{"Retry-After": {"0"}}, Request: r}, nil
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestTooManyRequests: who is told to wait waits, and sends again.
func TestTooManyRequests(t *testing.T) {
	srv := agentdbtest.NewServer(t)
	f := &busy{times: 3}
	a := agentAt(t, srv, tmp(t), agentdb.SyncFull, f)
	runSQL(t, a, tasks)
	if rep := mustSync(t, a); rep.Pushed == 0 || rep.RoundTrips != 4 {
		t.Errorf("%+v", rep)
	}
	f.times = 100
	if _, err := a.Sync(t.Context()); !errors.Is(err, agentdb.ErrQuota) {
		t.Errorf("a server that never takes a request: %v", err)
	}
	if f.times < 90 {
		t.Errorf("it was asked %d times", 100-f.times)
	}
}
