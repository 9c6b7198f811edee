package server_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/server"
)

// pages is an answer to a request for pages.
type pages struct {
	revision string
	size     uint64
	pages    map[uint64][]byte // by their number, from 0
}

// pull asks for pages and checks the form of the answer.
func (s *sqlServer) pull(agent, token string, body []byte) (*pages, int, string) {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/db/t/pull-updates", bytes.NewReader(body))
	r.Header.Set("User-Agent", agent)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	s.srv.ServeHTTP(w, r)
	if n := w.Header().Get("Content-Length"); n != strconv.Itoa(w.Body.Len()) {
		s.t.Errorf("Content-Length %q of %d bytes", n, w.Body.Len())
	}
	text := w.Body.Bytes()
	if w.Code != 200 {
		return nil, w.Code, string(text)
	}
	if w.Header().Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			s.t.Fatal(err)
		}
		if text, err = io.ReadAll(z); err != nil {
			s.t.Fatal(err)
		}
	}
	return decodePages(s.t, text), w.Code, w.Header().Get("Content-Encoding")
}

func decodePages(t *testing.T, b []byte) *pages {
	t.Helper()
	p := &pages{pages: map[uint64][]byte{}}
	for first := true; len(b) > 0; first = false {
		msg, n := protowire.ConsumeBytes(b)
		if n < 0 {
			t.Fatalf("a message is cut, %d bytes before the end", len(b))
		}
		b = b[n:]
		nums, strs := map[protowire.Number]uint64{}, map[protowire.Number][]byte{}
		for len(msg) > 0 {
			num, typ, n := protowire.ConsumeTag(msg)
			msg = msg[n:]
			if typ == protowire.VarintType {
				v, n := protowire.ConsumeVarint(msg)
				nums[num], msg = v, msg[n:]
			} else {
				v, n := protowire.ConsumeBytes(msg)
				strs[num], msg = v, msg[n:]
			}
		}
		if !first {
			if len(strs[2]) != 4096 || p.pages[nums[1]] != nil {
				t.Fatalf("page %d has %d bytes", nums[1], len(strs[2]))
			}
			p.pages[nums[1]] = strs[2]
			continue
		}
		p.revision, p.size = string(strs[1]), nums[2]
		if raw, ok := strs[3]; !ok || len(raw) != 0 {
			t.Fatal("the header doesn't say that pages are raw")
		}
	}
	return p
}

// on puts the pages onto those that a client had.
func (p *pages) on(had *pages) *pages {
	out := &pages{revision: p.revision, size: p.size, pages: map[uint64][]byte{}}
	maps.Copy(out.pages, had.pages)
	maps.Copy(out.pages, p.pages)
	maps.DeleteFunc(out.pages, func(no uint64, _ []byte) bool { return no >= p.size })
	return out
}

// query opens the pages as a database, and runs statements before the query.
func (p *pages) query(t *testing.T, sql string, before ...string) string {
	t.Helper()
	var file []byte
	for no := range p.size {
		if p.pages[no] == nil {
			t.Fatalf("page %d of %d is missing", no, p.size)
		}
		file = append(file, p.pages[no]...)
	}
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if ok, err := c.QueryText("PRAGMA integrity_check"); ok != "ok" || err != nil {
		t.Fatalf("integrity: %s, %v", ok, err)
	}
	for _, sql := range before {
		if err := c.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	text, err := c.QueryText(sql)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func str(num protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), v)
}

func waitMS(n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, 4, protowire.VarintType), n)
}

// selector is a set of some pages below 65536.
func selector(nos ...uint16) []byte {
	b := []byte{0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, byte(len(nos) - 1), byte((len(nos) - 1) >> 8), 0, 0, 0, 0}
	for _, no := range nos {
		b = append(b, byte(no), byte(no>>8))
	}
	return str(5, string(b))
}

const names = "SELECT coalesce(group_concat(v),'none') FROM (SELECT v FROM t ORDER BY id)"

func TestPullPages(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	empty, _, _ := s.pull("x", "", nil)
	if empty.query(t, "SELECT count(*) FROM sqlite_schema") != "0" {
		t.Error("the database is not empty")
	}
	s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, pad BLOB)", "INSERT INTO t(v) VALUES('a')")
	one, _, _ := s.pull("x", "", str(3, empty.revision))
	if got := one.on(empty).query(t, names); got != "a" {
		t.Errorf("since the empty database: %s", got)
	}
	whole, _, _ := s.pull("x", "", nil)
	if got := whole.query(t, names); got != "a" {
		t.Errorf("all pages: %s", got)
	}

	s.pipeline("", "INSERT INTO t(v,pad) VALUES('b',randomblob(100000))", "DELETE FROM t WHERE v='a'", "INSERT INTO t(v) VALUES('c')")
	two, _, _ := s.pull("x", "", str(3, whole.revision))
	if got := two.on(whole).query(t, names); got != "b,c" {
		t.Errorf("since one: %s", got)
	}
	same, _, _ := s.pull("x", "", str(3, two.revision))
	if len(same.pages) != 0 || same.revision != two.revision {
		t.Errorf("no news: %d pages at %s, asked since %s", len(same.pages), same.revision, two.revision)
	}
	old, _, _ := s.pull("x", "", str(2, whole.revision))
	if got := old.query(t, names); got != "a" || old.revision != whole.revision {
		t.Errorf("pinned: %s at %s", got, old.revision)
	}
	some, _, _ := s.pull("x", "", append(str(2, two.revision), selector(0, 2, 9999)...))
	if got := slices.Sorted(maps.Keys(some.pages)); !slices.Equal(got, []uint64{0, 2}) {
		t.Errorf("selected: %v", got)
	}
	for _, foreign := range []string{"e1.42", strings.Replace(two.revision, ".", ".ffff", 1)[:len(two.revision)], "ff" + two.revision} {
		all, _, _ := s.pull("x", "", str(3, foreign))
		if got := all.query(t, names); got != "b,c" {
			t.Errorf("since %s: %s", foreign, got)
		}
		if _, status, text := s.pull("x", "", str(2, foreign)); status != 409 {
			t.Errorf("pinned to %s: %d %s", foreign, status, text)
		}
	}
	if _, status, _ := s.pull("x", "", []byte{0xff}); status != 400 {
		t.Errorf("nonsense: %d", status)
	}
	if _, status, _ := s.pull("x", "", str(5, "nonsense")); status != 400 {
		t.Errorf("a set of nonsense: %d", status)
	}
	zipped, _, encoding := s.pull("node", "", str(3, whole.revision))
	if encoding != "gzip" || zipped.on(whole).query(t, names) != "b,c" {
		t.Errorf("for Node.js: %q", encoding)
	}
}

// TestPullSendsNoRemains asks for pages on which rows were deleted, or moved to
// others when the tree grew.
func TestPullSendsNoRemains(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, pad BLOB)", "INSERT INTO t(v) VALUES('a')")
	whole, _, _ := s.pull("x", "", nil)
	s.pipeline("", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<60) INSERT INTO t(v) SELECT iif(i%9=0, 'gone', 'kept')||printf('%060d', i) FROM n",
		"DELETE FROM t WHERE v LIKE 'gone%'")
	since, _, _ := s.pull("x", "", str(3, whole.revision))
	if got := since.on(whole).query(t, "SELECT count(*) FROM t WHERE v LIKE 'kept%'"); got != "54" {
		t.Errorf("%s rows", got)
	}
	kept := 0
	for no, page := range since.pages {
		if bytes.Contains(page, []byte("gone0")) {
			t.Errorf("page %d holds deleted rows", no)
		}
		kept += bytes.Count(page, []byte("kept0"))
	}
	if kept != 54 {
		t.Errorf("the rows are there %d times", kept)
	}
}

// sparse runs a query on those pages alone: the others are zero.
func (p *pages) sparse(t *testing.T, sql string) string {
	t.Helper()
	full := &pages{size: p.size, pages: map[uint64][]byte{}}
	for no := range p.size {
		full.pages[no] = make([]byte, 4096)
	}
	maps.Copy(full.pages, p.pages)
	var file []byte
	for no := range p.size {
		file = append(file, full.pages[no]...)
	}
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := sqlite.Open(path, sqlite.Options{NoWAL: true, NoForeignKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text, err := c.QueryText(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// A query selects the pages that it reads, and those are enough to run it.
func TestPullByQuery(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE big(id INTEGER PRIMARY KEY, k TEXT, x BLOB)", "CREATE INDEX by_k ON big(k)", "CREATE TABLE other(big INTEGER REFERENCES big, y)",
		"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 4000) INSERT INTO big SELECT n, 'k' || n % 100, randomblob(900) FROM c",
		"INSERT INTO big VALUES (9999, 'large', randomblob(100000))", "INSERT INTO other VALUES (7, 'seven'), (8, 'eight')")
	before, _, _ := s.pull("x", "", nil)
	for query, most := range map[string]int{
		"SELECT count(*) || max(hex(x)) FROM big WHERE id < 10":                      12,
		"SELECT group_concat(hex(x)) FROM big WHERE k = 'k5'":                        60,
		"SELECT hex(x) FROM big WHERE id = 9999":                                     40,
		"SELECT group_concat(y || hex(b.x)) FROM other o JOIN big b ON b.id = o.big": 12,
		"SELECT 1":                 6,
		"SELECT count(x) FROM big": 1200,
		" SELECT sum(n) FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 9) SELECT n FROM c); ": 6,
	} {
		p, status, body := s.pull("x", "", str(7, query))
		if status != 200 {
			t.Errorf("%s: %d %s", query, status, body)
			continue
		}
		if len(p.pages) > most || p.size != before.size || p.revision == "" {
			t.Errorf("%s: %d pages of %d, at most %d are needed", query, len(p.pages), p.size, most)
		}
		if got, want := p.sparse(t, query), before.query(t, query); got != want {
			t.Errorf("%s: %.80s, want %.80s", query, got, want)
		}
	}
	// A page more at the same revision, and what has changed since, whatever
	// the query was.
	p, _, _ := s.pull("x", "", str(7, "SELECT x FROM big WHERE id = 1"))
	s.pipeline("", "UPDATE big SET x = 'new' WHERE id IN (1, 3000)")
	if at, _, _ := s.pull("x", "", append(str(2, p.revision), str(7, "SELECT x FROM big WHERE id = 3000")...)); at.sparse(t, "SELECT hex(x) FROM big WHERE id = 3000") != before.query(t, "SELECT hex(x) FROM big WHERE id = 3000") {
		t.Error("a query at a revision sees another")
	}
	if now, _, _ := s.pull("x", "", append(str(3, p.revision), str(7, "SELECT 1")...)); now.on(before).query(t, "SELECT x FROM big WHERE id = 3000") != "new" {
		t.Error("a change that the query doesn't touch is not sent")
	}
}

func TestPullByQueryStaysInside(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true, Limits: server.Limits{StatementTimeout: 300 * time.Millisecond}})
	s.pipeline("", "CREATE TABLE t(x)", "INSERT INTO t VALUES (1)")
	for query, why := range map[string]string{
		"ATTACH ':memory:' AS a": "", "ATTACH '/etc/passwd' AS a": "", "PRAGMA user_version": "", "PRAGMA journal_mode=WAL": "",
		"PRAGMA writable_schema=1": "", "SELECT * FROM pragma_database_list": "", "INSERT INTO t VALUES (2)": "", "DELETE FROM t": "",
		"CREATE TABLE u(x)": "", "CREATE TEMP TABLE u(x)": "", "BEGIN": "", "VACUUM": "", "VACUUM INTO '/tmp/x'": "", "SELECT load_extension('x')": "",
		"SELECT 1; SELECT 2": "one statement", "": "", "-- nothing": "one statement", "SELECT nope FROM t": "no such column", "SELECT FROM": "syntax",
		endless:                                "longer than",
		"INSERT INTO t VALUES (2) RETURNING x": "", "SELECT writefile('/tmp/x', 'x')": "no such function",
	} {
		if query == "" {
			continue // is none
		}
		if _, status, body := s.pull("x", "", str(7, query)); status != 400 || !strings.Contains(body, "partial sync") || !strings.Contains(body, why) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	if got := s.pipeline("", "SELECT count(*) FROM t").text(0); got != "1" {
		t.Errorf("%s rows", got)
	}
	s = newSQL(t, server.Config{Dev: true})
	if p, status, body := s.pull("x", "", str(7, "SELECT 1 FROM anything")); status != 200 || len(p.pages) != 1 {
		t.Errorf("an empty database: %d %s", status, body)
	}
}

func TestPullWaitsForNews(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	first, _, _ := s.pull("x", "", nil)
	start := time.Now()
	none, _, _ := s.pull("x", "", append(str(3, first.revision), waitMS(100)...))
	if took := time.Since(start); len(none.pages) != 0 || took < 100*time.Millisecond {
		t.Errorf("%d pages after %v", len(none.pages), took)
	}
	got := make(chan *pages)
	go func() {
		p, _, _ := s.pull("x", "", append(str(3, first.revision), waitMS(20_000)...))
		got <- p
	}()
	time.Sleep(50 * time.Millisecond)
	s.pipeline("", "INSERT INTO t(v) VALUES('news')")
	select {
	case p := <-got:
		if text := p.on(first).query(t, names); text != "news" {
			t.Error(text)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the news did not wake it")
	}
}

func TestPullRefusesWhatPagesCannotCarry(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	first, _, _ := s.pull("x", "", nil)
	s.pipeline("", "CREATE VIRTUAL TABLE f USING fts5(x)")
	for _, body := range [][]byte{nil, str(3, first.revision)} {
		_, status, text := s.pull("x", "", body)
		if status != 422 || !strings.Contains(text, "f is a virtual table; use SQL over HTTP") {
			t.Errorf("%d %s", status, text)
		}
	}
	s.pipeline("", "DROP TABLE f")
	if p, status, text := s.pull("x", "", str(3, first.revision)); status != 200 || p.on(first).query(t, names) != "none" {
		t.Errorf("after it was dropped: %d %s", status, text)
	}
}

func TestPullAsksForAToken(t *testing.T) {
	s := newSQL(t, server.Config{})
	token := func(db, access string) string {
		tok, err := server.CreateToken(s.dir, server.TokenSpec{Database: db, Access: access})
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	for _, c := range []struct {
		token string
		want  int
	}{
		{"", 401},
		{"nonsense", 401},
		{token("other", "full"), 403},
		{token("t", "push"), 403},
		{token("t", "read"), 404},
		{token("t", "pull"), 404},
		{token("t", "full"), 200},
		{token("t", "read"), 200},
		{token("t", "pull"), 200},
	} {
		if _, status, text := s.pull("x", c.token, nil); status != c.want {
			t.Errorf("%d, not %d: %s", status, c.want, text)
		}
	}
}
