package server_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/agentdb/agentdb/server"
)

// large makes a table of a few MB of text.
const large = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500) INSERT INTO t(v,pad) SELECT 'x', hex(randomblob(2500)) FROM n"

// afar makes a request for pages of a client on another machine.
func afar(t *testing.T, url, agent string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/db/t/pull-updates", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", agent)
	r.Header.Set("Accept-Encoding", "application/protobuf")
	r.Header.Set("X-Forwarded-For", "192.0.2.7") // from this machine it would not be compressed
	return r
}

// pullLarge asks for pages over HTTP, and checks that the answer has its length.
func pullLarge(t *testing.T, url, agent string, body []byte) (p *pages, zipped bool) {
	t.Helper()
	resp, err := http.DefaultClient.Do(afar(t, url, agent, body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || resp.ContentLength != int64(len(b)) || len(resp.TransferEncoding) > 0 {
		t.Fatalf("%s: %d bytes, %v; %v", resp.Status, len(b), err, resp.Header)
	}
	if zipped = resp.Header.Get("Content-Encoding") == "gzip"; zipped {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false) // as some browsers read it
		if b, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	return decodePages(t, b), zipped
}

// TestPullLargeOverHTTP reads answers that are too large for memory.
func TestPullLargeOverHTTP(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, pad TEXT)", large)
	h := httptest.NewServer(s.srv)
	defer h.Close()
	raw, zipped := pullLarge(t, h.URL, "turso-sync-go", nil)
	if zipped {
		t.Error("a client gets gzip that may not decode it")
	}
	const sum = "SELECT count(*)||' '||sum(length(pad)) FROM t"
	var first *pages
	for i := range 2 {
		p, zipped := pullLarge(t, h.URL, "node", nil)
		if !zipped || p.query(t, sum) != fmt.Sprint("500 ", 500*5000) || !maps.EqualFunc(p.pages, raw.pages, bytes.Equal) {
			t.Errorf("client %d: %d pages, compressed: %v", i, len(p.pages), zipped)
		}
		first = p
	}
	s.pipeline("", "UPDATE t SET pad = hex(randomblob(2500)) WHERE id % 3 = 0")
	since, zipped := pullLarge(t, h.URL, "node", str(3, first.revision))
	if got, want := since.on(first).query(t, "SELECT hex(max(pad)) FROM t WHERE id%3=0"), s.pipeline("", "SELECT hex(max(pad)) FROM t WHERE id%3=0").text(0); !zipped || got != want {
		t.Errorf("since the first: %d pages, compressed: %v", len(since.pages), zipped)
	}
	some := make([]uint16, 400) // a part of a bootstrap that was begun before
	for i := range some {
		some[i] = uint16(100 + i)
	}
	then, zipped := pullLarge(t, h.URL, "node", append(str(2, first.revision), selector(some...)...))
	for no, page := range then.pages {
		if !bytes.Equal(page, first.pages[no]) {
			t.Errorf("page %d is of another revision", no)
		}
	}
	if !zipped || len(then.pages) != len(some) {
		t.Errorf("%d pages of %d, compressed: %v", len(then.pages), len(some), zipped)
	}
}

// TestPullLargeGivesRoomBack: clients that go away leave nothing behind, at once,
// wherever the answer was; nor does one that reads everything.
func TestPullLargeGivesRoomBack(t *testing.T) {
	const fds = "/proc/self/fd"
	if _, err := os.Stat(fds); err != nil {
		t.Skip(err)
	}
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, pad TEXT)", strings.Replace(large, "i<500", "i<5000", 1))
	h := httptest.NewServer(s.srv)
	defer h.Close()
	spools := func() (n int) {
		entries, _ := os.ReadDir(fds)
		for _, e := range entries {
			if to, _ := os.Readlink(filepath.Join(fds, e.Name())); strings.HasPrefix(to, s.dir) && strings.Contains(to, ".spool-") {
				n++
			}
		}
		return n
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	none := func() bool { return spools() == 0 }
	for _, after := range []time.Duration{0, 20 * time.Millisecond, 60 * time.Millisecond} { // while it is compressed
		c := &http.Client{Timeout: after + time.Millisecond, Transport: &http.Transport{}}
		if resp, err := c.Do(afar(t, h.URL, "node", nil)); err == nil {
			resp.Body.Close()
		}
		wait("a client that went before its answer keeps room", none)
	}
	resp, err := http.DefaultClient.Do(afar(t, h.URL, "node", nil))
	if err != nil {
		t.Fatal(err)
	}
	if spools() == 0 {
		t.Error("the answer is in no file")
	}
	resp.Body.Close() // while it is sent
	wait("a client that went amid its answer keeps room", none)
	if _, zipped := pullLarge(t, h.URL, "node", nil); !zipped {
		t.Error("the answer is not compressed")
	}
	wait("a client that has its answer keeps room", none)
}

// steps is a ResponseWriter that keeps when each write began, and where it ended.
type steps struct {
	*httptest.ResponseRecorder
	ends    []int
	times   []time.Time
	flushed int // bytes
}

func (w *steps) Write(b []byte) (int, error) {
	w.times = append(w.times, time.Now())
	n, err := w.ResponseRecorder.Write(b)
	w.ends = append(w.ends, w.Body.Len())
	return n, err
}

func (w *steps) Flush() { w.flushed = w.Body.Len() }

// pullSteps asks for pages, as JavaScript's client does.
func (s *sqlServer) pullSteps(remote string, body []byte) *steps {
	r := httptest.NewRequest(http.MethodPost, "/db/t/pull-updates", bytes.NewReader(body))
	r.RemoteAddr = remote
	r.Header.Set("User-Agent", "node")
	w := &steps{ResponseRecorder: httptest.NewRecorder()}
	s.srv.ServeHTTP(w, r)
	return w
}

// TestPullIsNotWrittenMessageByMessage: JavaScript's client may lose the last
// piece that it reads, and notices it in the midst of a message only.
func TestPullIsNotWrittenMessageByMessage(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, pad TEXT)", large)
	w := s.pullSteps("127.0.0.1:1", nil)
	body := w.Body.Bytes()
	if len(decodePages(t, body).pages) < 500 || len(w.ends) < 3 {
		t.Fatalf("%d bytes in %d writes", len(body), len(w.ends))
	}
	messages := map[int]bool{}
	for at := 0; at < len(body); messages[at] = true {
		_, n := protowire.ConsumeBytes(body[at:])
		at += n
	}
	for _, end := range w.ends[:len(w.ends)-1] {
		if messages[end] {
			t.Errorf("a write ends after %d bytes of %d, with a message", end, len(body))
		}
	}
}

// TestPullEndsAfterItsData: the data of a compressed answer to a client that
// opens a file, or fetches a page, is there before its end is.
func TestPullEndsAfterItsData(t *testing.T) {
	for name, rows := range map[string]string{"small": "INSERT INTO t(v) VALUES ('x')", "large": large} {
		s := newSQL(t, server.Config{Dev: true})
		s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, pad TEXT)", rows)
		w := s.pullSteps("192.0.2.7:1", nil)
		body, n := w.Body.Bytes(), len(w.ends)
		if n < 2 || w.flushed != w.ends[n-2] || w.flushed == len(body) {
			t.Fatalf("%s: writes end at %d, %d bytes are flushed", name, w.ends, w.flushed)
		}
		if d := w.times[n-1].Sub(w.times[n-2]); d < time.Millisecond {
			t.Errorf("%s: the end comes %v after the data", name, d)
		}
		early, err := gzip.NewReader(bytes.NewReader(body[:w.flushed]))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(early)
		if err == nil || len(data) == 0 {
			t.Fatalf("%s: %d bytes, %v", name, len(data), err)
		}
		p := decodePages(t, data)
		if p.size == 0 || uint64(len(p.pages)) != p.size {
			t.Errorf("%s: %d pages of %d are there before the end", name, len(p.pages), p.size)
		}
		s.pipeline("", "UPDATE t SET v = 'y'")
		if w := s.pullSteps("192.0.2.7:1", str(3, p.revision)); w.flushed != 0 {
			t.Errorf("%s: a pull of news is kept waiting", name)
		}
	}
}
