package agentdb_test

import (
	"bytes"
	"errors"
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
