package hrana

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

// Config bounds what streams may use. A zero field is its default.
type Config struct {
	// Idle is how long a stream with an open transaction waits for its next
	// request before it is rolled back; 5 seconds by default.
	Idle time.Duration
	// MaxTransaction is how long a transaction may take in all; one minute by
	// default.
	MaxTransaction time.Duration
	// Keep is how long any other stream waits; 30 seconds by default.
	Keep time.Duration
	// MaxStreams is how many streams wait for their next request at a time;
	// 10,000 by default.
	MaxStreams int
	// MaxAnswer is the largest answer in bytes; 64 MiB by default.
	MaxAnswer int
	// MaxStored and MaxStoredBytes bound the SQL that a stream stores; 1,000
	// texts and 16 MiB by default.
	MaxStored, MaxStoredBytes int
}

func (c *Config) withDefaults() {
	orDefault(&c.Idle, 5*time.Second)
	orDefault(&c.MaxTransaction, time.Minute)
	orDefault(&c.Keep, 30*time.Second)
	orDefault(&c.MaxStreams, 10_000)
	orDefault(&c.MaxAnswer, 64<<20)
	orDefault(&c.MaxStored, 1000)
	orDefault(&c.MaxStoredBytes, 16<<20)
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Streams keeps the streams that wait for their client's next request. It is
// safe for concurrent use.
type Streams struct {
	cfg Config
	key [32]byte // signs batons

	mu     sync.Mutex
	byID   map[uint64]*parked
	last   uint64
	closed bool
}

// parked is a stream that waits for its next request.
type parked struct {
	stream *Stream
	owner  string
	seq    uint64 // in the baton that continues it
	timer  *time.Timer
}

// NewStreams returns an empty Streams.
func NewStreams(cfg Config) *Streams {
	cfg.withDefaults()
	s := &Streams{cfg: cfg, byID: map[uint64]*parked{}}
	if _, err := rand.Read(s.key[:]); err != nil {
		panic(err) // it never fails
	}
	return s
}

// baton is what names a stream that waits: its number and how often it has
// waited, signed. It is good once.
type baton struct {
	id, seq uint64
}

const macSize = 16

func (s *Streams) sign(b baton) string {
	buf := binary.LittleEndian.AppendUint64(nil, b.id)
	buf = binary.LittleEndian.AppendUint64(buf, b.seq)
	return base64.RawURLEncoding.EncodeToString(append(buf, s.mac(buf)...))
}

func (s *Streams) mac(b []byte) []byte {
	h := hmac.New(sha256.New, s.key[:])
	_, _ = h.Write(b) // a hash takes everything
	return h.Sum(nil)[:macSize]
}

func (s *Streams) verify(text string) (b baton, ok bool) {
	buf, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(buf) != 16+macSize || !hmac.Equal(buf[16:], s.mac(buf[:16])) {
		return b, false
	}
	return baton{binary.LittleEndian.Uint64(buf), binary.LittleEndian.Uint64(buf[8:])}, true
}

// lease is a stream for the time of one request.
type lease struct {
	s      *Streams
	owner  string
	id     uint64
	seq    uint64
	stream *Stream

	promised bool // the client has the baton of the next request
}

// promise returns the baton for the next request while this one goes on. Such a
// stream waits for it even if a new one would do as well.
func (l *lease) promise() string {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.promised = true
	l.name()
	return l.s.sign(baton{l.id, l.seq + 1})
}

// name gives the stream a number. The mutex is held.
func (l *lease) name() {
	if l.id == 0 {
		l.s.last++
		l.id = l.s.last
	}
}

// take returns the stream that a baton continues, or a new one for an empty
// baton. A stream is never handed to another owner.
func (s *Streams) take(text string, c *Call) (*lease, error) {
	l := &lease{s: s, owner: c.Owner}
	if text == "" {
		l.stream = &Stream{conn: c.Open(), cfg: &s.cfg}
		l.stream.request(c.Format, c.Take)
		return l, nil
	}
	b, ok := s.verify(text)
	if !ok {
		return nil, ErrExpired
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byID[b.id]
	if p == nil || p.seq != b.seq || p.owner != c.Owner {
		return nil, ErrExpired
	}
	delete(s.byID, b.id)
	p.timer.Stop()
	l.id, l.seq, l.stream = b.id, b.seq, p.stream
	l.stream.request(c.Format, c.Take)
	return l, nil
}

// give parks the stream for the client's next request and returns the baton for
// it; "" if the stream is closed, or a new one would do as well.
func (l *lease) give() string {
	s, st := l.s, l.stream
	l.stream = nil
	st.take = nil
	plain := st.plain()
	if st.done || st.dead != nil || plain && !l.promised {
		st.close()
		return ""
	}
	wait := s.cfg.Keep
	if plain {
		wait *= 10 // it costs next to nothing
	}
	if st.conn.InTransaction() {
		wait = st.patience()
	}
	s.mu.Lock()
	if s.closed || len(s.byID) >= s.cfg.MaxStreams {
		s.mu.Unlock()
		st.close()
		return ""
	}
	l.name()
	p := &parked{stream: st, owner: l.owner, seq: l.seq + 1}
	s.byID[l.id] = p
	p.timer = time.AfterFunc(wait, func() { s.expire(l.id, p) })
	s.mu.Unlock()
	return s.sign(baton{l.id, p.seq})
}

// drop closes the stream of a request that failed as a whole. It does nothing
// after give.
func (l *lease) drop() {
	if l.stream != nil {
		l.stream.close()
	}
}

func (s *Streams) expire(id uint64, p *parked) {
	s.mu.Lock()
	if s.byID[id] != p {
		s.mu.Unlock()
		return
	}
	delete(s.byID, id)
	s.mu.Unlock()
	p.stream.close()
}

// Waiting returns how many streams wait for their next request.
func (s *Streams) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

// Close closes the streams that wait, and lets none wait from now on.
func (s *Streams) Close() {
	s.mu.Lock()
	all := s.byID
	s.byID, s.closed = map[uint64]*parked{}, true
	s.mu.Unlock()
	for _, p := range all {
		p.timer.Stop()
		p.stream.close()
	}
}
