package hrana

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
)

// fakeConn knows BEGIN and COMMIT, and answers everything else with a row.
type fakeConn struct {
	tx     bool
	closed int
	lost   error // of Settle
}

func (c *fakeConn) Run(_ context.Context, q *tenant.Query, rows tenant.Rows) (tenant.Result, error) {
	switch q.SQL {
	case "BEGIN":
		c.tx = true
	case "COMMIT":
		c.tx = false
	case "ERROR":
		return tenant.Result{}, &sqlite.Error{Code: sqlite.CodeError, Message: "no"}
	case "BROKEN":
		return tenant.Result{}, errors.New("broken")
	}
	if err := rows.Columns([]tenant.Column{{Name: "a"}}); err != nil {
		return tenant.Result{}, err
	}
	return tenant.Result{}, rows.Row([]sqlite.Value{sqlite.Text("x\n")})
}

func (c *fakeConn) Script(context.Context, string) error { return nil }
func (c *fakeConn) Describe(context.Context, string) (*tenant.Description, error) {
	return &tenant.Description{}, nil
}
func (c *fakeConn) InTransaction() bool        { return c.tx }
func (c *fakeConn) Fresh() bool                { return !c.tx }
func (c *fakeConn) Wait(fn func() error) error { return fn() }

func (c *fakeConn) Settle(context.Context) error { return c.lost }
func (c *fakeConn) Close()                       { c.closed++; c.tx = false }

func execute(sql string) Request {
	return Request{Kind: KindExecute, Batch: Batch{Steps: []Step{{Stmt: Stmt{SQL: SQL{Text: sql}, WantRows: true}}}}}
}

// run sends requests on a stream and returns the baton of the answer.
func run(t *testing.T, s *Streams, c *fakeConn, baton string, reqs ...Request) (string, error) {
	t.Helper()
	b, err := s.Pipeline(t.Context(), &Call{Owner: "me", Open: func() Conn { return c }}, &PipelineRequest{Baton: baton, Requests: reqs})
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(b), `{"baton":"`)
	next, _, _ := strings.Cut(rest, `"`)
	return next, nil
}

func TestStreamsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := NewStreams(Config{}), &fakeConn{}
		b, err := run(t, s, c, "", execute("BEGIN"))
		if err != nil || b == "" {
			t.Fatal(b, err)
		}
		for range 3 {
			time.Sleep(4 * time.Second)
			if b, err = run(t, s, c, b, execute("SELECT")); err != nil || b == "" {
				t.Fatal(b, err)
			}
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if _, err := run(t, s, c, b, execute("COMMIT")); !errors.Is(err, ErrExpired) || c.tx || s.Waiting() != 0 {
			t.Errorf("after its idle time: %v, transaction %v, %d wait", err, c.tx, s.Waiting())
		}
	})
}

func TestStreamsBoundTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := NewStreams(Config{MaxTransaction: 10 * time.Second}), &fakeConn{}
		b, err := run(t, s, c, "", execute("BEGIN"))
		for start := time.Now(); err == nil; {
			if time.Since(start) > 11*time.Second {
				t.Fatal("it goes on")
			}
			time.Sleep(time.Second)
			synctest.Wait()
			b, err = run(t, s, c, b, execute("SELECT"))
		}
		if !errors.Is(err, ErrExpired) || c.tx {
			t.Errorf("%v, transaction %v", err, c.tx)
		}
	})
}

func TestStreamsKeepStoredSQL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := NewStreams(Config{MaxStored: 1}), &fakeConn{}
		b, err := run(t, s, c, "", Request{Kind: KindStoreSQL, SQL: SQL{Text: "SELECT", ID: 1}}, Request{Kind: KindStoreSQL, SQL: SQL{Text: "SELECT", ID: 2}})
		if err != nil || b == "" {
			t.Fatal(b, err)
		}
		time.Sleep(20 * time.Second)
		if b, err = run(t, s, c, b, Request{Kind: KindCloseSQL, SQL: SQL{ID: 1}}); err != nil || b != "" || s.Waiting() != 0 {
			t.Errorf("baton %q, %v, %d wait", b, err, s.Waiting())
		}
	})
}

func TestBatonIsGoodOnceAndForItsOwner(t *testing.T) {
	s, c := NewStreams(Config{}), &fakeConn{}
	first, err := run(t, s, c, "", execute("BEGIN"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pipeline(t.Context(), &Call{Owner: "other"}, &PipelineRequest{Baton: first}); !errors.Is(err, ErrExpired) {
		t.Errorf("another owner: %v", err)
	}
	second, err := run(t, s, c, first, execute("SELECT"))
	if err != nil || second == first {
		t.Fatal(second, err)
	}
	forged := []byte(second)
	forged[3] ^= 1
	for _, bad := range []string{first, string(forged), second + "A", "", second[:20]} {
		if bad == "" {
			continue
		}
		if _, err := run(t, s, c, bad, execute("SELECT")); !errors.Is(err, ErrExpired) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if b, err := run(t, s, c, second, execute("COMMIT")); err != nil || b != "" || c.closed == 0 {
		t.Errorf("baton %q, %v, closed %d times", b, err, c.closed)
	}
}

func TestStreamsClose(t *testing.T) {
	s, c := NewStreams(Config{}), &fakeConn{}
	b, err := run(t, s, c, "", execute("BEGIN"))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := run(t, s, c, b, execute("COMMIT")); !errors.Is(err, ErrExpired) || c.tx {
		t.Errorf("%v, transaction %v", err, c.tx)
	}
	if b, err := run(t, s, c, "", execute("BEGIN")); err != nil || b != "" || c.tx {
		t.Errorf("after Close: baton %q, %v, transaction %v", b, err, c.tx)
	}
}

func TestNothingIsAnsweredThatIsLost(t *testing.T) {
	s, c := NewStreams(Config{}), &fakeConn{lost: errors.New("lost")}
	if _, err := run(t, s, c, "", execute("BEGIN")); !errors.Is(err, c.lost) || c.tx {
		t.Errorf("%v, transaction %v", err, c.tx)
	}
	if _, err := run(t, s, &fakeConn{}, "", execute("BROKEN"), execute("SELECT")); err == nil {
		t.Error("an error that is none of the statement's was answered")
	}
}

// TestSocketProto follows one stream over protobuf, to the byte.
func TestSocketProto(t *testing.T) {
	var sent []string
	k := NewStreams(Config{}).Socket(t.Context(), SocketConfig{
		Format:    Protobuf,
		Authorize: func(string) (func() Conn, error) { return func() Conn { return &fakeConn{} }, nil },
		Take:      func(int64) bool { return true },
		Give:      func(int64) {},
		Send:      func(_ context.Context, msg []byte) error { sent = append(sent, hex.EncodeToString(msg)); return nil },
	})
	request := func(id uint64, num protowire.Number, msg []byte) []byte {
		return appendMessage(nil, 2, appendMessage(appendNumber(nil, 1, id), num, msg))
	}
	stmt := appendMessage(appendNumber(nil, 1, 7), 2, appendText(nil, 1, "SELECT"))
	cursor := appendMessage(appendNumber(appendNumber(nil, 1, 7), 2, 3), 3, appendMessage(nil, 1, appendMessage(nil, 2, appendText(nil, 1, "SELECT"))))
	for _, msg := range [][]byte{
		appendMessage(nil, 1, appendText(nil, 1, "token")),
		request(1, 2, appendNumber(nil, 1, 7)),
		request(2, 4, stmt),
		request(3, 6, cursor),
		request(4, 8, appendNumber(appendNumber(nil, 1, 3), 2, 1)),
		request(5, 8, appendNumber(appendNumber(nil, 1, 3), 2, 9)),
		request(6, 13, appendNumber(nil, 1, 7)),
		request(7, 13, appendNumber(nil, 1, 8)),
	} {
		done := make(chan struct{})
		if err := k.Handle(msg, func() { close(done) }); err != nil {
			t.Fatal(err)
		}
		<-done
	}
	k.Close()
	for i, want := range map[int]string{0: "0a00", 1: "1a0408011200", 3: "1a0408033200"} { // hello_ok, open_stream, open_cursor
		if sent[i] != want {
			t.Errorf("message %d: %s, want %s", i, sent[i], want)
		}
	}
	if !strings.Contains(sent[2], hex.EncodeToString([]byte("\x22\x02x\n"))) { // Value.text
		t.Errorf("execute: %s", sent[2])
	}
	if !strings.HasSuffix(sent[4], "1000") || !strings.HasSuffix(sent[5], "1001") || !strings.HasSuffix(sent[6], "0801") {
		t.Errorf("not done, done, autocommit: %q", sent[4:7])
	}
	if !strings.HasPrefix(sent[7], "22") {
		t.Errorf("no such stream: %s", sent[7])
	}
}

func FuzzSocketProto(f *testing.F) {
	for num := protowire.Number(2); num <= 13; num++ {
		f.Add(appendMessage(nil, 2, appendMessage(nil, num, appendMessage(appendNumber(nil, 1, 0), 2, appendText(nil, 1, "BEGIN")))))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		if _, err := decodeSocketProto(msg); err != nil && !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
	})
}

func FuzzSocket(f *testing.F) {
	const open = `{"type":"request","request_id":0,"request":{"type":"open_stream","stream_id":1}}`
	f.Add(open)
	f.Add(`{"type":"request","request_id":1,"request":{"type":"execute","stream_id":1,"stmt":{"sql":"BEGIN"}}}`)
	f.Add(`{"type":"request","request_id":1,"request":{"type":"open_cursor","stream_id":1,"cursor_id":2,"batch":{"steps":[{"stmt":{"sql":"ERROR"}}]}}}`)
	f.Add(`{"type":"request","request_id":1,"request":{"type":"fetch_cursor","cursor_id":2,"max_count":1}}`)
	f.Add(`{"type":"request","request_id":1,"request":{"type":"store_sql","sql_id":2,"sql":""}}`)
	s := NewStreams(Config{})
	f.Fuzz(func(t *testing.T, msg string) {
		done := 0
		k := s.Socket(t.Context(), SocketConfig{
			Authorize: func(string) (func() Conn, error) { return func() Conn { return &fakeConn{} }, nil },
			Explain:   func(err error) *Error { return &Error{Message: err.Error()} },
			Take:      func(int64) bool { return true },
			Give:      func(int64) {},
			Send:      func(context.Context, []byte) error { return nil },
		})
		handled := 0
		finished := make(chan struct{}, 16)
		for _, m := range []string{`{"type":"hello"}`, open, msg, msg} {
			handled++
			if err := k.Handle([]byte(m), func() { finished <- struct{}{} }); err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Error(err)
				}
				break
			}
		}
		for ; done < handled; done++ {
			<-finished
		}
		k.Close()
	})
}
