package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/agentdb/agentdb/server"
)

// spanCollector takes spans as an OpenTelemetry collector does.
type spanCollector struct {
	mu    sync.Mutex
	spans []*tracev1.Span
}

func (c *spanCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			body, _ = io.ReadAll(z)
		}
	}
	var req collector.ExportTraceServiceRequest
	if r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &req) != nil {
		http.Error(w, "not traces", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
}

// TestTraces: spans of a request go to the endpoint that the environment names,
// below the span that the client names.
func TestTraces(t *testing.T) {
	c := &spanCollector{}
	at := httptest.NewServer(c)
	defer at.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", at.URL)
	provider, flush, err := traces(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{DataDir: t.TempDir(), Dev: true, TracerProvider: provider})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/db/tasks/v3/pipeline", strings.NewReader(`{"requests":[{"type":"execute","stmt":{"sql":"CREATE TABLE t(x)"}}]}`))
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	r.Header.Set("traceparent", "00-"+trace+"-"+parent+"-01")
	s.ServeHTTP(httptest.NewRecorder(), r)
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	names := map[string]*tracev1.Span{}
	for _, span := range c.spans {
		if hex.EncodeToString(span.TraceId) == trace {
			names[span.Name] = span
		}
	}
	request := names["POST sql"]
	if request == nil || hex.EncodeToString(request.ParentSpanId) != parent || request.Kind != tracev1.Span_SPAN_KIND_SERVER {
		t.Fatalf("%v in %v", request, c.spans)
	}
	attrs := map[string]string{}
	for _, a := range request.Attributes {
		attrs[a.Key] = a.Value.String()
	}
	if !strings.Contains(attrs["http.response.status_code"], "200") || !strings.Contains(attrs["db.namespace"], "tasks") {
		t.Errorf("%v", attrs)
	}
	for _, name := range []string{"open", "commit", "wait for disk"} {
		span := names[name]
		if span == nil || !bytes.Equal(span.ParentSpanId, request.SpanId) {
			t.Errorf("%s: %v", name, span)
		}
	}
}

// TestNoTraces: without an endpoint there is nobody who makes spans.
func TestNoTraces(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	if p, _, err := traces(t.Context(), nil); p != nil || err != nil {
		t.Error(p, err)
	}
}
