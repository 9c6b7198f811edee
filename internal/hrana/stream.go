package hrana

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/tenant"
)

// Stream runs requests one after the other on a Conn of its own.
type Stream struct {
	conn  Conn
	cfg   *Config
	sql   storedSQL
	since time.Time // when the open transaction was first seen
	done  bool      // closed by the client
	dead  *Error    // closed by the server, and why

	format Format           // of the answers
	take   func(int64) bool // memory for answers, beyond room; nil: there is enough
	room   int              // bytes that the answers of this request may take already
}

// Answers that are smaller are not counted; larger ones in steps.
const (
	smallAnswer = 64 << 10
	answerStep  = 256 << 10
)

// request begins to count what the answers to a request take.
func (st *Stream) request(format Format, take func(int64) bool) {
	st.format, st.take, st.room = format, take, smallAnswer
}

// hold makes sure that there is memory for n bytes of answers.
func (st *Stream) hold(n int) error {
	if n <= st.room {
		return nil
	}
	more := max(n-st.room, answerStep)
	if st.take != nil && !st.take(int64(more)) {
		return &Error{"the server holds as many answers as it can: try again in a moment", codeMemory}
	}
	st.room += more
	return nil
}

// storedSQL are texts that a client has stored.
type storedSQL struct {
	texts map[int32]string
	bytes int
}

func (s *storedSQL) store(id int32, text string, cfg *Config) error {
	if _, ok := s.texts[id]; ok {
		return &Error{"there is stored SQL with id " + strconv.Itoa(int(id)) + " already", codeSQL}
	}
	if len(s.texts) >= cfg.MaxStored || s.bytes+len(text) > cfg.MaxStoredBytes {
		return &Error{"too much stored SQL: close some of it first", codeSQL}
	}
	if s.texts == nil {
		s.texts = map[int32]string{}
	}
	s.texts[id] = text
	s.bytes += len(text)
	return nil
}

func (s *storedSQL) close(id int32) {
	s.bytes -= len(s.texts[id])
	delete(s.texts, id)
}

// text returns the text that a request means.
func (s *storedSQL) text(q SQL) (string, error) {
	if !q.Stored {
		return q.Text, nil
	}
	text, ok := s.texts[q.ID]
	if !ok {
		return "", &Error{"there is no stored SQL with id " + strconv.Itoa(int(q.ID)), codeSQL}
	}
	return text, nil
}

// answer is the response to one request: one of its fields, by the kind.
type answer struct {
	kind        Kind
	results     resultSink
	description *tenant.Description
	autocommit  bool
}

// do runs one request. An error that is no *Error means that the stream is of
// no use any more, and neither is the request that it was part of.
func (st *Stream) do(ctx context.Context, r *Request, used int) (*answer, error) {
	if st.dead != nil {
		return nil, st.dead
	}
	if st.done {
		return nil, &Error{"the stream is closed", codeExpired}
	}
	a := &answer{kind: r.Kind}
	var err error
	switch r.Kind {
	case KindClose:
		st.close()
	case KindExecute, KindBatch:
		a.results = &results{}
		if st.format == Protobuf {
			a.results = &protoResults{one: r.Kind == KindExecute}
		}
		if is, perr := st.push(ctx, &r.Batch); is {
			err = perr
			break
		}
		err = st.batch(ctx, &r.Batch, a.results, used)
		if err == nil && r.Kind == KindExecute && a.results.failure() != nil {
			err = a.results.failure()
		}
	case KindSequence:
		var text string
		if text, err = st.sql.text(r.SQL); err == nil {
			err = st.conn.Script(ctx, text)
		}
	case KindDescribe:
		var text string
		if text, err = st.sql.text(r.SQL); err == nil {
			a.description, err = st.conn.Describe(ctx, text)
		}
	case KindStoreSQL:
		err = st.sql.store(r.SQL.ID, r.SQL.Text, st.cfg)
	case KindCloseSQL:
		st.sql.close(r.SQL.ID)
	case KindGetAutocommit:
		a.autocommit = !st.conn.InTransaction()
	}
	if err != nil {
		return nil, st.failed(err)
	}
	return a, nil
}

// failed returns the *Error for err if there is one.
func (st *Stream) failed(err error) error {
	if errors.Is(err, tenant.ErrLost) {
		st.dead = visible(err)
	}
	if e := visible(err); e != nil {
		return e
	}
	return err
}

// plain reports whether a new stream would do as well.
func (st *Stream) plain() bool { return st.conn.Fresh() && len(st.sql.texts) == 0 }

// close closes the stream. It may be called twice.
func (st *Stream) close() {
	st.done = true
	st.conn.Close()
}

// batch runs the steps of a batch. It returns an error only if the stream is
// of no use any more.
func (st *Stream) batch(ctx context.Context, b *Batch, out sink, used int) error {
	ok := make([]outcome, len(b.Steps))
	for i := range b.Steps {
		step := &b.Steps[i]
		if step.Cond != nil && !step.Cond.holds(ok, !st.conn.InTransaction()) {
			out.skip(i)
			continue
		}
		err := st.step(ctx, i, &step.Stmt, out, used)
		if err == nil {
			ok[i] = stepOK
			continue
		}
		ok[i] = stepError
		var e *Error
		if err = st.failed(err); !errors.As(err, &e) {
			return err
		}
		out.fail(i, e)
	}
	return nil
}

// outcome is what became of a step.
type outcome uint8

const (
	stepSkipped outcome = iota
	stepOK
	stepError
)

// holds evaluates a condition.
func (c *Cond) holds(done []outcome, autocommit bool) bool {
	switch c.Kind {
	case CondOK:
		return done[c.Step] == stepOK
	case CondError:
		return done[c.Step] == stepError
	case CondAutocommit:
		return autocommit
	case CondNot:
		return !c.Sub[0].holds(done, autocommit)
	case CondAnd:
		for i := range c.Sub {
			if !c.Sub[i].holds(done, autocommit) {
				return false
			}
		}
		return true
	default:
		for i := range c.Sub {
			if c.Sub[i].holds(done, autocommit) {
				return true
			}
		}
		return false
	}
}

// step runs one statement into the sink.
func (st *Stream) step(ctx context.Context, i int, s *Stmt, out sink, used int) error {
	if err := st.overdue(); err != nil {
		return err
	}
	text, err := st.sql.text(s.SQL)
	if err != nil {
		return err
	}
	var rows tenant.Rows
	sink := rowSink{st: st, out: out, step: i, want: s.WantRows, used: used}
	if f, ok := out.(*feed); ok {
		f.next(i)
		rows = &feedRows{sink, f}
	} else {
		rows = &sink
	}
	res, err := st.conn.Run(ctx, &tenant.Query{SQL: text, Args: s.Args, Named: s.Named}, rows)
	if err != nil {
		return err
	}
	out.end(i, res)
	return nil
}

// patience returns how long to wait for the next request while a transaction
// is open.
func (st *Stream) patience() time.Duration {
	if st.since.IsZero() {
		st.since = time.Now()
	}
	return min(st.cfg.Idle, st.cfg.MaxTransaction-time.Since(st.since))
}

// expire rolls back a transaction whose client is silent.
func (st *Stream) expire() {
	if st.conn.InTransaction() {
		st.conn.Close()
		st.dead = &Error{"the transaction was rolled back: its client was silent for too long", codeExpired}
	}
}

// overdue ends a transaction that has been open for too long.
func (st *Stream) overdue() error {
	switch {
	case st.dead != nil:
		return st.dead
	case !st.conn.InTransaction():
		st.since = time.Time{}
	case st.since.IsZero():
		st.since = time.Now()
	case time.Since(st.since) > st.cfg.MaxTransaction:
		st.conn.Close()
		st.dead = &Error{"the transaction was rolled back: it took longer than the " + st.cfg.MaxTransaction.String() + " that this server allows", codeTimeout}
		return st.dead
	}
	return nil
}

// rowSink hands the rows of a step to its sink.
type rowSink struct {
	st   *Stream
	out  sink
	step int
	want bool
	used int // bytes of answers before
}

func (r *rowSink) Columns(cols []tenant.Column) error {
	r.out.begin(r.step, cols)
	return nil
}

func (r *rowSink) Row(vals []sqlite.Value) error {
	if !r.want {
		return nil
	}
	r.out.row(vals)
	n := r.used + r.out.size()
	if n > r.st.cfg.MaxAnswer {
		return &Error{"the answer is too large: ask for fewer rows", codeTooLarge}
	}
	return r.st.hold(n)
}

// feedRows hands them to a feed.
type feedRows struct {
	rowSink
	f *feed
}

func (r *feedRows) Holds(h tenant.Hold, beside func()) { r.f.Holds(h, beside) }

func (r *feedRows) Row(vals []sqlite.Value) error {
	if !r.want {
		return nil
	}
	r.f.row(vals)
	return r.f.added()
}
