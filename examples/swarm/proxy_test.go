package main

import (
	"io"
	"net"
	"testing"
	"time"
)

func TestProxyCutAndJoin(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = echo.Close() }()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	p, err := newProxy()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
	say := func(c net.Conn) error {
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 5))
		return err
	}
	if say(dial()) == nil {
		t.Error("bytes went through before join")
	}
	p.join(echo.Addr().String())
	c := dial()
	if err := say(c); err != nil {
		t.Error(err)
	}
	if p.bytes.Load() != 10 {
		t.Errorf("%d bytes counted", p.bytes.Load())
	}
	p.cut()
	if say(c) == nil || say(dial()) == nil {
		t.Error("bytes went through a cut")
	}
	p.join(echo.Addr().String())
	if err := say(dial()); err != nil {
		t.Error(err)
	}
}
