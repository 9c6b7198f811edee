package server

import (
	"io"
	"net/http"
)

// drained is how much more of a refused body is taken than a good one may have.
const drained = 4

// unreadBody is from where on the rest of a body matters: net/http takes as much
// by itself.
const unreadBody = 256 << 10

// drains reports whether a request that is refused may have a body on its way
// that nobody has read. Its answer must then be sent while the body arrives.
func (s *Server) drains(w *recorder, r *http.Request, p *problem) bool {
	if r.ProtoMajor != 1 || r.ContentLength >= 0 && r.ContentLength-w.in < unreadBody {
		return false
	}
	if r.Header.Get("Expect") != "" || w.Header().Get("Connection") == "close" {
		return false // it waits to be asked for it, or is not welcome
	}
	if w.in > 0 && p.code != CodeTooLarge && p.code != CodeUnavailable {
		return false
	}
	// A writer that can't, as in tests, has no connection to lose.
	return w.ctl.EnableFullDuplex() == nil
}

// drain takes the rest of a refused body, up to a bound. Many clients read no
// answer before they have sent all, and would be told of a reset connection
// instead.
func (s *Server) drain(w *recorder, r *http.Request) {
	if w.ctl.Flush() != nil {
		return
	}
	s.extend(w)
	_, _ = io.CopyN(io.Discard, r.Body, drained*s.cfg.Limits.MaxBody) // whatever becomes of it, it was answered
}
