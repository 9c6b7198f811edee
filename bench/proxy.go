package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// proxy forwards TCP connections on loopback and counts what passes: payload bytes both ways, HTTP headers and all, and the
// HTTP requests in them. Byte counts are taken through it; times are not, so that it costs neither side anything.
type proxy struct {
	ln       net.Listener
	upstream string
	wg       sync.WaitGroup

	up, down, requests atomic.Int64

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
}

// traffic is what passed a proxy.
type traffic struct{ up, down, requests int64 }

func (t traffic) bytes() float64 { return float64(t.up + t.down) }

func (t traffic) minus(o traffic) traffic {
	return traffic{t.up - o.up, t.down - o.down, t.requests - o.requests}
}

func newProxy(upstream string) (*proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{ln: ln, upstream: upstream, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	return p, nil
}

// addr is the proxy's host and port.
func (p *proxy) addr() string { return p.ln.Addr().String() }

func (p *proxy) total() traffic { return traffic{p.up.Load(), p.down.Load(), p.requests.Load()} }

// during returns what passed while fn ran.
func (p *proxy) during(fn func() error) (traffic, error) {
	before := p.total()
	err := fn()
	return p.total().minus(before), err
}

func (p *proxy) close() {
	_ = p.ln.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *proxy) track(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.upstream)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.track(client)
		p.track(server)
		p.wg.Go(func() { p.forward(client, server) })
	}
}

func (p *proxy) forward(client, server net.Conn) {
	pr, pw := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { p.countRequests(pr) })
	wg.Go(func() {
		p.copy(server, client, &p.up, pw)
		_ = pw.Close()
		_ = server.(*net.TCPConn).CloseWrite()
	})
	wg.Go(func() {
		p.copy(client, server, &p.down, nil)
		_ = client.Close() // an HTTP server that hangs up has said all it has to say
		_ = server.Close()
	})
	wg.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

func (p *proxy) copy(dst, src net.Conn, n *atomic.Int64, tap io.Writer) {
	buf := make([]byte, 64<<10)
	for {
		k, err := src.Read(buf)
		// Counted before it is passed on: who has read an answer finds it counted.
		n.Add(int64(k))
		if tap != nil && k > 0 {
			_, _ = tap.Write(buf[:k])
		}
		if k > 0 {
			if _, err := dst.Write(buf[:k]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) countRequests(r *io.PipeReader) {
	br := bufio.NewReader(r)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_, _ = io.Copy(io.Discard, r) // not HTTP: keep the pipe flowing
			}
			return
		}
		p.requests.Add(1)
		_, _ = io.Copy(io.Discard, req.Body)
	}
}
