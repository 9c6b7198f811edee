package server_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/agentdb/agentdb/server"
)

// pulled is an answer as it was read.
type pulled struct {
	status int
	body   []byte
	err    error
	left   bool // the client may have left amid it
}

// pullAs asks for the pages of a database, as one of several kinds of clients:
// some read slowly, and some leave.
func pullAs(ctx context.Context, c *http.Client, url string, kind int) *pulled {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &pulled{left: kind%4 == 3}
	if p.left {
		defer time.AfterFunc(rand.N(3*time.Millisecond), cancel).Stop()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/pull-updates", nil)
	if err != nil {
		p.err = err
		return p
	}
	r.Header.Set("Accept-Encoding", "application/protobuf")
	r.Header.Set("User-Agent", []string{"node", "turso-sync-go"}[kind%2])
	if kind%3 == 0 {
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
	}
	resp, err := c.Do(r)
	if err != nil {
		p.err = err
		return p
	}
	defer resp.Body.Close()
	p.status = resp.StatusCode
	var body io.Reader = resp.Body
	if kind%5 == 0 {
		body = iotest.OneByteReader(body)
	}
	if resp.Header.Get("Content-Encoding") == "gzip" {
		if body, p.err = gzip.NewReader(body); p.err != nil {
			return p
		}
	}
	p.body, p.err = io.ReadAll(body)
	return p
}

// TestPullByManyAtOnce: whatever others do, a whole answer has its header, and
// all pages of one state.
func TestPullByManyAtOnce(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	h := httptest.NewServer(s.srv)
	defer h.Close()
	const databases, clients = 12, 12
	answers := make(chan *pulled, databases*(clients+1))
	var wg sync.WaitGroup
	for db := range databases {
		url := fmt.Sprintf("%s/db/d%d", h.URL, db)
		for kind := range clients {
			wg.Go(func() {
				time.Sleep(rand.N(5 * time.Millisecond))
				answers <- pullAs(t.Context(), h.Client(), url, kind)
			})
		}
		wg.Go(func() {
			rows := 1 + 400*(db%2) // less and more than is put together in memory
			sql := fmt.Sprintf(`{"requests":[{"type":"execute","stmt":{"sql":"CREATE TABLE t(x)"}},{"type":"execute","stmt":{"sql":"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT hex(randomblob(2500)) FROM n"}}]}`, rows)
			resp, err := h.Client().Post(url+"/v2/pipeline", "application/json", strings.NewReader(sql))
			if err != nil {
				answers <- &pulled{err: err}
				return
			}
			resp.Body.Close()
		})
	}
	go func() { wg.Wait(); close(answers) }()
	whole := 0
	for a := range answers {
		switch {
		case a.err != nil && a.left:
		case a.err != nil:
			t.Error(a.err)
		case a.status != 200:
			t.Errorf("%d %s", a.status, a.body)
		default:
			whole++
			checkWhole(t, a.body)
		}
	}
	if whole < databases*clients/2 {
		t.Errorf("%d whole answers", whole)
	}
}

// checkWhole checks that an answer to a client that has nothing is whole.
func checkWhole(t *testing.T, body []byte) {
	t.Helper()
	p := decodePages(t, bytes.Clone(body))
	if p.revision == "" || p.size == 0 || uint64(len(p.pages)) != p.size {
		t.Errorf("revision %q with %d pages of %d, in %d bytes", p.revision, len(p.pages), p.size, len(body))
	}
}
