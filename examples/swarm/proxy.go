package main

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A proxy is one process's network: a TCP forwarder on loopback between it and
// the server. It can be cut and joined again, and counts the bytes.
type proxy struct {
	ln    net.Listener
	bytes atomic.Int64 // both ways
	wg    sync.WaitGroup

	mu       sync.Mutex
	upstream string                // "" while cut; guarded by mu
	conns    map[net.Conn]struct{} // all that are open; guarded by mu
	closed   bool                  // guarded by mu
}

// newProxy listens. The network is cut until join is called.
func newProxy() (*proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{ln: ln, conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	return p, nil
}

// url is where the database is seen through the proxy.
func (p *proxy) url() string { return "http://" + p.ln.Addr().String() + "/db/" + database }

// join connects the network to the server's address.
func (p *proxy) join(upstream string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upstream = upstream
}

// cut breaks all connections, in the middle of whatever they carry, and lets
// no new one through.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upstream = ""
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.ln.Close()
	p.cut()
	p.wg.Wait()
}

func (p *proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.forward(c) })
	}
}

// forward carries one connection to the server and back.
func (p *proxy) forward(down net.Conn) {
	defer p.drop(down)
	p.mu.Lock()
	upstream := p.upstream
	p.mu.Unlock()
	if upstream == "" || !p.add(down) {
		return
	}
	up, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", upstream)
	if err != nil {
		return
	}
	defer p.drop(up)
	if !p.add(up) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.copy(up, down) })
	wg.Go(func() { p.copy(down, up) })
	wg.Wait()
}

// copy moves bytes until one side ends, and then ends both.
func (p *proxy) copy(dst, src net.Conn) {
	_, _ = io.Copy(counter{dst, &p.bytes}, src) // an error is an end like any other
	_ = dst.Close()
	_ = src.Close()
}

// add remembers a connection, unless the network has been cut meanwhile.
func (p *proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.upstream == "" {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// counter counts what is written.
type counter struct {
	io.Writer
	n *atomic.Int64
}

// Write counts first: whoever has received the bytes finds them counted.
func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	n, err := c.Writer.Write(b)
	c.n.Add(int64(n - len(b)))
	return n, err
}
