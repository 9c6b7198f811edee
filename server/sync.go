package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/wire"
)

// sync answers one round trip of the sync protocol.
func (s *Server) sync(w *recorder, r *http.Request) error {
	if r.Method != http.MethodPost {
		return &problem{code: CodeMethod, message: "a sync is a POST of " + wire.ContentType}
	}
	// Not a media type that a web page may send without asking first.
	if r.Header.Get("Content-Type") != wire.ContentType {
		return &problem{code: CodeMalformed, message: "the Content-Type of a sync is " + wire.ContentType}
	}
	name, g, err := s.authorizeSync(w, r)
	if err != nil {
		return err
	}
	req, release, err := s.readRequest(w, r)
	defer release()
	if err != nil {
		return err
	}
	if err := g.permit(req); err != nil {
		return err
	}
	if err := s.checkTransactions(req); err != nil {
		return err
	}
	if req.WaitMS > 0 {
		w.route = "poll"
		req.WaitMS = uint32(min(time.Duration(req.WaitMS)*time.Millisecond, s.cfg.Limits.MaxWait).Milliseconds())
	}
	ctx, check := s.guard(w, r)
	if req.WaitMS > 0 {
		var done func()
		ctx, check, done = s.lasts(ctx, r, name)
		defer done()
	}
	ans, err := s.syncWith(ctx, name, g, req)
	if now := check(); now != nil {
		if err == nil && ans.Pages != nil {
			_ = writePages(w, ans.Pages, now) // gives the snapshot back
		}
		return now
	}
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return errGone
		}
		return fmt.Errorf("sync: %w", err)
	}
	return writeAnswer(w, ans)
}

func (s *Server) syncWith(ctx context.Context, name string, g grant, req *wire.Request) (*tenant.Answer, error) {
	if g.scope == nil {
		return s.dbs.Sync(ctx, name, g.access, g.create, req)
	}
	return s.dbs.SyncScoped(ctx, name, g.access, g.scope, g.create, req)
}

func (s *Server) checkTransactions(req *wire.Request) error {
	limit := s.cfg.Limits.MaxTransaction
	size := 0
	for i := range req.Changes {
		size = max(size, len(req.Changes[i].Body))
	}
	if req.Strict != nil {
		size = max(size, len(req.Strict.Body))
	}
	if int64(size) > limit {
		return &problem{code: CodeTooLarge, message: fmt.Sprintf("a transaction of %d bytes; this server takes %d: write less in one transaction", size, limit)}
	}
	return nil
}

// readRequest reads and decodes the body. release gives back what it took from
// the memory budget, also after an error; the request must not be used after.
func (s *Server) readRequest(w *recorder, r *http.Request) (req *wire.Request, release func(), err error) {
	taken := int64(0)
	release = func() { s.memory.give(taken) }
	take := func(n int64) error {
		if !s.memory.take(n) {
			return &problem{code: CodeUnavailable, message: "the server is working on as many bytes as it can hold: try again in a moment"}
		}
		taken += n
		return nil
	}
	body, err := s.readBody(w, r, take)
	if err != nil {
		return nil, release, err
	}
	// A claim above the limit is refused before anything is allocated for it.
	if size := claimedSize(body); size <= s.cfg.Limits.MaxDecoded {
		if err := take(size); err != nil {
			return nil, release, err
		}
	}
	req, err = wire.DecodeRequest(body, int(s.cfg.Limits.MaxDecoded))
	if err != nil {
		return nil, release, fmt.Errorf("decode request: %w", err)
	}
	return req, release, nil
}

// claimedSize returns the length that a message's envelope claims for its body
// once decompressed, after the magic, the version and the flags; 0 if it isn't
// a message. Decoding it allocates no more than that.
func claimedSize(msg []byte) int64 {
	if len(msg) < 4 {
		return 0
	}
	size, _ := binary.Uvarint(msg[4:])
	return int64(min(size, 1<<40))
}

// readStep is how much of a body is read, and how far its buffer is ahead of
// what arrived, at least.
const readStep = 64 << 10

// readBody reads the body as it arrives, so that a length costs nothing until
// the bytes are there.
func (s *Server) readBody(w *recorder, r *http.Request, take func(int64) error) ([]byte, error) {
	limit := s.cfg.Limits.MaxBody
	tooLarge := func() error {
		return &problem{code: CodeTooLarge, message: fmt.Sprintf("the request's body is above this server's limit of %d bytes (--max-body): send less at once", limit)}
	}
	if r.ContentLength > limit {
		return nil, tooLarge()
	}
	first := int64(readStep)
	if r.ContentLength >= 0 {
		first = min(first, r.ContentLength)
	}
	if err := take(first); err != nil {
		return nil, err
	}
	buf := make([]byte, 0, first+1) // one more, to meet the end without growing
	for {
		if len(buf) == cap(buf) {
			grow := int64(cap(buf))
			if err := take(grow); err != nil {
				return nil, err
			}
			buf = append(make([]byte, 0, int64(cap(buf))+grow), buf...)
		}
		if len(buf) > 0 { // the first time was given with the request
			s.extend(w)
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		w.in += int64(n)
		switch {
		case int64(len(buf)) > limit:
			return nil, tooLarge()
		case err == io.EOF:
			// The deadline was for the body alone: if it struck later, while
			// the request waits for news, the client would be taken for gone.
			_ = w.ctl.SetReadDeadline(time.Time{})
			return buf, nil
		case err != nil:
			w.Header().Set("Connection", "close")
			return nil, &problem{code: CodeMalformed, message: "the request's body ended early or came too slowly: send it again", err: err}
		}
	}
}

// writeAnswer writes the answer and its snapshot. A failure on the way leaves
// a body without its end, which a client never takes for whole.
func writeAnswer(w *recorder, ans *tenant.Answer) error {
	msg := ans.Response.Append(nil)
	var prefix [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(prefix[:], uint64(len(msg)))
	h := w.Header()
	h["Content-Type"] = []string{wire.ContentType}
	if ans.Pages == nil {
		h["Content-Length"] = []string{strconv.Itoa(n + len(msg))}
	}
	w.WriteHeader(http.StatusOK)
	err := writeAll(w, prefix[:n], msg)
	if ans.Pages == nil {
		return err
	}
	return writePages(w, ans.Pages, err)
}

// writePages writes a snapshot's chunks. It begins to range over them even
// after an error, which gives the snapshot back.
func writePages(w *recorder, pages iter.Seq2[[]byte, error], failed error) error {
	var prefix [binary.MaxVarintLen64]byte
	for msg, err := range pages {
		if failed != nil {
			return failed
		}
		if err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		n := binary.PutUvarint(prefix[:], uint64(len(msg)))
		if err := writeAll(w, prefix[:n], msg); err != nil {
			return err
		}
	}
	return failed
}

// writeAll writes parts of an answer in steps, each with its own deadline.
func writeAll(w *recorder, parts ...[]byte) error {
	for _, b := range parts {
		for len(b) > 0 {
			step := b[:min(len(b), 1<<20)]
			if _, err := w.Write(step); err != nil {
				return fmt.Errorf("%w: %w", errGone, err)
			}
			b = b[len(step):]
		}
	}
	return nil
}
