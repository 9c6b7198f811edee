package server

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/agentdb/agentdb/internal/hrana"
)

// sqlRoutes adds the paths of Hrana, bare and below that of a database.
func (s *Server) sqlRoutes() {
	for _, prefix := range []string{"", "/db", "/db/{name}"} {
		for v, f := range map[string]hrana.Format{"/v2": hrana.JSON, "/v3": hrana.JSON, "/v3-protobuf": hrana.Protobuf} {
			s.mux.HandleFunc(prefix+v, s.handle("sql", s.sqlHandler(s.hranaVersion)))
			s.mux.HandleFunc(prefix+v+"/pipeline", s.handle("sql", s.sqlHandler(s.pipeline(f))))
			if v != "/v2" {
				s.mux.HandleFunc(prefix+v+"/cursor", s.handle("sql", s.sqlHandler(s.cursor(f))))
			}
		}
	}
}

// sqlHandler is a handler for clients of Hrana, which may be web pages.
func (s *Server) sqlHandler(h handler) handler {
	return func(w *recorder, r *http.Request) error {
		w.sql = true
		s.allowOrigin(w, r)
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return h(w, r)
	}
}

// allowOrigin lets web pages of other sites read answers: their requests carry
// a token, which no browser adds by itself. In dev mode there are no tokens, and
// only pages of this machine may.
func (s *Server) allowOrigin(w *recorder, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" || s.cfg.Dev && checkOrigin(r) != nil {
		return
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	if s.cfg.Dev {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Vary", "Origin")
	}
	if r.Method != http.MethodOptions {
		return
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE")
	h.Set("Access-Control-Max-Age", "86400")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
}

// hranaVersion tells a client that this version of Hrana is spoken here.
func (s *Server) hranaVersion(w *recorder, r *http.Request) error {
	if err := onlyGet(r); err != nil {
		return err
	}
	return w.json(struct{}{})
}

// sqlRequest is a request of a SQL client.
type sqlRequest struct {
	body []byte
	call hrana.Call
}

// decodedSize bounds the memory that a request takes once decoded: each object of
// JSON is a struct of at most so many bytes, beside its texts. So is each message
// of protobuf, of which a request may have a million.
func decodedSize(format hrana.Format, body []byte) int64 {
	const object = 200
	n := bytes.Count(body, []byte{'{'})
	if format == hrana.Protobuf {
		n = min(len(body)/2, hrana.MaxParts)
	}
	return int64(len(body)) + object*int64(n)
}

// readSQL checks a request and reads its body. release is as that of
// readRequest.
func (s *Server) readSQL(w *recorder, r *http.Request, format hrana.Format) (q *sqlRequest, release func(), err error) {
	taken := int64(0)
	release = func() { s.memory.give(taken) }
	if r.Method != http.MethodPost {
		return nil, release, &problem{code: CodeMethod, message: "use POST here"}
	}
	name, cfg, err := s.authorizeSQL(w, r)
	if err != nil {
		return nil, release, err
	}
	take := func(n int64) bool {
		ok := s.memory.take(n)
		if ok {
			taken += n
		}
		return ok
	}
	body, err := s.readBody(w, r, func(n int64) error {
		if !take(n) {
			return errNoMemory
		}
		return nil
	})
	if err != nil {
		return nil, release, err
	}
	switch n := decodedSize(format, body); {
	case n > s.cfg.Limits.MaxDecoded:
		return nil, release, &problem{code: CodeTooLarge, message: "the request has too many parts: send it in smaller ones"}
	case !take(n):
		return nil, release, errNoMemory
	}
	q = &sqlRequest{body: body, call: hrana.Call{
		Format: format,
		Owner:  strings.Join([]string{name, strconv.FormatBool(cfg.Write), cfg.Scope.String()}, " "),
		Open:   func() hrana.Conn { return s.dbs.SQL(name, cfg) },
		Take:   take,
	}}
	return q, release, nil
}

var errNoMemory = &problem{code: CodeUnavailable, message: "the server is working on as many bytes as it can hold: try again in a moment"}

// pipeline answers requests on one stream.
func (s *Server) pipeline(format hrana.Format) handler {
	decode, contentType := hrana.DecodePipeline, "application/json"
	if format == hrana.Protobuf {
		decode, contentType = hrana.DecodePipelineProto, "application/x-protobuf"
	}
	return func(w *recorder, r *http.Request) error {
		q, release, err := s.readSQL(w, r, format)
		defer release()
		if err != nil {
			return err
		}
		req, err := decode(q.body)
		if err != nil {
			return badHrana(err)
		}
		ctx, _ := s.guard(w, r)
		ans, err := s.streams.Pipeline(ctx, &q.call, req)
		if err != nil {
			return gone(r, err)
		}
		return writeSQL(w, contentType, ans)
	}
}

// cursor answers a batch, row by row.
func (s *Server) cursor(format hrana.Format) handler {
	decode, contentType := hrana.DecodeCursor, "text/plain"
	if format == hrana.Protobuf {
		decode, contentType = hrana.DecodeCursorProto, "application/octet-stream"
	}
	return func(w *recorder, r *http.Request) error {
		q, release, err := s.readSQL(w, r, format)
		defer release()
		if err != nil {
			return err
		}
		req, err := decode(q.body)
		if err != nil {
			return badHrana(err)
		}
		ctx, _ := s.guard(w, r)
		err = s.streams.Cursor(ctx, &q.call, req, &cursorAnswer{w, contentType, s.cfg.Limits.TransactionIdle})
		if err != nil {
			return gone(r, err)
		}
		return nil
	}
}

// cursorAnswer writes the answer of a cursor.
type cursorAnswer struct {
	w           *recorder
	contentType string
	patience    time.Duration // with a client that takes nothing
}

// Whole implements hrana.CursorAnswer.
func (a *cursorAnswer) Whole(parts ...[]byte) error { return writeSQL(a.w, a.contentType, parts...) }

// Part implements hrana.CursorAnswer.
func (a *cursorAnswer) Part(b []byte) error {
	if a.w.status == 0 {
		a.w.Header()["Content-Type"] = []string{a.contentType}
		a.w.patience = min(a.w.patience, a.patience)
		a.w.WriteHeader(http.StatusOK)
	}
	if err := writeAll(a.w, b); err != nil {
		return err
	}
	if err := a.w.ctl.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errors.Join(errGone, err)
	}
	return nil
}

// badHrana tells a client what is wrong with its request: nothing else is in
// such an error.
func badHrana(err error) error {
	return &problem{code: CodeMalformed, message: strings.TrimPrefix(err.Error(), "hrana: "), err: err}
}

// gone is the error of a request whose client has left.
func gone(r *http.Request, err error) error {
	if r.Context().Err() != nil {
		return errors.Join(errGone, err)
	}
	return err
}

func writeSQL(w *recorder, contentType string, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(n)}
	w.WriteHeader(http.StatusOK)
	return writeAll(w, parts...)
}
