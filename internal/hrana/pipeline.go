package hrana

import (
	"context"
	"errors"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// Format is the encoding of requests and answers.
type Format uint8

// The formats.
const (
	JSON Format = iota
	Protobuf
)

// Call is who asks, and how.
type Call struct {
	Format Format
	Owner  string           // who may continue the stream
	Open   func() Conn      // makes the Conn of a new one
	Take   func(int64) bool // memory for the answer; nil: there is enough
}

// Pipeline runs the requests of a pipeline and returns the body of its answer.
// What the answer says is durable.
func (s *Streams) Pipeline(ctx context.Context, c *Call, req *PipelineRequest) ([]byte, error) {
	l, err := s.take(req.Baton, c)
	if err != nil {
		return nil, err
	}
	defer l.drop() // unless it is given back
	results, err := l.pipeline(ctx, req.Requests)
	if err == nil {
		err = l.stream.conn.Settle(ctx)
	}
	if err != nil {
		return nil, err
	}
	if c.Format == Protobuf {
		return append(protoHead(l.give()), results...), nil
	}
	out := appendHead(make([]byte, 0, len(results)+64), l.give())
	out = append(out, `,"results":[`...)
	out = append(out, results...)
	return append(out, ']', '}'), nil
}

// appendHead appends the beginning of an answer, without its closing brace.
func appendHead(b []byte, baton string) []byte {
	if b = append(b, `{"baton":`...); baton == "" {
		b = append(b, "null"...)
	} else {
		b = appendString(b, baton)
	}
	return append(b, `,"base_url":null`...)
}

// protoHead is the same in protobuf.
func protoHead(baton string) []byte {
	if baton == "" {
		return nil
	}
	return appendText(nil, 1, baton)
}

func (l *lease) pipeline(ctx context.Context, reqs []Request) ([]byte, error) {
	var out []byte
	for i := range reqs {
		a, err := l.stream.do(ctx, &reqs[i], len(out))
		var e *Error
		if err != nil && !errors.As(err, &e) {
			return nil, err
		}
		if l.stream.format == Protobuf {
			out = appendProtoResult(out, a, e)
			continue
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = appendResult(out, a, e)
	}
	return out, nil
}

// appendResult appends what became of one request: an answer or an error.
func appendResult(b []byte, a *answer, e *Error) []byte {
	if e != nil {
		b = append(b, `{"type":"error","error":`...)
		return append(appendError(b, e), '}')
	}
	b = append(b, `{"type":"ok","response":`...)
	return append(appendAnswer(b, a), '}')
}

// appendProtoResult is the same in protobuf, as a field of the answer.
func appendProtoResult(b []byte, a *answer, e *Error) []byte {
	if e != nil {
		return appendMessage(b, 3, appendMessage(nil, 2, protoError(e)))
	}
	return appendMessage(b, 3, appendMessage(nil, 1, protoAnswer(a)))
}

// appendAnswer appends the response to one request.
func appendAnswer(b []byte, a *answer) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, a.kind.String()...)
	b = append(b, '"')
	switch a.kind {
	case KindExecute:
		b = append(b, `,"result":`...)
		b = append(b, a.results.(*results).buf...)
	case KindBatch:
		b = append(b, `,"result":{"step_results":[`...)
		r := a.results.(*results)
		b = append(b, r.buf...)
		b = append(b, `],"step_errors":`...)
		b = append(r.appendErrors(b), '}')
	case KindDescribe:
		b = append(b, `,"result":`...)
		b = appendDescription(b, a.description)
	case KindGetAutocommit:
		b = append(b, `,"is_autocommit":`...)
		b = strconv.AppendBool(b, a.autocommit)
	}
	return append(b, '}')
}

// CursorAnswer takes the answer of a cursor.
type CursorAnswer interface {
	// Whole takes all of it.
	Whole(parts ...[]byte) error
	// Part takes the next part of one whose end is not known yet. It waits
	// for the client as long as it may: the statement goes on after it.
	Part(b []byte) error
}

// Cursor runs a batch. A small answer is whole, any other is handed on while the
// batch runs. An error after a part means that there is no end to it.
func (s *Streams) Cursor(ctx context.Context, c *Call, req *CursorRequest, answer CursorAnswer) error {
	l, err := s.take(req.Baton, c)
	if err != nil {
		return err
	}
	defer l.drop()
	f := &feed{ctx: ctx, st: l.stream, out: newEntries(c.Format)}
	first := true
	f.send = func(part []byte) error {
		if first {
			first = false
			baton := ""
			if !f.plain() {
				baton = l.promise()
			}
			if err := answer.Part(cursorHead(c.Format, baton)); err != nil {
				return err
			}
		}
		return answer.Part(part)
	}
	rest, err := f.run(&req.Batch)
	if err != nil {
		return err
	}
	baton := l.give()
	if first {
		return answer.Whole(cursorHead(c.Format, baton), rest)
	}
	return answer.Part(rest)
}

// cursorHead is the beginning of the answer of a cursor.
func cursorHead(f Format, baton string) []byte {
	if f == Protobuf {
		return protowire.AppendBytes(nil, protoHead(baton))
	}
	return append(appendHead(nil, baton), '}', '\n')
}
