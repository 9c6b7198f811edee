package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"
)

// recorder is a ResponseWriter that remembers what the log and the metrics
// tell about a request.
type recorder struct {
	http.ResponseWriter
	ctl      *http.ResponseController
	patience time.Duration // how long a write may take
	began    time.Time     // when the deadline of writes was set
	route    string        // for the metrics
	db       string        // the database, once known
	allowed  allowed       // what the request was found to be, once known
	sql      bool          // errors are for a client of Hrana
	upload   bool          // an error may come while the body does
	in       int64         // bytes of the body received
	out      int64         // bytes of the body sent

	status int   // 0 until the header is written
	err    error // that the answer or the log is about
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	if w.upload && status >= http.StatusBadRequest {
		w.Header().Set("Connection", "close")
	}
	w.beforeWrite()
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.beforeWrite()
	n, err := w.ResponseWriter.Write(b)
	w.out += int64(n)
	return n, err
}

// beforeWrite sets the deadline of a write. It stays with the connection, so
// every write needs a new one, but for those that follow at once.
func (w *recorder) beforeWrite() {
	now := time.Now()
	if now.Sub(w.began) < w.patience/32 {
		return
	}
	w.began = now
	// A writer without deadlines, as in tests, needs none.
	_ = w.ctl.SetWriteDeadline(now.Add(w.patience))
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// errGone ends a request whose client left.
var errGone = errors.New("server: the client is gone")

// handler answers a request, or returns an error before it wrote anything. An
// error after that cuts the connection.
type handler func(w *recorder, r *http.Request) error

// handle makes an http.HandlerFunc of a handler: it answers errors, contains
// panics, writes the log's line and counts.
func (s *Server) handle(route string, h handler) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := strconv.FormatUint(s.requests.Add(1), 36)
		w := &recorder{ResponseWriter: rw, ctl: http.NewResponseController(rw), patience: s.cfg.Limits.IOTimeout, route: route}
		// Recommended, not required, and 37 bytes on each answer.
		rw.Header()["Date"] = nil
		s.extend(w)
		r, end := s.tracing.request(w, r)
		err := contain(h, s.admit, w, r)
		abort := s.settle(w, r, id, err)
		end()
		s.record(w, r, id, time.Since(start))
		if abort {
			panic(http.ErrAbortHandler)
		}
	}
}

// extend gives the client some time more to send its body, also one that
// nobody reads but net/http, after an error.
func (s *Server) extend(w *recorder) {
	// A writer without deadlines, as in tests, needs none.
	_ = w.ctl.SetReadDeadline(time.Now().Add(s.cfg.Limits.IOTimeout))
}

// admit turns away a request on a connection above the limit.
func (s *Server) admit(r *http.Request) error {
	if over, _ := r.Context().Value(overLimit{}).(bool); over {
		return &problem{code: CodeUnavailable, message: "the server has as many connections as it takes: use fewer, or try again in a moment"}
	}
	return nil
}

// contain runs a handler and makes an error of a panic.
func contain(h handler, admit func(*http.Request) error, w *recorder, r *http.Request) (err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			err = errGone
		default:
			err = fmt.Errorf("server: panic: %v\n%s", v, debug.Stack())
		}
	}()
	if err := admit(r); err != nil {
		w.Header().Set("Connection", "close")
		return err
	}
	return h(w, r)
}

// settle answers an error if that is still possible, and reports whether the
// connection must be cut instead.
func (s *Server) settle(w *recorder, r *http.Request, id string, err error) (abort bool) {
	w.err = err
	switch {
	case err == nil:
		return false
	case w.status != 0:
		return true
	case errors.Is(err, errGone):
		w.status = statusGone
		return true
	}
	p := asProblem(err)
	if p.code == CodeInternal {
		w.err = s.dbs.Suspect(r.Context(), err)
		p = asProblem(w.err)
	}
	drains := s.drains(w, r, p)
	if drains {
		w.Header().Set("Connection", "close")
	}
	if w.sql {
		p.writeSQL(w, id)
	} else {
		p.write(w, id)
	}
	if drains {
		s.drain(w, r)
	}
	return false
}

// record writes the log's line of a request. It never has a token or a query
// string in it.
func (s *Server) record(w *recorder, r *http.Request, id string, took time.Duration) {
	s.metrics.observe(w, took)
	level := slog.LevelInfo
	switch {
	case w.err != nil && asProblem(w.err).code == CodeInternal && !errors.Is(w.err, errGone):
		level = slog.LevelError
	case w.route != "sync" && w.route != "poll" && w.route != "sql" && w.route != "socket" && w.route != "pages" && w.err == nil:
		level = slog.LevelDebug // probes of the machinery
	}
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method),
		slog.String("path", r.URL.Path),
		slog.Int("status", w.status),
		slog.Int64("in", w.in),
		slog.Int64("out", w.out),
		slog.Duration("took", took.Round(time.Microsecond)),
		slog.String("id", id),
	}
	if w.db != "" {
		attrs = append(attrs, slog.String("db", w.db))
	}
	if w.err != nil {
		attrs = append(attrs, slog.String("error", w.err.Error()))
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}
