package proof

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/wire"
)

// fault is what the proxy does to one request.
type fault struct {
	kind  faultKind
	at    int           // byte of the request or answer to cut at; from the end if negative
	part  float64       // the same as a part of the whole, if at is 0
	delay time.Duration // before the request and before the answer are passed on
	watch func(step)    // called at each step of the request, if not nil
}

// step is how far a request has come.
type step int

const (
	stepArrived  step = iota // the proxy has the whole request
	stepExecuted             // the server has answered
	stepAnswered             // the client was sent the whole answer
	steps        = iota
)

func (f fault) reached(s step) {
	if f.watch != nil {
		f.watch(s)
	}
}

type faultKind int

const (
	faultNone        faultKind = iota
	faultRefuse                // the connection is closed before the server sees anything
	faultCutRequest            // the server gets the first bytes only
	faultDropAnswer            // the server answers, the client sees the connection close
	faultCutAnswer             // the client gets the first bytes, then the connection is closed
	faultCutCleanly            // the client gets the first bytes of the body as if they were all
	faultTwice                 // the request is sent twice, the second answer is passed on
	faultTwiceFirst            // the same, the first answer is passed on
	faultReplay                // an earlier request is repeated before this one
	faultUnavailable           // the client gets a 503
	faultGarbage               // the client gets a web page
	faultKinds       = iota
)

// exchange is one request that the server answered with 200.
type exchange struct {
	request  *wire.Request
	response *wire.Response
	body     []byte // of the answer, undecoded
}

// proxy stands between one replica and the server.
type proxy struct {
	t      testing.TB
	ln     net.Listener
	target func() string
	wg     sync.WaitGroup

	mu       sync.Mutex
	queue    []fault        // for the requests to come, first things first
	pick     func() fault   // when queue is empty; nil is no fault
	cut      bool           // nothing goes through
	seen     func(exchange) // after each answer of the server, faults or not
	earlier  [][]byte       // requests that went through, for faultReplay
	requests int
	conns    map[net.Conn]bool
	closed   bool
}

func newProxy(t testing.TB, n *node) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, ln: ln, target: func() string { return n.addr }, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) url(db string) string { return "http://" + p.ln.Addr().String() + "/db/" + db }

func (p *proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		if !p.track(c) {
			_ = c.Close()
			continue
		}
		p.wg.Go(func() {
			defer p.forget(c)
			p.serve(c)
		})
	}
}

// track remembers a connection, so that close ends it.
func (p *proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.cut {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) forget(c net.Conn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	_ = c.Close()
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.ln.Close()
	p.disconnect()
	p.wg.Wait()
}

// disconnect closes all connections.
func (p *proxy) disconnect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// offline cuts the network, or mends it.
func (p *proxy) offline(cut bool) {
	p.mu.Lock()
	p.cut = cut
	p.mu.Unlock()
	if cut {
		p.disconnect()
	}
}

// do queues faults for the next requests.
func (p *proxy) do(fs ...fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, fs...)
}

// chaos makes every request take its fault from pick; nil ends it.
func (p *proxy) chaos(pick func() fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pick, p.queue = pick, nil
}

func (p *proxy) next() (fault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	if p.cut || p.closed {
		return fault{}, false
	}
	if len(p.queue) > 0 {
		f := p.queue[0]
		p.queue = p.queue[1:]
		return f, true
	}
	if p.pick != nil {
		return p.pick(), true
	}
	return fault{}, true
}

var errCut = errors.New("cut")

// serve carries the requests of one connection until something closes it.
func (p *proxy) serve(c net.Conn) {
	br := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		f, ok := p.next()
		if !ok {
			return
		}
		raw := rawRequest(req, body)
		// The client may hang up while it waits: tell the server.
		up := &upstream{}
		peeked := make(chan struct{})
		go func() {
			defer close(peeked)
			if _, err := br.Peek(1); err != nil {
				up.abort()
			}
		}()
		err = p.carry(c, up, f, raw, body)
		if err != nil {
			_ = c.Close()
		}
		<-peeked
		if err != nil {
			return
		}
	}
}

func rawRequest(req *http.Request, body []byte) []byte {
	req.Body, req.ContentLength, req.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	req.Header.Del("Expect")
	var b bytes.Buffer
	_ = req.Write(&b) // to memory
	return b.Bytes()
}

// carry takes one request to the server and the answer back, less what the
// fault takes away. An error closes the client's connection.
func (p *proxy) carry(c net.Conn, up *upstream, f fault, raw, body []byte) error {
	time.Sleep(f.delay)
	f.reached(stepArrived)
	switch f.kind {
	case faultRefuse:
		return errCut
	case faultCutRequest:
		up.part(p.target(), raw[:f.point(len(raw))])
		return errCut
	case faultUnavailable:
		return writeAll(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nlater")
	case faultGarbage:
		return writeAll(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n<html>sign in</html>")
	case faultReplay:
		if old := p.old(); old != nil {
			if _, err := p.roundTrip(up, old, nil); err != nil {
				return err
			}
		}
	}
	ans, err := p.roundTrip(up, raw, body)
	if err != nil {
		return err
	}
	p.keep(raw)
	f.reached(stepExecuted)
	switch f.kind {
	case faultDropAnswer:
		return errCut
	case faultTwice:
		if ans, err = p.roundTrip(up, raw, nil); err != nil {
			return err
		}
	case faultTwiceFirst:
		if _, err = p.roundTrip(up, raw, nil); err != nil {
			return err
		}
	}
	time.Sleep(f.delay)
	err = ans.write(c, f)
	f.reached(stepAnswered)
	return err
}

func writeAll(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}

// keep remembers some requests for faultReplay.
func (p *proxy) keep(raw []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(raw) > 1<<20 {
		return
	}
	p.earlier = append(p.earlier, raw)
	if len(p.earlier) > 8 {
		p.earlier = p.earlier[1:]
	}
}

func (p *proxy) old() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.earlier) == 0 {
		return nil
	}
	return p.earlier[p.requests%len(p.earlier)]
}

// point is the byte at which to cut something of n bytes.
func (f fault) point(n int) int {
	switch {
	case f.at < 0:
		return max(0, n+f.at)
	case f.at > 0:
		return min(n, f.at)
	}
	return int(float64(n) * f.part)
}

// answer is what the server said.
type answer struct {
	resp *http.Response
	body []byte
}

// write passes an answer on.
func (a *answer) write(c net.Conn, f fault) error {
	body := a.body
	if f.kind == faultCutCleanly {
		body = body[:f.point(len(body))]
	}
	a.resp.Body, a.resp.ContentLength, a.resp.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	a.resp.Header.Del("Content-Length")
	if len(body) == 0 {
		a.resp.Body = http.NoBody
		a.resp.Header.Set("Content-Length", "0")
	}
	var b bytes.Buffer
	if err := a.resp.Write(&b); err != nil {
		return err
	}
	out := b.Bytes()
	whole := len(out)
	if f.kind == faultCutAnswer {
		out = out[:f.point(whole)]
	}
	if _, err := c.Write(out); err != nil {
		return err
	}
	if len(out) < whole || a.resp.Close {
		return errCut
	}
	return nil
}

// roundTrip sends a request and reads the whole answer. With the request's
// body it tells p.seen.
func (p *proxy) roundTrip(up *upstream, raw, body []byte) (*answer, error) {
	c, err := up.dial(p.target())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := c.Write(raw); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodPost})
	if err != nil {
		return nil, err
	}
	a := &answer{resp: resp}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	p.mu.Lock()
	seen := p.seen
	p.mu.Unlock()
	if seen != nil && body != nil && resp.StatusCode == http.StatusOK {
		ex, err := decodeExchange(body, a.body)
		if err != nil {
			p.t.Errorf("the server answered with 200 and %v", err)
			return a, nil
		}
		seen(ex)
	}
	return a, nil
}

func decodeExchange(req, resp []byte) (exchange, error) {
	r, err := wire.DecodeRequest(req, 1<<30)
	if err != nil {
		return exchange{}, fmt.Errorf("a bad request: %w", err)
	}
	msg, err := wire.ReadFrame(bufio.NewReader(bytes.NewReader(resp)), nil, 1<<30)
	if err != nil {
		return exchange{}, err
	}
	a, err := wire.DecodeResponse(msg, 1<<30)
	if err != nil {
		return exchange{}, err
	}
	return exchange{request: r, response: a, body: resp}, nil
}

// upstream is the connection to the server during one request.
type upstream struct {
	mu   sync.Mutex
	conn net.Conn
	gone bool
}

func (u *upstream) dial(addr string) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.gone {
		_ = c.Close()
		return nil, errCut
	}
	u.conn = c
	return c, nil
}

// part sends the beginning of a request and hangs up.
func (u *upstream) part(addr string, b []byte) {
	c, err := u.dial(addr)
	if err != nil {
		return
	}
	_, _ = c.Write(b) // the connection is given up anyway
	_ = c.Close()
}

func (u *upstream) abort() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gone = true
	if u.conn != nil {
		_ = u.conn.Close()
	}
}
