package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/agentdb/agentdb/internal/hrana"
)

// socketProtocols are spoken on a WebSocket, the best one first.
var socketProtocols = []string{protobufProtocol, "hrana3", "hrana2", "hrana1"}

const protobufProtocol = "hrana3-protobuf"

// pingEvery is how often a client that is silent is asked whether it is there.
const pingEvery = 30 * time.Second

// socket answers a WebSocket until one side closes it. A client that asks for
// none of the protocols is taken for one of the oldest.
func (s *Server) socket(w *recorder, r *http.Request) error {
	w.route, w.sql = "socket", true
	if s.cfg.Dev {
		if err := checkOrigin(r); err != nil {
			return err
		}
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:       socketProtocols,
		InsecureSkipVerify: true, // of the origin: tokens are in messages, which no browser adds by itself
	})
	if err != nil {
		w.status = http.StatusBadRequest // Accept has answered
		return &problem{code: CodeMalformed, message: "not a WebSocket", err: err}
	}
	w.status = http.StatusSwitchingProtocols
	ws.SetReadLimit(s.cfg.Limits.MaxBody)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, func() {
		_ = ws.Close(websocket.StatusGoingAway, "the server is shutting down")
		cancel()
	})()
	format, kind := hrana.JSON, websocket.MessageText
	if ws.Subprotocol() == protobufProtocol {
		format, kind = hrana.Protobuf, websocket.MessageBinary
	}
	var hello *lasting
	defer func() { hello.stop() }()
	k := s.streams.Socket(ctx, hrana.SocketConfig{
		Format: format,
		Authorize: func(token string) (func() hrana.Conn, error) {
			name, c, err := s.claims(s.namedDatabase(r), token)
			w.db = name
			if err != nil {
				return nil, err
			}
			cfg, err := sqlAccess(c)
			if err == nil {
				hello = s.watchSocket(hello, &lasting{name: name, token: token, access: c.Access}, func() {
					_ = ws.Close(websocket.StatusPolicyViolation, "the token was voided, or the database's configuration has changed")
					cancel()
				})
			}
			return func() hrana.Conn { return s.dbs.SQL(name, cfg) }, err
		},
		Check:   func() error { return s.still(hello) },
		Explain: s.explainSQL,
		Take:    s.memory.take,
		Give:    s.memory.give,
		Send:    func(ctx context.Context, msg []byte) error { return s.sendSocket(ctx, ws, kind, msg) },
	})
	pings := make(chan struct{})
	go func() {
		defer close(pings)
		s.ping(ctx, cancel, ws)
	}()
	err = s.readSocket(ctx, w, ws, format, k, func() error { return s.pace(ctx, hello) })
	cancel()
	k.Close()
	<-pings
	return s.closeSocket(ws, err)
}

// watchSocket ends a socket when its hello is not good any more. A second hello
// takes the place of the one before.
func (s *Server) watchSocket(before, e *lasting, end func()) *lasting {
	before.stop()
	ended := make(chan struct{})
	var once sync.Once
	e.end = func() { once.Do(func() { close(ended) }) }
	remove := s.live.add(e)
	go func() {
		<-ended
		remove()
		if s.still(e) != nil {
			end()
		}
	}()
	return e
}

// explainSQL is what a client on a WebSocket may know of any error. The rest is
// in the log.
func (s *Server) explainSQL(err error) *hrana.Error {
	p := asProblem(err)
	if p.code == CodeInternal {
		s.log.Error("socket", "error", err.Error())
	}
	return &hrana.Error{Message: p.message, Code: p.sqlCode()}
}

// readSocket hands the client's messages on until there are no more.
func (s *Server) readSocket(ctx context.Context, w *recorder, ws *websocket.Conn, format hrana.Format, k *hrana.Socket, pace func() error) error {
	for {
		_, body, err := ws.Reader(ctx)
		if err != nil {
			return errors.Join(errGone, err)
		}
		msg, release, err := s.readMessage(body)
		if err != nil {
			release()
			return err
		}
		w.in += int64(len(msg))
		if err := pace(); err != nil {
			release()
			return err
		}
		need := decodedSize(format, msg)
		if need > s.cfg.Limits.MaxDecoded || !s.memory.take(need) {
			release()
			return errNoMemory
		}
		free := func() {
			release()
			s.memory.give(need)
		}
		if err := k.Handle(msg, free); err != nil {
			return err
		}
	}
}

// readMessage reads a message as it arrives. release gives its memory back.
func (s *Server) readMessage(r io.Reader) (msg []byte, release func(), err error) {
	taken := int64(0)
	release = func() { s.memory.give(taken) }
	msg = make([]byte, 0, 512)
	for {
		if len(msg) == cap(msg) {
			grow := int64(cap(msg))
			if !s.memory.take(grow) {
				return nil, release, errNoMemory
			}
			taken += grow
			msg = append(make([]byte, 0, int64(cap(msg))+grow), msg...)
		}
		n, err := r.Read(msg[len(msg):cap(msg)])
		msg = msg[:len(msg)+n]
		if err == io.EOF {
			return msg, release, nil
		}
		if err != nil {
			return nil, release, errors.Join(errGone, err)
		}
	}
}

func (s *Server) sendSocket(ctx context.Context, ws *websocket.Conn, kind websocket.MessageType, msg []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Limits.IOTimeout)
	defer cancel()
	return ws.Write(ctx, kind, msg)
}

// ping ends a socket whose client doesn't answer.
func (s *Server) ping(ctx context.Context, end func(), ws *websocket.Conn) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		wait, cancel := context.WithTimeout(ctx, s.cfg.Limits.IOTimeout)
		err := ws.Ping(wait)
		cancel()
		if err != nil {
			end()
			return
		}
	}
}

// closeSocket tells the client why, as far as it can be told.
func (s *Server) closeSocket(ws *websocket.Conn, err error) error {
	var closed websocket.CloseError
	switch {
	case errors.Is(err, hrana.ErrMalformed):
		return errors.Join(err, ws.Close(websocket.StatusProtocolError, clip(err.Error())))
	case errors.Is(err, hrana.ErrHello):
		return errors.Join(err, ws.Close(websocket.StatusPolicyViolation, "refused"))
	case s.stopping.Err() != nil, errors.As(err, &closed), errors.Is(err, io.EOF):
		return nil // it is closed
	}
	_ = ws.CloseNow() // nobody listens any more
	return err
}

// clip keeps a reason within what a close frame holds.
func clip(reason string) string {
	return strings.ToValidUTF8(reason[:min(len(reason), 120)], "")
}
