package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/agentdb/agentdb/internal/tenant"
	"github.com/agentdb/agentdb/internal/turso"
)

// maxPull is the largest body of a request for pages: a set of all pages of the
// largest database is smaller.
const maxPull = 4 << 20

// smallPull is the size up to which an answer with pages is put together in
// memory. Larger ones are sent while they are read, or put together in a file.
const smallPull = 1 << 20

// pullUpdates answers a Turso client's request for pages.
func (s *Server) pullUpdates(w *recorder, r *http.Request) error {
	if r.Method != http.MethodPost {
		return &problem{code: CodeMethod, message: "use POST here"}
	}
	name, create, err := s.authorizePages(w, r)
	if err != nil {
		return err
	}
	if r.ContentLength > maxPull {
		return &problem{code: CodeTooLarge, message: "the request is larger than any set of pages"}
	}
	taken := int64(0)
	defer func() { s.memory.give(taken) }()
	body, err := s.readBody(w, r, func(n int64) error {
		if taken+n > 2*maxPull || !s.memory.take(n) {
			return errNoMemory
		}
		taken += n
		return nil
	})
	if err != nil {
		return err
	}
	req, err := turso.DecodePullRequest(body)
	if err != nil {
		return badPull(err)
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
	ans, err := s.dbs.PullPages(ctx, name, create, req)
	if now := check(); now != nil {
		return now
	}
	switch {
	case errors.Is(err, tenant.ErrPages):
		return &problem{code: CodeUnsupported, err: err, message: "Turso's sync clients can't use this database: " +
			strings.TrimPrefix(err.Error(), tenant.ErrPages.Error()+": ") + "; use SQL over HTTP, or an agentdb client, or keep that in another database"}
	case errors.Is(err, tenant.ErrQuery):
		return &problem{code: CodeMalformed, err: err, message: "the query of the partial sync fails: " + strings.TrimPrefix(err.Error(), tenant.ErrQuery.Error()+": ")}
	case errors.Is(err, tenant.ErrMalformed):
		return badPull(err)
	case err != nil:
		return gone(r, err)
	}
	return s.writePull(w, r, ans, req.ClientRevision == "")
}

func badPull(err error) error {
	return &problem{code: CodeMalformed, message: "the request is not one for pages", err: err}
}

// authorizePages returns the database that a request for pages is for, and
// whether it may be made.
func (s *Server) authorizePages(w *recorder, r *http.Request) (name string, create bool, err error) {
	name, c, err := s.requestClaims(w, r)
	if err == nil {
		var scope *tenant.Scope
		if scope, err = scopeOf(c); err == nil && !scope.ReadsAll() {
			err = errWhole
		}
	}
	if err == nil && !c.Access.CanPull() {
		err = &problem{code: CodeForbidden, message: "the token doesn't allow receiving changes: use one with access full, read or pull"}
	}
	return name, c.Access.CanPush() && c.Tables == "", err
}

// decodesGzip reports whether a client decodes gzip. What the engine of the
// clients says it accepts is no help; fetch of Node.js and of browsers decodes
// it whatever was asked for, unless somebody asks for the plain bytes.
func decodesGzip(h http.Header) bool {
	if strings.EqualFold(strings.TrimSpace(h.Get("Accept-Encoding")), "identity") {
		return false
	}
	agent := h.Get("User-Agent")
	return agent == "node" || strings.HasPrefix(agent, "Mozilla/")
}

// isNear reports whether a request comes from this machine, and not for another
// one: then compressing much takes longer than sending it.
func isNear(r *http.Request) bool {
	return isLoopback(r.RemoteAddr) && r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == ""
}

// tinyPull is the size up to which an answer is compressed at tinyLevel: that
// is a percent or two better than the default, and takes a tenth of a
// millisecond for a few pages.
const (
	tinyPull  = 64 << 10
	tinyLevel = 8
)

// writePull writes an answer. It is known to be whole by its length, which every
// answer has: a client can't tell otherwise. The end of a patient one comes later.
func (s *Server) writePull(w *recorder, r *http.Request, ans *tenant.PageAnswer, patient bool) error {
	h := w.Header()
	h["Content-Type"] = []string{"application/protobuf"}
	size := len(turso.AppendHeader(nil, ans.Revision, ans.Size))
	for _, no := range ans.Pages {
		size += turso.PageSizeOnWire(no)
	}
	zip := len(ans.Pages) > 0 && decodesGzip(r.Header)
	if size <= smallPull {
		return s.writeSmallPull(w, ans, size, zip, patient)
	}
	if zip && !isNear(r) {
		body, err := ans.Gzip(r.Context())
		if err == nil {
			defer body.Close()
			return writeSpool(w, body, patient)
		}
		if !errors.Is(err, tenant.ErrSpool) {
			return gone(r, err)
		}
		s.log.Debug("an answer is not compressed", "db", w.db, "error", err)
	}
	h["Content-Length"] = []string{strconv.Itoa(size)}
	w.WriteHeader(http.StatusOK)
	return copyPull(w, ans)
}

// writeSmallPull writes an answer that is put together in memory.
func (s *Server) writeSmallPull(w *recorder, ans *tenant.PageAnswer, size int, zip, patient bool) error {
	var buf bytes.Buffer
	if zip {
		zips, level := &s.zips.small, gzip.DefaultCompression
		if size <= tinyPull {
			zips, level = &s.zips.tiny, tinyLevel
		}
		if err := zips.write(&buf, ans, level); err != nil {
			return err
		}
		w.Header()["Content-Encoding"] = []string{"gzip"}
	} else {
		buf.Grow(size)
		if err := copyPull(&buf, ans); err != nil {
			return err
		}
	}
	w.Header()["Content-Length"] = []string{strconv.Itoa(buf.Len())}
	w.WriteHeader(http.StatusOK)
	if zip && patient {
		return writeEnd(w, buf.Bytes())
	}
	return writeAll(w, buf.Bytes())
}

// gzipEnd is how many bytes of a gzip stream follow its data.
const gzipEnd = 8

// endPause is how much later than the data the end of a patient answer is sent.
// JavaScript's client looks for data and for the end in two steps, and loses the
// data if both come between these: it is seldom held up there for as long, also
// on a busy machine. It is for the requests whose failure hurts: to open a file,
// or to fetch a page in the midst of a query.
const endPause = time.Millisecond

// writeEnd writes the last part of a compressed answer.
func writeEnd(w *recorder, b []byte) error {
	data := max(0, len(b)-gzipEnd)
	if err := writeAll(w, b[:data]); err != nil {
		return err
	}
	if w.ctl.Flush() == nil {
		time.Sleep(endPause)
	}
	return writeAll(w, b[data:])
}

// writeSpool writes an answer that was compressed before.
func writeSpool(w *recorder, body *tenant.Spool, patient bool) error {
	h := w.Header()
	h["Content-Encoding"] = []string{"gzip"}
	h["Content-Length"] = []string{strconv.FormatInt(body.Size(), 10)}
	w.WriteHeader(http.StatusOK)
	rest := body.Size()
	for b, err := range body.Parts {
		if err != nil {
			return err
		}
		if rest -= int64(len(b)); rest == 0 && patient {
			return writeEnd(w, b)
		}
		if err := writeAll(w, b); err != nil {
			return err
		}
	}
	return nil
}

// zippers keeps compressors of one level for their next use.
type zippers struct{ pool sync.Pool }

func (p *zippers) write(w io.Writer, ans *tenant.PageAnswer, level int) error {
	z, _ := p.pool.Get().(*gzip.Writer)
	if z == nil {
		var err error
		if z, err = gzip.NewWriterLevel(w, level); err != nil {
			return err
		}
	}
	defer p.pool.Put(z)
	z.Reset(w)
	if err := copyPull(z, ans); err != nil {
		return err // without its end: nobody takes it for whole
	}
	return z.Close()
}

// copyPull writes the messages of an answer in large steps. None but the last
// ends with a message: a client that loses what comes after one would take the
// answer for whole.
func copyPull(w io.Writer, ans *tenant.PageAnswer) error {
	const step = 256 << 10
	buf := turso.AppendHeader(make([]byte, 0, min(step+2*turso.PageSize, (len(ans.Pages)+1)*(turso.PageSize+16))), ans.Revision, ans.Size)
	sent := 0
	for p, err := range ans.Data {
		if err != nil {
			return fmt.Errorf("pull: %w", err)
		}
		if sent++; sent > len(ans.Pages) || p.No != ans.Pages[sent-1] {
			return fmt.Errorf("pull: page %d is not the one that was announced", p.No)
		}
		buf = append(turso.AppendPageHead(buf, p.No), p.Data...)
		if len(buf) >= step {
			last := len(buf) - 1
			if _, err := w.Write(buf[:last]); err != nil {
				return fmt.Errorf("%w: %w", errGone, err)
			}
			buf = append(buf[:0], buf[last])
		}
	}
	if sent != len(ans.Pages) {
		return fmt.Errorf("pull: %d pages of %d", sent, len(ans.Pages))
	}
	if _, err := w.Write(buf); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}

// PullPages implements databases. Drain answers those who wait.
func (d *stored) PullPages(ctx context.Context, name string, create bool, req *turso.PullRequest) (*tenant.PageAnswer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(d.draining, func() {
		if req.WaitMS > 0 {
			cancel() // it ends the waiting only
		}
	})
	defer stop()
	return d.Manager.PullPages(ctx, name, create, req)
}
