package tenant

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrSpool is returned when there is no room to put an answer together before
// it is sent.
var ErrSpool = errors.New("tenant: no room to spool an answer")

// Spool is a body that is complete before the first byte of it is sent, in a
// file that has no name, and is gone with the process. It is read once.
type Spool struct {
	m    *Manager
	f    *os.File
	name string // if the system can't do without
	size int64
}

func (m *Manager) newSpool() (*Spool, error) {
	f, err := os.CreateTemp(m.cfg.CacheDir, ".spool-")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpool, err)
	}
	s := &Spool{m: m, f: f}
	if os.Remove(f.Name()) != nil {
		s.name = f.Name()
	}
	return s, nil
}

// write appends to the body.
func (s *Spool) write(b []byte) error {
	n := int64(len(b))
	s.size += n
	if s.m.spooled.Add(n) > s.m.cfg.MaxSpooled {
		return ErrSpool
	}
	if _, err := s.f.Write(b); err != nil {
		return fmt.Errorf("%w: %w", ErrSpool, err)
	}
	return nil
}

// Size returns how many bytes the body has.
func (s *Spool) Size() int64 { return s.size }

// Parts yields the body, each part valid until the next.
func (s *Spool) Parts(yield func([]byte, error) bool) {
	_, err := s.f.Seek(0, io.SeekStart)
	buf := make([]byte, min(s.size, 256<<10))
	for rest := s.size; rest > 0 && err == nil; {
		var n int
		if n, err = io.ReadFull(s.f, buf[:min(rest, int64(len(buf)))]); err == nil && !yield(buf[:n], nil) {
			return
		}
		rest -= int64(n)
	}
	if err != nil {
		yield(nil, err)
	}
}

// Close gives the room back.
func (s *Spool) Close() {
	s.m.spooled.Add(-s.size)
	s.size = 0
	_ = s.f.Close()
	if s.name != "" {
		_ = os.Remove(s.name)
	}
}
