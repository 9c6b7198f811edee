package server

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/agentdb/agentdb/internal/history"
)

// tracerName is that of the spans' origin.
const tracerName = "github.com/agentdb/agentdb/server"

// dbKey is the attribute with a database's name.
const dbKey = attribute.Key("db.namespace")

// tracing makes spans. Nil makes none.
type tracing struct {
	tracer trace.Tracer
	remote propagation.TraceContext // W3C's header traceparent
}

func newTracing(p trace.TracerProvider) *tracing {
	if p == nil {
		return nil
	}
	return &tracing{tracer: p.Tracer(tracerName, trace.WithInstrumentationVersion(Version()))}
}

// request begins the span of a request. end is called when it was answered.
func (t *tracing) request(w *recorder, r *http.Request) (traced *http.Request, end func()) {
	if t == nil {
		return r, func() {}
	}
	ctx := t.remote.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path)))
	return r.WithContext(ctx), func() {
		span.SetName(r.Method + " " + w.route)
		span.SetAttributes(attribute.String("http.route", w.route), attribute.Int("http.response.status_code", w.status),
			attribute.Int64("http.request.body.size", w.in), attribute.Int64("http.response.body.size", w.out))
		if w.db != "" {
			span.SetAttributes(dbKey.String(w.db))
		}
		if w.err != nil {
			span.SetAttributes(attribute.String("error.type", string(asProblem(w.err).code)))
		}
		if w.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// span begins a span of something that is done with a database.
func (t *tracing) span(ctx context.Context, name, db string) (context.Context, func(error)) {
	ctx, span := t.tracer.Start(ctx, name, trace.WithAttributes(dbKey.String(db)))
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// opening is tenant.Config.Opening.
func (t *tracing) opening() func(ctx context.Context, name string) func(error) {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, name string) func(error) {
		_, end := t.span(ctx, "open", name)
		return end
	}
}

// store adds spans to a history.
func (t *tracing) store(s history.Store) history.Store {
	if t == nil {
		return s
	}
	return &tracedStore{Store: s, t: t}
}

// tracedStore is a history with spans of commits, from appending them until they
// are on the disk, and of those who wait for that.
type tracedStore struct {
	history.Store
	t *tracing
}

// Append implements history.Store.
func (s *tracedStore) Append(ctx context.Context, id history.DBID, expect history.Head, commits ...*history.NewCommit) (*history.Pending, error) {
	ctx, end := s.t.span(ctx, "commit", string(id))
	p, err := s.Store.Append(ctx, id, expect, commits...)
	if err != nil {
		end(err)
		return nil, err
	}
	p.Then(end)
	return p, nil
}

// WaitDurable implements history.Store.
func (s *tracedStore) WaitDurable(ctx context.Context, id history.DBID, seq uint64) error {
	ctx, end := s.t.span(ctx, "wait for disk", string(id))
	err := s.Store.WaitDurable(ctx, id, seq)
	end(err)
	return err
}
