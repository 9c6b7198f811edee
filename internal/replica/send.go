package replica

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/wire"
)

// Limits on what a server may send.
const (
	maxAnswer = 1 << 30  // bytes of an answer, decompressed
	maxError  = 64 << 10 // bytes of an error's body
)

// answer is a server's answer. Its body is open while a snapshot is read.
type answer struct {
	*wire.Response
	body  io.Closer
	in    *bufio.Reader
	count *countingReader
}

func (a *answer) close() { _ = a.body.Close() }

// countingReader counts the bytes that pass.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// post sends one request, and once more if the server refuses the token and
// there is another. The caller closes the answer.
func (r *Replica) post(ctx context.Context, req *wire.Request, rep *Report) (*answer, error) {
	body := req.Append(nil)
	token, err := r.token(ctx, false)
	if err != nil {
		return nil, err
	}
	resp, err := r.roundTrip(ctx, body, token, rep)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized {
		no := refused(resp)
		fresh, err := r.token(ctx, true)
		switch {
		case err != nil:
			return nil, err
		case fresh == token:
			return nil, no
		}
		if resp, err = r.roundTrip(ctx, body, fresh, rep); err != nil {
			return nil, err
		}
	}
	for attempt := 0; resp.StatusCode == http.StatusTooManyRequests && attempt < maxLimited; attempt++ {
		no := refused(resp)
		if wait(ctx, resp.Header, attempt) != nil {
			return nil, no
		}
		if token, err = r.token(ctx, false); err != nil {
			return nil, err
		}
		if resp, err = r.roundTrip(ctx, body, token, rep); err != nil {
			return nil, err
		}
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refused(resp)
	}
	return r.read(ctx, resp, rep)
}

// A server that takes no more requests for now is asked again so often, and not
// waited for any longer than this.
const (
	maxLimited  = 5
	longestWait = 10 * time.Second
)

// wait waits for as long as a server says, and a little longer, so that those who
// were turned away together don't come back together. It fails if that is too
// long.
func wait(ctx context.Context, h http.Header, attempt int) error {
	after, _ := strconv.Atoi(h.Get("Retry-After"))
	d := time.Duration(after)*time.Second + backoff(attempt, time.Second)
	if after < 0 || d > longestWait {
		return errTooLong
	}
	return sleep(ctx, d)
}

var errTooLong = errors.New("too long a wait")

// token returns the token to send, or none. refresh asks for another one.
func (r *Replica) token(ctx context.Context, refresh bool) (string, error) {
	if r.cfg.Token == nil {
		return "", nil
	}
	t, err := r.cfg.Token(ctx, refresh)
	if err != nil {
		return "", fmt.Errorf("sync: get a token: %w", err)
	}
	return t, nil
}

func (r *Replica) roundTrip(ctx context.Context, body []byte, token string, rep *Report) (*http.Response, error) {
	hr, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+"/sync", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("sync: %w", err)
	}
	hr.Header.Set("Content-Type", wire.ContentType)
	hr.Header.Set("User-Agent", "agentdb")
	if token != "" {
		hr.Header.Set("Authorization", "Bearer "+token)
	}
	rep.RoundTrips++
	rep.BytesSent += int64(len(body))
	resp, err := r.client.Do(hr)
	if err != nil {
		return nil, offline(ctx, err)
	}
	return resp, nil
}

// offline wraps an error of the network. An ended context is not the network's.
func offline(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("sync: %w", context.Cause(ctx))
	}
	return fmt.Errorf("%w: %w", ErrOffline, err)
}

// read reads the answer itself; a snapshot's pages stay in the body.
func (r *Replica) read(ctx context.Context, resp *http.Response, rep *Report) (*answer, error) {
	count := &countingReader{r: resp.Body}
	in := bufio.NewReader(count) // its memory is small: frames are read past it
	msg, err := wire.ReadFrame(in, nil, maxAnswer)
	if err == nil {
		var m *wire.Response
		if m, err = wire.DecodeResponse(msg, maxAnswer); err == nil {
			a := &answer{Response: m, body: resp.Body, in: in, count: count}
			if m.Status != wire.StatusSnapshot {
				// Reading to the end lets the connection be used again.
				if n, rerr := io.Copy(io.Discard, in); rerr != nil || n != 0 {
					err = fmt.Errorf("%w: %d bytes after the answer: %w", wire.ErrMalformed, n, errors.Join(rerr))
				}
			}
			if err == nil {
				rep.BytesReceived += count.n
				return a, nil
			}
		}
	}
	rep.BytesReceived += count.n
	_ = resp.Body.Close()
	if ctx.Err() != nil {
		return nil, offline(ctx, err)
	}
	if errors.Is(err, wire.ErrVersion) || errors.Is(err, wire.ErrTooLarge) {
		return nil, fmt.Errorf("sync: %w", err)
	}
	return nil, fmt.Errorf("%w: the answer: %w", ErrOffline, err)
}

// refused turns an error status into an error.
func refused(resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // what there is of it
	var body struct {
		Error struct{ Code, Message string }
	}
	msg := http.StatusText(resp.StatusCode)
	if json.Unmarshal(b, &body) == nil && body.Error.Message != "" {
		msg = body.Error.Message
	}
	err := fmt.Errorf("%s (status %d)", msg, resp.StatusCode)
	switch {
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %w", ErrUnauthorized, err)
	case resp.StatusCode == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %w: %w", ErrQuota, errTooMuch, err)
	case resp.StatusCode == http.StatusTooManyRequests,
		resp.StatusCode == http.StatusInsufficientStorage:
		return fmt.Errorf("%w: %w", ErrQuota, err)
	case resp.StatusCode == http.StatusConflict:
		return fmt.Errorf("%w: %w", ErrDiverged, err)
	case resp.StatusCode >= 500:
		return fmt.Errorf("%w: %w", ErrOffline, err)
	}
	return fmt.Errorf("sync: %w", err)
}

// Limits of a server's that nobody has changed: a transaction above them would
// never be taken, and keep those behind it from being sent.
const (
	maxTransaction = 128 << 20 // bytes, as encoded
	maxBody        = 64 << 20  // bytes of a request, compressed
)

// checkSize refuses a transaction that no request can hold.
func checkSize(ch *change.Change) error {
	if ch.Size() < maxBody-1<<20 {
		return nil
	}
	body := ch.Unpacked().Append(nil, change.ViewIntents)
	if len(body) > maxTransaction {
		return fmt.Errorf("%w: a transaction of %d bytes, a server takes %d: write less in one transaction", ErrQuota, len(body), maxTransaction)
	}
	req := wire.Request{Changes: []wire.Change{{Body: body}}}
	if n := len(req.Append(nil)); n > maxBody {
		return fmt.Errorf("%w: a transaction of %d bytes, compressed, a server takes %d: write less in one transaction", ErrQuota, n, maxBody)
	}
	return nil
}

// errTooMuch: the request is larger, or takes longer, than the server allows.
var errTooMuch = errors.New("too much in one request")

// pause waits for a jittered, growing while; it returns the context's error.
func pause(ctx context.Context, attempt int, longest time.Duration) error {
	return sleep(ctx, backoff(attempt, longest))
}

// sleep waits for a while; it returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
