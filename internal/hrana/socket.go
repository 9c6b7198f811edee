package hrana

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
)

// Bounds of one Socket.
const (
	maxSocketStreams = 10_000
	maxQueued        = 256 // requests on one stream that are not answered yet
	maxHeld          = 64  // answers that wait to become durable together
)

// SocketConfig is what a Socket needs from its server.
type SocketConfig struct {
	// Authorize says what a token opens; "" if the client has none.
	Authorize func(token string) (open func() Conn, err error)
	// Explain returns what a client may know of an error that is none of a
	// statement.
	Explain func(error) *Error
	// Take takes memory for answers, and Give gives it back.
	Take func(int64) bool
	Give func(int64)
	// Send sends a message. It is not called twice at once.
	Send func(ctx context.Context, msg []byte) error
}

// Socket is the server's side of a WebSocket: any number of streams beside one
// another. Requests on one stream are answered in order.
type Socket struct {
	cfg     SocketConfig
	limits  *Config
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup

	// Of the goroutine that calls Handle.
	open    func() Conn // nil before the hello
	sql     storedSQL   // for all streams
	streams map[int32]*worker
	cursors map[int32]*worker // whose stream has it

	sendMu sync.Mutex
}

// Socket returns the state of a new WebSocket. Close must be called.
func (s *Streams) Socket(ctx context.Context, cfg SocketConfig) *Socket {
	k := &Socket{cfg: cfg, limits: &s.cfg, streams: map[int32]*worker{}, cursors: map[int32]*worker{}}
	k.ctx, k.cancel = context.WithCancel(ctx)
	return k
}

// Close rolls back what is open and waits until all streams have ended.
func (k *Socket) Close() {
	k.cancel()
	k.workers.Wait()
}

// clientMessage is a message of a client.
type clientMessage struct {
	Type      string         `json:"type"`
	JWT       *string        `json:"jwt"`
	RequestID *int32         `json:"request_id"`
	Request   *socketRequest `json:"request"`
}

type socketRequest struct {
	jsonRequest
	StreamID *int32  `json:"stream_id"`
	CursorID *int32  `json:"cursor_id"`
	MaxCount *uint32 `json:"max_count"`
}

// ErrHello says that the client was refused, and has been told why.
var ErrHello = errors.New("hrana: refused")

// Handle takes a message of the client; done is called when it was worked off.
// After an error the socket must be closed.
func (k *Socket) Handle(msg []byte, done func()) error {
	var m clientMessage
	if err := json.Unmarshal(msg, &m); err != nil {
		done()
		return malformed("%v", err)
	}
	switch {
	case m.Type == "hello":
		defer done()
		return k.hello(m.JWT)
	case m.Type != "request" || m.RequestID == nil || m.Request == nil:
		done()
		return malformed("message of type %.30q", m.Type)
	case k.open == nil:
		done()
		return malformed("a request before the hello")
	}
	w, r, err := k.route(m.Request)
	if err != nil {
		defer done()
		e := visible(err)
		if e == nil {
			return err
		}
		return k.send(appendFailure(nil, *m.RequestID, e))
	}
	if w == nil {
		defer done()
		return k.send(appendDone(nil, *m.RequestID, m.Request.Type))
	}
	r.id, r.done = *m.RequestID, done
	select {
	case w.queue <- r:
		return nil
	default:
		defer done()
		return k.send(appendFailure(nil, r.id, &Error{"too many requests on the stream: wait for some of the answers", "TOO_MANY_REQUESTS"}))
	}
}

func (k *Socket) hello(jwt *string) error {
	token := ""
	if jwt != nil {
		token = *jwt
	}
	open, err := k.cfg.Authorize(token)
	if err != nil {
		b := append([]byte(`{"type":"hello_error","error":`), appendError(nil, k.cfg.Explain(err))...)
		return errors.Join(ErrHello, err, k.send(append(b, '}')))
	}
	k.open = open
	return k.send([]byte(`{"type":"hello_ok"}`))
}

func (k *Socket) send(msg []byte) error {
	k.sendMu.Lock()
	defer k.sendMu.Unlock()
	return k.cfg.Send(k.ctx, msg)
}

func appendResponse(b []byte, id int32) []byte {
	b = append(b, `{"type":"response_ok","request_id":`...)
	b = strconv.AppendInt(b, int64(id), 10)
	return append(b, `,"response":`...)
}

func appendDone(b []byte, id int32, kind string) []byte {
	b = append(appendResponse(b, id), `{"type":`...)
	return append(appendString(b, kind), '}', '}')
}

func appendFailure(b []byte, id int32, e *Error) []byte {
	b = append(b, `{"type":"response_error","request_id":`...)
	b = strconv.AppendInt(b, int64(id), 10)
	b = append(b, `,"error":`...)
	return append(appendError(b, e), '}')
}

// route does what concerns the whole socket, and returns the worker for
// anything else. Stored SQL is looked up here: a later close_sql doesn't take
// it from requests that wait.
func (k *Socket) route(j *socketRequest) (*worker, *queued, error) {
	switch j.Type {
	case "open_stream":
		return nil, nil, k.openStream(j.StreamID)
	case "store_sql", "close_sql":
		r, err := j.request()
		if err != nil {
			return nil, nil, err
		}
		if r.Kind == KindStoreSQL {
			return nil, nil, k.sql.store(r.SQL.ID, r.SQL.Text, k.limits)
		}
		k.sql.close(r.SQL.ID)
		return nil, nil, nil
	case "fetch_cursor", "close_cursor":
		if j.CursorID == nil {
			return nil, nil, malformed("%s without cursor_id", j.Type)
		}
		w := k.cursors[*j.CursorID]
		if w == nil {
			return nil, nil, &Error{"there is no cursor " + strconv.Itoa(int(*j.CursorID)), "CURSOR_NOT_FOUND"}
		}
		if j.Type == "close_cursor" {
			delete(k.cursors, *j.CursorID)
		}
		return w, &queued{kind: j.Type, cursor: *j.CursorID, count: j.MaxCount}, nil
	}
	if j.StreamID == nil {
		return nil, nil, malformed("%s without stream_id", j.Type)
	}
	w := k.streams[*j.StreamID]
	if w == nil {
		return nil, nil, &Error{"there is no stream " + strconv.Itoa(int(*j.StreamID)), "STREAM_NOT_FOUND"}
	}
	q, err := k.onStream(w, j)
	return w, q, err
}

func (k *Socket) openStream(id *int32) error {
	switch {
	case id == nil:
		return malformed("open_stream without stream_id")
	case k.streams[*id] != nil:
		return &Error{"stream " + strconv.Itoa(int(*id)) + " is open", "STREAM_EXISTS"}
	case len(k.streams) >= maxSocketStreams:
		return &Error{"too many streams: close some of them first", "TOO_MANY_STREAMS"}
	}
	w := &worker{k: k, stream: &Stream{conn: k.open(), cfg: k.limits}, queue: make(chan *queued, maxQueued)}
	k.streams[*id] = w
	k.workers.Go(w.run)
	return nil
}

// onStream returns a request for the worker of a stream.
func (k *Socket) onStream(w *worker, j *socketRequest) (*queued, error) {
	q := &queued{kind: j.Type}
	var err error
	switch j.Type {
	case "close_stream":
		delete(k.streams, *j.StreamID)
		for id, owner := range k.cursors {
			if owner == w {
				delete(k.cursors, id)
			}
		}
		return q, nil
	case "open_cursor":
		if j.CursorID == nil || j.Batch == nil {
			return nil, malformed("open_cursor without cursor_id or batch")
		}
		if k.cursors[*j.CursorID] != nil {
			return nil, &Error{"cursor " + strconv.Itoa(int(*j.CursorID)) + " is open", "CURSOR_EXISTS"}
		}
		if q.req.Batch, err = j.Batch.batch(); err != nil {
			return nil, err
		}
		q.cursor = *j.CursorID
	case "close":
		return nil, malformed("request of type %q", j.Type)
	default:
		if q.req, err = j.request(); err != nil {
			return nil, err
		}
	}
	if err := k.sql.resolve(&q.req); err != nil {
		return nil, err
	}
	if j.Type == "open_cursor" {
		k.cursors[q.cursor] = w
	}
	return q, nil
}

// resolve replaces stored SQL by its text.
func (s *storedSQL) resolve(r *Request) (err error) {
	if r.Kind == KindSequence || r.Kind == KindDescribe {
		r.SQL.Text, err = s.text(r.SQL)
		r.SQL.Stored = false
	}
	for i := range r.Batch.Steps {
		q := &r.Batch.Steps[i].Stmt.SQL
		if q.Text, err = s.text(*q); err != nil {
			return err
		}
		q.Stored = false
	}
	return err
}

// queued is a request on its way to its stream.
type queued struct {
	id     int32
	kind   string
	req    Request
	cursor int32
	count  *uint32
	done   func()
}

// worker runs the requests of one stream.
type worker struct {
	k       *Socket
	stream  *Stream
	queue   chan *queued
	cursors map[int32]*cursor
	held    [][]byte // answers that are not durable yet
	taken   int64    // memory for answers
}

// cursor is what is left of the entries of a cursor.
type cursor struct {
	rest  []byte
	taken int64
}

// run works until the stream is closed, or the socket.
func (w *worker) run() {
	defer w.end()
	idle := time.NewTimer(time.Hour)
	defer idle.Stop()
	for {
		wait := time.Hour
		if w.stream.conn.InTransaction() {
			wait = w.stream.patience()
		}
		idle.Reset(wait)
		select {
		case q := <-w.queue:
			stop := w.handle(q)
			q.done()
			if stop {
				w.drain()
				return
			}
		case <-idle.C:
			w.stream.expire()
		case <-w.k.ctx.Done():
			w.drain()
			return
		}
	}
}

// end closes the stream and gives back all memory.
func (w *worker) end() {
	w.stream.close()
	for _, c := range w.cursors {
		w.taken += c.taken
	}
	w.k.cfg.Give(w.taken)
}

// drain gives back what nobody will work off.
func (w *worker) drain() {
	for {
		select {
		case q := <-w.queue:
			q.done()
		default:
			return
		}
	}
}

// handle runs a request, and sends what was held back once nothing else is
// queued: requests that came together wait for the disk once. It reports
// whether the stream is closed.
func (w *worker) handle(q *queued) (stop bool) {
	msg, err := w.answer(q)
	if err != nil {
		e := visible(err)
		if e == nil {
			e = w.k.cfg.Explain(err)
			w.stream.conn.Close()
			w.stream.dead = e
		}
		msg = appendFailure(nil, q.id, e)
	}
	w.held = append(w.held, msg)
	stop = q.kind == "close_stream"
	if !stop && len(w.queue) > 0 && len(w.held) < maxHeld {
		return false
	}
	if err := w.stream.conn.Settle(w.k.ctx); err != nil {
		// What was answered is lost: so is the socket, lest anybody believes it.
		w.k.cancel()
		return true
	}
	for _, msg := range w.held {
		if err := w.k.send(msg); err != nil {
			w.k.cancel()
			return true
		}
	}
	clear(w.held)
	w.held = w.held[:0]
	w.k.cfg.Give(w.taken)
	w.taken = 0
	return stop
}

// answer runs a request and returns the message that answers it. A panic ends
// the stream, not the server.
func (w *worker) answer(q *queued) (msg []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("hrana: panic: %v\n%s", v, debug.Stack())
		}
	}()
	b := appendResponse(nil, q.id)
	before := w.taken
	w.stream.request(JSON, func(n int64) bool {
		if !w.k.cfg.Take(n) {
			return false
		}
		w.taken += n
		return true
	})
	switch q.kind {
	case "close_stream":
		w.stream.conn.Close()
		return appendDone(nil, q.id, q.kind), nil
	case "open_cursor":
		out := &entries{}
		if w.stream.dead != nil {
			return nil, w.stream.dead
		}
		if err := w.stream.batch(w.k.ctx, &q.req.Batch, out, 0); err != nil {
			return nil, err
		}
		if w.cursors == nil {
			w.cursors = map[int32]*cursor{}
		}
		w.cursors[q.cursor] = &cursor{out.buf, w.taken - before + smallAnswer}
		w.taken = before
		if !w.k.cfg.Take(smallAnswer) {
			w.cursors[q.cursor].taken -= smallAnswer
			w.closeCursor(q.cursor)
			return nil, &Error{"the server holds as many answers as it can: try again in a moment", codeMemory}
		}
		return appendDone(nil, q.id, q.kind), nil
	case "fetch_cursor":
		c := w.cursors[q.cursor]
		if c == nil {
			return nil, &Error{"there is no such cursor", "CURSOR_NOT_FOUND"}
		}
		return append(c.fetch(b, q.count), '}'), nil
	case "close_cursor":
		w.closeCursor(q.cursor)
		return appendDone(nil, q.id, q.kind), nil
	}
	a, err := w.stream.do(w.k.ctx, &q.req, 0)
	if err != nil {
		return nil, err
	}
	return append(appendAnswer(b, a), '}'), nil
}

func (w *worker) closeCursor(id int32) {
	if c := w.cursors[id]; c != nil {
		w.taken += c.taken
		delete(w.cursors, id)
	}
}

// maxFetch bounds the bytes of entries in one message.
const maxFetch = 1 << 20

// fetch appends the next entries of a cursor.
func (c *cursor) fetch(b []byte, count *uint32) []byte {
	b = append(b, `{"type":"fetch_cursor","entries":[`...)
	start := len(b)
	for n := uint32(0); len(c.rest) > 0 && (count == nil || n < *count) && len(b)-start < maxFetch; n++ {
		line, rest, _ := bytes.Cut(c.rest, []byte{'\n'})
		if n > 0 {
			b = append(b, ',')
		}
		b, c.rest = append(b, line...), rest
	}
	b = append(b, `],"done":`...)
	return append(strconv.AppendBool(b, len(c.rest) == 0), '}')
}
