package server_test

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentdb/agentdb/server"
)

// replicaFile follows a database as libSQL's embedded replicas do.
type replicaFile struct {
	s          *sqlServer
	file       []byte
	pending    map[uint32][]byte // of a transaction that has not ended
	gen, frame int
	batch      int
}

func (s *sqlServer) replica(batch int) *replicaFile {
	r := &replicaFile{s: s, batch: batch, pending: map[uint32][]byte{}}
	_, info := s.get("/db/t/info")
	if _, err := fmt.Sscanf(info, `{"current_generation":%d}`, &r.gen); err != nil {
		s.t.Fatal(info, err)
	}
	_, file := s.get(fmt.Sprintf("/db/t/export/%d", r.gen))
	r.file = []byte(file)
	return r
}

// sync asks for frames until there are no more.
func (r *replicaFile) sync() {
	r.s.t.Helper()
	for {
		status, body := r.s.get(fmt.Sprintf("/db/t/sync/%d/%d/%d", r.gen, r.frame+1, r.frame+1+r.batch))
		if status == http.StatusBadRequest {
			newest := 0
			if _, err := fmt.Sscanf(body, `{"generation":%d}`, &newest); err != nil {
				r.s.t.Fatal(body, err)
			}
			if len(r.pending) > 0 {
				r.s.t.Fatal("half a transaction is at the end")
			}
			if newest <= r.gen {
				return
			}
			r.gen, r.frame = r.gen+1, 0
			continue
		}
		if status != http.StatusOK || len(body) == 0 || len(body)%4120 != 0 || len(body) > r.batch*4120 {
			r.s.t.Fatalf("%d, %d bytes", status, len(body))
		}
		for ; body != ""; body = body[4120:] {
			r.insert([]byte(body[:4120]))
		}
	}
}

func (r *replicaFile) insert(frame []byte) {
	r.frame++
	if r.pending[binary.BigEndian.Uint32(frame)] != nil {
		r.s.t.Fatal("a page comes twice in a transaction: SQLite makes one frame of that")
	}
	r.pending[binary.BigEndian.Uint32(frame)] = frame[24:]
	size := int(binary.BigEndian.Uint32(frame[4:]))
	if size == 0 {
		return
	}
	r.file = append(r.file, make([]byte, max(0, size*4096-len(r.file)))...)[:size*4096]
	for no, data := range r.pending {
		if int(no) <= size {
			copy(r.file[(no-1)*4096:], data)
		}
	}
	clear(r.pending)
}

// query asks the file with a program that isn't ours.
func (r *replicaFile) query(sql string) string {
	r.s.t.Helper()
	sqlite3, err := exec.LookPath("sqlite3")
	if err != nil {
		r.s.t.Skip("there is no sqlite3")
	}
	path := filepath.Join(r.s.t.TempDir(), "x.db")
	if err := os.WriteFile(path, r.file, 0o600); err != nil {
		r.s.t.Fatal(err)
	}
	out, err := exec.CommandContext(r.s.t.Context(), sqlite3, path, "PRAGMA integrity_check; "+sql).CombinedOutput()
	if err != nil {
		r.s.t.Fatalf("%v: %s", err, out)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

func TestEmbeddedReplica(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	early := s.replica(128) // there is no database yet
	early.sync()
	s.pipeline("", "CREATE TABLE t(id INTEGER PRIMARY KEY, x)")
	early.sync()
	small := s.replica(3)
	var texts []string
	for i := range 600 {
		texts = append(texts, fmt.Sprintf("INSERT INTO t(x) VALUES(zeroblob(%d))", i%7*1000), fmt.Sprintf("UPDATE t SET x = %d WHERE id = %d", i, i/2))
	}
	s.pipeline("", texts...)
	small.sync()
	s.pipeline("", "DELETE FROM t WHERE id > 5", "CREATE TABLE u AS SELECT 7 AS y")
	late := s.replica(128)
	if late.gen < 2 {
		t.Errorf("generation %d", late.gen)
	}
	for _, r := range []*replicaFile{early, small, late} {
		r.sync()
		if got := r.query("SELECT group_concat(id || '=' || x, ' '), y FROM t, u"); got != "ok 1=3 2=5 3=7 4=9 5=11|7" {
			t.Error(got)
		}
	}
}

func TestEmbeddedReplicaRefused(t *testing.T) {
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(x)")
	for path, want := range map[string]int{
		"/db/t/sync/1/9/10": http.StatusConflict, "/db/t/sync/2/1/129": http.StatusConflict, // the server was restored
		"/db/t/sync/0/1/129": http.StatusBadRequest, "/db/t/sync/1/0/129": http.StatusBadRequest, "/db/t/sync/x/1/2": http.StatusBadRequest,
		"/db/t/export/9": http.StatusConflict, "/db/t/export/0": http.StatusBadRequest,
	} {
		if status, body := s.get(path); status != want || strings.HasPrefix(body, `{"generation"`) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	w := httptest.NewRecorder()
	s.srv.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/db/t/sync/1/2/3", strings.NewReader("frame")))
	if w.Code != http.StatusUnprocessableEntity {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r := httptest.NewRequest(http.MethodGet, "/db/t/export/1", nil)
	r.Header.Set("User-Agent", "turso-cli")
	w = httptest.NewRecorder()
	if s.srv.ServeHTTP(w, r); w.Body.Len() <= 4096 {
		t.Error("Turso's CLI is not sent the whole file")
	}
}

// A replica of a database that was restored, or made anew, and has as many
// commits again is not told that it has everything.
func TestEmbeddedReplicaOfAnotherHistory(t *testing.T) {
	commits := func(s *sqlServer, n int, x string) {
		for range n {
			s.pipeline("", "INSERT INTO t VALUES('"+x+"')")
		}
	}
	refused := func(r *replicaFile) {
		t.Helper()
		for _, path := range []string{"/db/t/sync/%d/%d/900", "/db/t/export/%d"} {
			status, body := r.s.get(fmt.Sprintf(path, append([]any{r.gen}, r.frame+1)[:strings.Count(path, "%d")]...))
			if status != http.StatusConflict || !strings.Contains(body, "new file") {
				t.Errorf("%s: %d %.100s", path, status, body)
			}
		}
	}
	s := newSQL(t, server.Config{Dev: true})
	s.pipeline("", "CREATE TABLE t(x)")
	backup, err := s.srv.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := s.replica(128)
	commits(s, 300, "before")
	r.sync()
	s.stop()
	s.start()
	commits(s, 1, "before")
	if r.sync(); r.query("SELECT count(*) FROM t") != "ok 301" { // a start changes nothing
		t.Error(r.query("SELECT count(*) FROM t"))
	}

	s.stop()
	s.cfg.DataDir = backup
	s.start()
	commits(s, 301, "after")
	refused(r)
	r = s.replica(128)
	s.stop()
	s.start()
	commits(s, 1, "after")
	if r.sync(); r.query("SELECT min(x), count(*) FROM t") != "ok after|302" {
		t.Error(r.query("SELECT min(x), count(*) FROM t"))
	}
}
