package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// rawConn is one keep-alive HTTP/1.1 connection with as little of a client around it as will do. The load generator shares the
// machine with the servers that it measures; net/http's client would take as much of it as they do.
//
// It connects when it has something to send, and again when the server has closed: the reference server closes after each
// answer, and serves nobody else while a connection that it has accepted stays silent.
type rawConn struct {
	addr  string
	conn  net.Conn  // nil: not connected
	since time.Time // when its deadline was set
	br    *bufio.Reader
	out   []byte
	body  []byte
}

func newRaw(addr string) *rawConn { return &rawConn{addr: addr} }

func (c *rawConn) close() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn = nil
	return err
}

func (c *rawConn) connect() (err error) {
	if c.conn != nil {
		return nil
	}
	if c.conn, err = net.Dial("tcp", c.addr); err != nil {
		return err
	}
	c.since = time.Time{}
	if c.br == nil {
		c.br = bufio.NewReaderSize(c.conn, 16<<10)
	}
	c.br.Reset(c.conn)
	return nil
}

// post sends a body and returns the answer's, which is valid until the next call. header ends with the last header's CRLF.
func (c *rawConn) post(path, header string, body []byte) ([]byte, error) {
	if err := c.connect(); err != nil {
		return nil, err
	}
	if now := time.Now(); now.Sub(c.since) > time.Second {
		if err := c.conn.SetDeadline(now.Add(time.Minute)); err != nil {
			return nil, err
		}
		c.since = now
	}
	c.out = append(c.out[:0], "POST "...)
	c.out = append(c.out, path...)
	c.out = append(c.out, " HTTP/1.1\r\n"...)
	c.out = append(c.out, header...)
	c.out = append(c.out, "Content-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
	c.out = append(c.out, "\r\n\r\n"...)
	c.out = append(c.out, body...)
	if _, err := c.conn.Write(c.out); err != nil {
		return nil, err
	}
	return c.read()
}

func (c *rawConn) read() ([]byte, error) {
	status, err := c.br.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(status) < 12 {
		return nil, fmt.Errorf("status line %q", status)
	}
	code := string(status[9:12])
	length, chunked, last := -1, false, false
	for {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		key, value, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), ":")
		if !ok {
			break // the empty line
		}
		switch textproto.CanonicalMIMEHeaderKey(key) {
		case "Content-Length":
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return nil, err
			}
		case "Transfer-Encoding":
			chunked = true
		case "Connection":
			last = strings.EqualFold(strings.TrimSpace(value), "close")
		}
	}
	if chunked || length < 0 {
		return nil, errors.New("an answer without a Content-Length")
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	if _, err := io.ReadFull(c.br, c.body); err != nil {
		return nil, err
	}
	if last {
		if err := c.close(); err != nil {
			return nil, err
		}
	}
	if code != "200" {
		return nil, fmt.Errorf("status %s: %.200s", code, c.body)
	}
	return c.body, nil
}
