package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Limits of a request.
const (
	callTimeout = 60 * time.Second // of all but uploads and exports
	maxAnswer   = 64 << 20         // bytes of JSON
	attempts    = 4                // of a read
	maxPause    = 15 * time.Second // between them; a server that asks for more is believed to be down
)

// conn makes requests.
type conn struct {
	http   *http.Client
	base   *url.URL // ends with a slash
	bad    error    // why there is no base
	secret string   // the API token
	org    string
}

// request is one to be made.
type request struct {
	method string
	path   string // below the base
	query  url.Values
	json   any       // the body, or nil
	body   io.Reader // the body if it is no JSON
	long   bool      // no time-out, as there is none with a body that is no JSON
	size   int64     // of body; unknown if 0
	kind   string    // content type of body
	v2     bool      // of the API's second version
	host   *target   // a database itself, if not the API
}

// target is where a request goes, and what opens it.
type target struct {
	url   string
	token string
}

// in returns a path in the client's organization, made of segments. Those in odd
// places are names, and escaped.
func (c *conn) in(segments ...string) string {
	path := join(segments...)
	if c.org == "" {
		return path
	}
	return "organizations/" + url.PathEscape(c.org) + "/" + path
}

// join joins the segments of a path: keywords and, after each, a name.
func join(segments ...string) string {
	escaped := make([]string, len(segments))
	for i, s := range segments {
		if escaped[i] = s; i%2 == 1 {
			escaped[i] = url.PathEscape(s)
		}
	}
	return strings.Join(escaped, "/")
}

func (c *conn) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.call(ctx, &request{method: http.MethodGet, path: path, query: query}, out)
}

func (c *conn) post(ctx context.Context, path string, body, out any) error {
	return c.call(ctx, &request{method: http.MethodPost, path: path, json: body}, out)
}

func (c *conn) patch(ctx context.Context, path string, body, out any) error {
	return c.call(ctx, &request{method: http.MethodPatch, path: path, json: body}, out)
}

func (c *conn) delete(ctx context.Context, path string) error {
	return c.call(ctx, &request{method: http.MethodDelete, path: path}, nil)
}

// call makes a request and decodes the answer into out, if that is not nil.
func (c *conn) call(ctx context.Context, r *request, out any) error {
	if r.body == nil && !r.long {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	res, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := readAtMost(res.Body, maxAnswer)
	if err != nil {
		return fmt.Errorf("platform: read the answer: %w", err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("platform: %s %s: the answer is not the JSON that was expected: %w", r.method, res.Request.URL.Path, err)
	}
	return nil
}

// do makes a request and returns the answer if it is a good one: close its body.
// A read that the server had no time for is repeated.
func (c *conn) do(ctx context.Context, r *request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		req, err := c.request(ctx, r)
		if err != nil {
			return nil, err
		}
		res, err := c.http.Do(req)
		if err != nil {
			return nil, fmt.Errorf("platform: %w", err)
		}
		if res.StatusCode/100 == 2 {
			return res, nil
		}
		body, _ := readAtMost(res.Body, 1<<20) // half a message is one, too
		_ = res.Body.Close()
		failed := newError(res, body)
		wait, again := pause(res, attempt)
		if r.method != http.MethodGet || !again {
			return nil, failed
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(failed, ctx.Err())
		case <-time.After(wait):
		}
	}
}

func (c *conn) request(ctx context.Context, r *request) (*http.Request, error) {
	if c.bad != nil {
		return nil, c.bad
	}
	body := r.body
	if body == nil && r.json != nil {
		b, err := json.Marshal(r.json)
		if err != nil {
			return nil, fmt.Errorf("platform: %w", err)
		}
		body = bytes.NewReader(b)
	}
	to := r.host
	if to == nil {
		u, err := c.address(r)
		if err != nil {
			return nil, err
		}
		to = &target{u.String(), c.secret}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, to.url, body)
	if err != nil {
		return nil, fmt.Errorf("platform: %w", err)
	}
	if r.size > 0 {
		req.ContentLength = r.size
	}
	req.Header.Set("User-Agent", "agentdb-platform-go")
	if to.token != "" {
		req.Header.Set("Authorization", "Bearer "+to.token)
	}
	switch {
	case r.kind != "":
		req.Header.Set("Content-Type", r.kind)
	case r.json != nil:
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// address returns the URL of a request to the API. A name that would lead to
// another place is refused.
func (c *conn) address(r *request) (*url.URL, error) {
	for s := range strings.SplitSeq(r.path, "/") {
		if s == "" || s == "." || s == ".." {
			return nil, fmt.Errorf("platform: %q is not a name", s)
		}
	}
	path := r.path
	if r.v2 {
		path = "../v2/" + path
	}
	u, err := c.base.Parse(path)
	if err != nil {
		return nil, fmt.Errorf("platform: %w", err)
	}
	u.RawQuery = r.query.Encode()
	return u, nil
}

// pause says whether a read is worth another attempt, and after how long.
func pause(res *http.Response, attempt int) (time.Duration, bool) {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable || attempt >= attempts {
		return 0, false
	}
	wait := 100 * time.Millisecond << attempt
	wait += rand.N(wait) // so that those who were turned away together don't return together
	if s := res.Header.Get("Retry-After"); s != "" {
		if n, err := strconv.Atoi(s); err == nil {
			wait = time.Duration(n) * time.Second
		} else if t, err := http.ParseTime(s); err == nil {
			wait = time.Until(t)
		}
	}
	return max(wait, 0), wait <= maxPause
}

// readAtMost reads all of r, and fails if that is too much.
func readAtMost(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("it is above %d bytes", most)
	}
	return b, err
}
