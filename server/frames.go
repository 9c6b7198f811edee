package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/agentdb/agentdb/internal/tenant"
)

// replica reports whether a request is of an embedded replica of libSQL, which
// names no agent. Turso's CLI asks on the same paths for the whole file.
func replica(r *http.Request) bool { return r.UserAgent() == "" }

// info says which generation a database is in.
func (s *Server) info(w *recorder, r *http.Request) error {
	name, _, err := s.reads(w, r)
	if err != nil {
		return err
	}
	generation := uint32(1)
	ctx, check := s.guard(w, r)
	if replica(r) {
		if generation, err = s.dbs.Generation(ctx, name, 0); err != nil {
			return err
		}
	}
	if err := check(); err != nil {
		return err
	}
	return w.json(map[string]uint32{"current_generation": generation})
}

// exported returns the generation whose beginning a request is for; 0 stands
// for the whole database.
func (s *Server) exported(r *http.Request) (uint32, error) {
	if r.PathValue("generation") == "" || !replica(r) {
		return 0, nil
	}
	n, err := strconv.ParseUint(r.PathValue("generation"), 10, 32)
	if err != nil || n == 0 {
		return 0, &problem{code: CodeMalformed, message: "generations are numbers from 1"}
	}
	return uint32(n), nil
}

// frames answers an embedded replica with frames of a generation, or says that
// it has no more and which generation the database is in.
func (s *Server) frames(w *recorder, r *http.Request) error {
	if r.Method == http.MethodPost {
		return &problem{code: CodeUnsupported, message: "an embedded replica can't push its pages: open it without 'offline', so that it writes on the server, or use Turso's sync"}
	}
	name, _, err := s.reads(w, r)
	if err != nil {
		return err
	}
	if !replica(r) {
		return endOfGeneration(w, 1) // the export holds everything
	}
	generation, err := s.exported(r)
	if err != nil {
		return err
	}
	from, err1 := strconv.ParseUint(r.PathValue("from"), 10, 31)
	to, err2 := strconv.ParseUint(r.PathValue("to"), 10, 31)
	if err := errors.Join(err1, err2); err != nil {
		return &problem{code: CodeMalformed, message: "frames have numbers", err: err}
	}
	ctx, check := s.guard(w, r)
	frames, err := s.dbs.Frames(ctx, name, generation, int(from), int(to))
	if now := check(); now != nil {
		return now
	}
	if errors.Is(err, tenant.ErrGenerationEnd) {
		if generation, err = s.dbs.Generation(ctx, name, generation); err == nil {
			return endOfGeneration(w, generation)
		}
	}
	if err != nil {
		return gone(r, err)
	}
	w.Header()["Content-Type"] = []string{"application/octet-stream"}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(frames))}
	_, err = w.Write(frames)
	return err
}

// endOfGeneration says that a generation has no more frames. libSQL says it with
// this status.
func endOfGeneration(w http.ResponseWriter, generation uint32) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	return json.NewEncoder(w).Encode(map[string]uint32{"generation": generation})
}
