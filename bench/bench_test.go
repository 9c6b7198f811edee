package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/bench/workload"
	"github.com/agentdb/agentdb/internal/change"
)

func TestProxyCountsBytesAndRequests(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body)
	}))
	defer upstream.Close()
	p, err := newProxy(upstream.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	c := newRaw(p.addr())
	for i := range 3 {
		body := []byte(strings.Repeat("x", 1000*(i+1)))
		header := "Host: x\r\n"
		tr, err := p.during(func() error {
			answer, err := c.post("/a", header, body)
			if err == nil && !bytes.Equal(answer, body) {
				err = fmt.Errorf("%d bytes came back of %d", len(answer), len(body))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		want := len("POST /a HTTP/1.1\r\n"+header+"Content-Length: 1000\r\n\r\n") + len(body)
		if int(tr.up) != want || tr.requests != 1 || int(tr.down) <= len(body) {
			t.Errorf("request %d: %+v, want %d bytes up", i, tr, want)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

func TestNewRow(t *testing.T) {
	for _, tt := range []struct {
		name         string
		ours, theirs []float64
		target       target
		want         string
	}{
		{"below", []float64{1, 2, 3}, []float64{4, 4, 4}, atMost(0.5), "hit"},
		{"above", []float64{3, 3, 3}, []float64{4, 4, 4}, atMost(0.5), "MISS"},
		{"throughput", []float64{30}, []float64{5}, atLeast(6), "hit"},
		{"absolute", []float64{0.2}, nil, oursAtMost(0.5), "hit"},
		{"nothing", nil, []float64{4}, atMost(0.5), "not measured"},
		{"no target", []float64{1}, []float64{4}, target{}, ""},
	} {
		if got := newRow(tt.name, seconds, tt.ours, "peer", tt.theirs, tt.target).Result; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestMemoriesCompressLikeText guards the byte counts of the bootstrap: its rows must neither be noise nor repeat themselves.
func TestMemoriesCompressLikeText(t *testing.T) {
	var raw strings.Builder
	for _, row := range memories(workload.NewText(14), 5000) {
		fmt.Fprintln(&raw, row...)
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, raw.String())
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if ratio := float64(raw.Len()) / float64(packed.Len()); ratio < 2.5 || ratio > 3.3 {
		t.Errorf("gzip -1 makes %.2f to 1", ratio)
	}
}

func TestTemplates(t *testing.T) {
	create, insert, err := templates(filepath.Join(t.TempDir(), "t.db"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(create.Events); n == 0 || create.Events[0].Op != change.OpDDL {
		t.Errorf("create: %+v", create.Events)
	}
	if n := len(insert.Events); n != 1 || insert.Events[0].Op != change.OpInsert || len(insert.Events[0].New) != 1 {
		t.Errorf("insert: %+v", insert.Events)
	}
}

type countingPusher struct{ n int }

func (p *countingPusher) push() error  { p.n++; return nil }
func (p *countingPusher) close() error { return nil }

func TestLoad(t *testing.T) {
	p := &countingPusher{}
	res, err := load(context.Background(), []pusher{p}, 20_000_000)
	if err != nil || p.n == 0 || res.perSec <= 0 {
		t.Errorf("%d pushes, %+v, %v", p.n, res, err)
	}
}
