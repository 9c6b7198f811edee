package hrana

import (
	"context"
	"errors"
	"strconv"
)

// Call is who asks.
type Call struct {
	Owner string           // who may continue the stream
	Open  func() Conn      // makes the Conn of a new one
	Take  func(int64) bool // memory for the answer; nil: there is enough
}

// Pipeline runs the requests of a pipeline and returns the JSON of its answer.
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

func (l *lease) pipeline(ctx context.Context, reqs []Request) ([]byte, error) {
	var out []byte
	for i := range reqs {
		if i > 0 {
			out = append(out, ',')
		}
		a, err := l.stream.do(ctx, &reqs[i], len(out))
		var e *Error
		switch {
		case err == nil:
			out = append(out, `{"type":"ok","response":`...)
			out = append(appendAnswer(out, a), '}')
		case errors.As(err, &e):
			out = append(out, `{"type":"error","error":`...)
			out = append(appendError(out, e), '}')
		default:
			return nil, err
		}
	}
	return out, nil
}

// appendAnswer appends the response to one request.
func appendAnswer(b []byte, a *answer) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, a.kind.String()...)
	b = append(b, '"')
	switch a.kind {
	case KindExecute:
		b = append(b, `,"result":`...)
		b = append(b, a.results.buf...)
	case KindBatch:
		b = append(b, `,"result":{"step_results":[`...)
		b = append(b, a.results.buf...)
		b = append(b, `],"step_errors":`...)
		b = append(a.results.appendErrors(b), '}')
	case KindDescribe:
		b = append(b, `,"result":`...)
		b = appendDescription(b, a.description)
	case KindGetAutocommit:
		b = append(b, `,"is_autocommit":`...)
		b = strconv.AppendBool(b, a.autocommit)
	}
	return append(b, '}')
}

// Cursor runs a batch and returns the JSON lines of its answer, like Pipeline.
func (s *Streams) Cursor(ctx context.Context, c *Call, req *CursorRequest) (head, lines []byte, err error) {
	l, err := s.take(req.Baton, c)
	if err != nil {
		return nil, nil, err
	}
	defer l.drop()
	out := &entries{}
	if l.stream.dead == nil {
		err = l.stream.batch(ctx, &req.Batch, out, 0)
	}
	if err == nil {
		err = l.stream.conn.Settle(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	return append(appendHead(nil, l.give()), '}', '\n'), out.buf, nil
}
