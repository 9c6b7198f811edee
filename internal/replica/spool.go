package replica

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/agentdb/agentdb/internal/wire"
)

// A snapshot is received as it comes, compressed, into a file of its own: the
// database is locked only while it is unpacked.

// maxChunk bounds a chunk of a snapshot, in bytes.
const maxChunk = wire.PagesBuffer + 64

// receive writes a snapshot's chunks into a new file.
func receive(a *answer, path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var msg, frame []byte
	for got := uint32(0); got < a.Pages; {
		if msg, err = wire.ReadFrame(a.in, msg, maxChunk); err != nil {
			return err
		}
		n := wire.ClaimedPages(msg)
		if n == 0 {
			return fmt.Errorf("%w: a chunk without pages", wire.ErrMalformed)
		}
		if got += n; got > a.Pages {
			return fmt.Errorf("%w: more pages than announced", wire.ErrMalformed)
		}
		frame = wire.AppendFrame(frame[:0], msg)
		if _, err := f.Write(frame); err != nil {
			return err
		}
	}
	if n, err := io.Copy(io.Discard, a.in); err != nil || n != 0 {
		return fmt.Errorf("%w: %d bytes after a snapshot: %w", wire.ErrMalformed, n, errors.Join(err))
	}
	return nil
}

const (
	unpackers = 2 // chunks decompressed at a time
	unpackRun = 3 * unpackers
)

// chunk is a part of a snapshot on its way into the database.
type chunk struct {
	msg, buf []byte // memory to use again
	first    uint32
	data     []byte
	err      error
	done     chan struct{} // one value when data or err is set
}

func (c *chunk) decode() {
	c.first, c.data, c.err = wire.DecodePages(c.buf, c.msg)
	c.done <- struct{}{}
}

// unpacker reads chunks, decompresses some at a time, and hands them on in
// order. Its channels have room for all chunks that there are.
type unpacker struct {
	pages             uint32
	free, work, order chan *chunk
	stop              chan struct{}
}

// unpack calls fn with the pages of a file of chunks, in order. data is valid
// until fn returns.
func unpack(path string, pages uint32, fn func(first uint32, data []byte) error) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	u := &unpacker{
		pages: pages, stop: make(chan struct{}),
		free: make(chan *chunk, unpackRun), work: make(chan *chunk, unpackRun), order: make(chan *chunk, unpackRun),
	}
	for range unpackRun {
		u.free <- &chunk{buf: make([]byte, 0, wire.PagesBuffer), done: make(chan struct{}, 1)}
	}
	var wg sync.WaitGroup
	defer func() {
		close(u.stop)
		wg.Wait()
		err = errors.Join(err, f.Close())
	}()
	wg.Go(func() { u.read(bufio.NewReaderSize(f, readSize)) })
	for range unpackers {
		wg.Go(func() {
			for c := range u.work {
				c.decode()
			}
		})
	}
	return u.deliver(fn)
}

// read reads all chunks, until the first error.
func (u *unpacker) read(in *bufio.Reader) {
	defer close(u.work)
	defer close(u.order)
	for got := uint32(0); got < u.pages; {
		var c *chunk
		select {
		case c = <-u.free:
		case <-u.stop:
			return
		}
		if c.msg, c.err = wire.ReadFrame(in, c.msg, maxChunk); c.err != nil {
			c.done <- struct{}{}
			u.order <- c
			return
		}
		got += wire.ClaimedPages(c.msg)
		u.work <- c
		u.order <- c
	}
}

func (u *unpacker) deliver(fn func(first uint32, data []byte) error) error {
	next := uint32(1)
	for c := range u.order {
		<-c.done
		if c.err != nil {
			return c.err
		}
		if c.first != next {
			return fmt.Errorf("%w: page %d where %d was due", wire.ErrMalformed, c.first, next)
		}
		if next += uint32(len(c.data) / wire.PageSize); next > u.pages+1 {
			return fmt.Errorf("%w: more pages than announced", wire.ErrMalformed)
		}
		if err := fn(c.first, c.data); err != nil {
			return err
		}
		u.free <- c
	}
	if next != u.pages+1 {
		return fmt.Errorf("%w: %d pages of %d", wire.ErrMalformed, next-1, u.pages)
	}
	return nil
}
