package replica

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/wire"
)

// A snapshot is received as it comes, compressed. The database is locked only
// while it is unpacked, which may begin before all is there if that will not
// take long.

const (
	// maxChunk bounds a chunk of a snapshot, in bytes.
	maxChunk = wire.PagesBuffer + 64
	// spoolMemory is how many bytes of a snapshot are kept in memory; more
	// go to a file.
	spoolMemory = 16 << 20
	// patience is how long the database may be locked for nothing but the
	// arrival of a snapshot.
	patience = 250 * time.Millisecond
	// Chunks that tell that a snapshot comes fast, and how fast it comes.
	probeFast, probe = 2, 8
)

var (
	// errSlow says that a snapshot did not arrive in time.
	errSlow = errors.New("the snapshot is on its way")
	// errEnd is what follows the last chunk.
	errEnd = errors.New("no more chunks")
)

// spool is what has been received of a snapshot.
type spool struct {
	pages uint32
	path  string // of the file for what has no room in memory
	begun time.Time
	ended chan struct{}

	mu   sync.Mutex    // guards what follows
	more chan struct{} // closed and replaced when something came
	list [][]byte      // the first chunks
	size int           // their bytes
	rest int           // chunks in the file
	got  uint32        // pages
	done bool          // all is there, or err is set
	err  error
}

// newSpool begins to receive a snapshot.
func newSpool(a *answer, path string) *spool {
	s := &spool{pages: a.Pages, path: path, begun: time.Now(), ended: make(chan struct{}), more: make(chan struct{})}
	go func() {
		defer close(s.ended)
		err := s.receive(a)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.done, s.err = true, err
		close(s.more)
	}()
	return s
}

// end stops receiving.
func (s *spool) end(a *answer) {
	a.close() // ends a read that waits for the server
	<-s.ended
}

func (s *spool) receive(a *answer) (err error) {
	var f *os.File
	defer func() {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	for got := uint32(0); got < s.pages; {
		msg, err := wire.ReadFrame(a.in, nil, maxChunk)
		if err != nil {
			return err
		}
		n := wire.ClaimedPages(msg)
		if n == 0 {
			return fmt.Errorf("%w: a chunk without pages", wire.ErrMalformed)
		}
		if got += n; got > s.pages {
			return fmt.Errorf("%w: more pages than announced", wire.ErrMalformed)
		}
		if f == nil && s.size+len(msg) > spoolMemory {
			if f, err = os.OpenFile(s.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
				return err
			}
		}
		if f != nil {
			if _, err := f.Write(wire.AppendFrame(nil, msg)); err != nil {
				return err
			}
			msg = nil
		}
		s.add(msg, n)
	}
	if n, err := io.Copy(io.Discard, a.in); err != nil || n != 0 {
		return fmt.Errorf("%w: %d bytes after a snapshot: %w", wire.ErrMalformed, n, errors.Join(err))
	}
	return nil
}

// add notes a chunk, which is in the file if msg is nil.
func (s *spool) add(msg []byte, pages uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got += pages
	if msg == nil {
		s.rest++
	} else {
		s.list, s.size = append(s.list, msg), s.size+len(msg)
	}
	close(s.more)
	s.more = make(chan struct{})
}

// wait returns when all is there.
func (s *spool) wait() error {
	<-s.ended
	return s.err
}

// soon reports whether all will be there soon, or is.
func (s *spool) soon() bool {
	for {
		s.mu.Lock()
		n, got, done, more := len(s.list)+s.rest, s.got, s.done, s.more
		s.mu.Unlock()
		left := time.Since(s.begun) * time.Duration(s.pages-got) / time.Duration(max(got, 1))
		if soon := left < patience; done || n >= probe || n >= probeFast && soon {
			return soon
		}
		<-more
	}
}

// spoolReader reads chunks in order, also while they come.
type spoolReader struct {
	s    *spool
	next int
	wait time.Duration // for what isn't there
	file *os.File
	in   *bufio.Reader // of file
}

// read returns the next chunk, in buf if it comes from the file. It returns
// errEnd after the last.
func (r *spoolReader) read(buf []byte, stop <-chan struct{}) ([]byte, error) {
	for {
		r.s.mu.Lock()
		list, rest, done, err, more := r.s.list, r.s.rest, r.s.done, r.s.err, r.s.more
		r.s.mu.Unlock()
		switch {
		case r.next < len(list):
			r.next++
			return list[r.next-1], nil
		case r.next < len(list)+rest:
			return r.fromFile(buf)
		case err != nil:
			return nil, err
		case done:
			return nil, errEnd
		}
		began := time.Now()
		select {
		case <-more:
		case <-stop:
			return nil, errEnd
		case <-time.After(r.wait):
			return nil, errSlow
		}
		r.wait -= time.Since(began)
	}
}

func (r *spoolReader) fromFile(buf []byte) (msg []byte, err error) {
	if r.file == nil {
		if r.file, err = os.Open(r.s.path); err != nil {
			return nil, err
		}
		r.in = bufio.NewReader(r.file) // chunks are read past its buffer
	}
	r.next++
	return wire.ReadFrame(r.in, buf, maxChunk)
}

func (r *spoolReader) close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// unpackers is how many chunks are unpacked at a time: two are decompressed while
// one is written.
const unpackers = 3

// unpacker hands out the chunks of a snapshot, in order.
type unpacker struct {
	pages uint32 // of the snapshot

	failed sync.Once
	stop   chan struct{} // closed when err is set
	err    error

	mu   sync.Mutex // guards what follows
	in   *spoolReader
	next uint32 // the page that is due
}

// unpack calls fn with all pages, in parts that come in any order and several at
// a time. data is valid until fn returns. For what is not there yet, unpack
// waits only for so long.
func (s *spool) unpack(wait time.Duration, fn func(first uint32, data []byte) error) error {
	u := &unpacker{stop: make(chan struct{}), pages: s.pages, in: &spoolReader{s: s, wait: wait}, next: 1}
	var wg sync.WaitGroup
	for range unpackers {
		wg.Go(func() {
			if err := u.run(fn); err != nil {
				u.failed.Do(func() { u.err = err; close(u.stop) })
			}
		})
	}
	wg.Wait()
	if u.err == nil && u.next != u.pages+1 {
		u.err = fmt.Errorf("%w: %d pages of %d", wire.ErrMalformed, u.next-1, u.pages)
	}
	return errors.Join(u.err, u.in.close())
}

func (u *unpacker) run(fn func(first uint32, data []byte) error) error {
	var in []byte // memory to use again
	buf := make([]byte, 0, wire.PagesBuffer)
	for {
		msg, due, err := u.take(&in)
		if errors.Is(err, errEnd) {
			return nil
		}
		if err != nil {
			return err
		}
		first, data, err := wire.DecodePages(buf, msg)
		if err != nil {
			return err
		}
		if first != due {
			return fmt.Errorf("%w: page %d where %d was due", wire.ErrMalformed, first, due)
		}
		if err := fn(first, data); err != nil {
			return err
		}
	}
}

// take returns the next chunk and the page that it must begin with. The chunk is
// in buf if it comes from the spool's file.
func (u *unpacker) take(buf *[]byte) (msg []byte, due uint32, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if msg, err = u.in.read(*buf, u.stop); err != nil {
		return nil, 0, err
	}
	if u.in.file != nil {
		*buf = msg
	}
	due = u.next
	u.next += wire.ClaimedPages(msg)
	if u.next > u.pages+1 {
		return nil, 0, fmt.Errorf("%w: more pages than announced", wire.ErrMalformed)
	}
	return msg, due, nil
}
