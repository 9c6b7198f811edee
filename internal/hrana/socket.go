package hrana

import (
	"context"
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
	// Format of the messages.
	Format Format
	// Authorize says what a token opens; "" if the client has none.
	Authorize func(token string) (open func() Conn, err error)
	// Check fails when what Authorize allowed last is not allowed any more. It
	// is asked before each request; nil never fails.
	Check func() error
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
	out     socketCodec
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
	k.out = jsonSocket{}
	if cfg.Format == Protobuf {
		k.out = protoSocket{}
	}
	k.ctx, k.cancel = context.WithCancel(ctx)
	return k
}

// Close rolls back what is open and waits until all streams have ended.
func (k *Socket) Close() {
	k.cancel()
	k.workers.Wait()
}

// ErrHello says that the client was refused, and has been told why.
var ErrHello = errors.New("hrana: refused")

// Handle takes a message of the client; done is called when it was worked off.
// After an error the socket must be closed.
func (k *Socket) Handle(msg []byte, done func()) error {
	decode := decodeSocket
	if k.cfg.Format == Protobuf {
		decode = decodeSocketProto
	}
	m, err := decode(msg)
	switch {
	case err != nil:
		done()
		return err
	case m.hello:
		defer done()
		return k.hello(m.token)
	case k.open == nil:
		done()
		return malformed("a request before the hello")
	}
	if err := k.check(); err != nil {
		defer done()
		return errors.Join(ErrHello, err, k.send(k.out.failure(m.id, k.cfg.Explain(err))))
	}
	w, err := k.route(m)
	if err != nil {
		defer done()
		e := visible(err)
		if e == nil {
			return err
		}
		return k.send(k.out.failure(m.id, e))
	}
	if w == nil {
		defer done()
		return k.send(k.out.done(m.id, m.kind))
	}
	m.done = done
	select {
	case w.queue <- m:
		return nil
	default:
		defer done()
		return k.send(k.out.failure(m.id, &Error{"too many requests on the stream: wait for some of the answers", "TOO_MANY_REQUESTS"}))
	}
}

func (k *Socket) hello(token string) error {
	open, err := k.cfg.Authorize(token)
	if err != nil {
		return errors.Join(ErrHello, err, k.send(k.out.refusal(k.cfg.Explain(err))))
	}
	k.open = open
	return k.send(k.out.welcome())
}

func (k *Socket) check() error {
	if k.cfg.Check == nil {
		return nil
	}
	return k.cfg.Check()
}

func (k *Socket) send(msg []byte) error {
	k.sendMu.Lock()
	defer k.sendMu.Unlock()
	return k.cfg.Send(k.ctx, msg)
}

// route does what concerns the whole socket, and returns the worker for
// anything else. Stored SQL is looked up here: a later close_sql doesn't take
// it from requests that wait.
func (k *Socket) route(m *socketMessage) (*worker, error) {
	switch m.kind {
	case socketOpenStream:
		return nil, k.openStream(m.stream)
	case socketStoreSQL:
		return nil, k.sql.store(m.req.SQL.ID, m.req.SQL.Text, k.limits)
	case socketCloseSQL:
		k.sql.close(m.req.SQL.ID)
		return nil, nil
	case socketFetchCursor, socketCloseCursor:
		w := k.cursors[m.cursor]
		if w == nil {
			return nil, &Error{"there is no cursor " + strconv.Itoa(int(m.cursor)), "CURSOR_NOT_FOUND"}
		}
		if m.kind == socketCloseCursor {
			delete(k.cursors, m.cursor)
		}
		return w, nil
	}
	w := k.streams[m.stream]
	if w == nil {
		return nil, &Error{"there is no stream " + strconv.Itoa(int(m.stream)), "STREAM_NOT_FOUND"}
	}
	if m.kind == socketOpenCursor && k.cursors[m.cursor] != nil {
		return nil, &Error{"cursor " + strconv.Itoa(int(m.cursor)) + " is open", "CURSOR_EXISTS"}
	}
	if err := k.sql.resolve(&m.req); err != nil {
		return nil, err
	}
	switch m.kind {
	case socketOpenCursor:
		k.cursors[m.cursor] = w
	case socketCloseStream:
		k.forget(m.stream, w)
	}
	return w, nil
}

func (k *Socket) openStream(id int32) error {
	switch {
	case k.streams[id] != nil:
		return &Error{"stream " + strconv.Itoa(int(id)) + " is open", "STREAM_EXISTS"}
	case len(k.streams) >= maxSocketStreams:
		return &Error{"too many streams: close some of them first", "TOO_MANY_STREAMS"}
	}
	w := &worker{k: k, stream: &Stream{conn: k.open(), cfg: k.limits}, queue: make(chan *socketMessage, maxQueued)}
	k.streams[id] = w
	k.workers.Go(w.run)
	return nil
}

// forget drops the names of a stream and its cursors.
func (k *Socket) forget(id int32, w *worker) {
	delete(k.streams, id)
	for id, owner := range k.cursors {
		if owner == w {
			delete(k.cursors, id)
		}
	}
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

// worker runs the requests of one stream.
type worker struct {
	k       *Socket
	stream  *Stream
	queue   chan *socketMessage
	cursors map[int32]*cursor
	running *cursor  // whose batch has the stream; nil if none
	held    [][]byte // answers that are not durable yet
	taken   int64    // memory for answers
}

// run works until the stream is closed, or the socket.
func (w *worker) run() {
	defer w.end()
	idle := time.NewTimer(time.Hour)
	defer idle.Stop()
	for {
		wait := time.Hour
		var ended <-chan struct{}
		if w.running != nil {
			ended = w.running.ended
		} else if w.stream.conn.InTransaction() {
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
		case <-ended:
			w.running = nil
		case <-idle.C:
			if w.running == nil {
				w.stream.expire()
			}
		case <-w.k.ctx.Done():
			w.drain()
			return
		}
	}
}

// end closes the stream and gives back all memory.
func (w *worker) end() {
	for id := range w.cursors {
		w.closeCursor(id)
	}
	w.stream.close()
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
func (w *worker) handle(q *socketMessage) (stop bool) {
	msg, err := w.answer(q)
	if err != nil {
		e := visible(err)
		if e == nil {
			e = w.k.cfg.Explain(err)
			w.finish()
			w.stream.conn.Close()
			w.stream.dead = e
		}
		msg = w.k.out.failure(q.id, e)
	}
	w.held = append(w.held, msg)
	stop = q.kind == socketCloseStream
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
func (w *worker) answer(q *socketMessage) (msg []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("hrana: panic: %v\n%s", v, debug.Stack())
		}
	}()
	out := w.k.out
	switch q.kind {
	case socketFetchCursor:
		c := w.cursors[q.cursor]
		if c == nil {
			return nil, &Error{"there is no such cursor", "CURSOR_NOT_FOUND"}
		}
		part, done, err := c.fetch(w.k.ctx, func(b []byte) (part, rest []byte) { return out.cut(b, q.count) })
		return out.fetched(q.id, part, done), err
	case socketCloseCursor:
		w.closeCursor(q.cursor)
		return out.done(q.id, q.kind), nil
	}
	w.finish()
	w.stream.request(w.k.cfg.Format, func(n int64) bool {
		if !w.k.cfg.Take(n) {
			return false
		}
		w.taken += n
		return true
	})
	switch q.kind {
	case socketCloseStream:
		w.stream.conn.Close()
	case socketOpenCursor:
		if err := w.openCursor(q); err != nil {
			return nil, err
		}
	default:
		a, err := w.stream.do(w.k.ctx, &q.req, 0)
		if err != nil {
			return nil, err
		}
		return out.answer(q.id, q.kind, a), nil
	}
	return out.done(q.id, q.kind), nil
}
