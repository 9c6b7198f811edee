package platform

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/sqlite"
)

var errDisk = errors.New("the disk is full")

// cutExport is databases whose files end early while bad is theirs.
type cutExport struct {
	Databases
	bad atomic.Value // a name
}

func (d *cutExport) ExportAt(ctx context.Context, name string, revision uint64) (int64, iter.Seq2[[]byte, error], error) {
	size, parts, err := d.Databases.ExportAt(ctx, name, revision)
	if name != d.bad.Load() {
		return size, parts, err
	}
	return size, func(yield func([]byte, error) bool) {
		for b := range parts {
			if !yield(b, nil) || !yield(nil, errDisk) {
				return
			}
		}
	}, err
}

// expiry is a fixture whose clock and files can be looked after.
type expiry struct {
	*fixture
	owner string
	dir   string
	cut   *cutExport
	ahead atomic.Int64 // of the clock
	cfg   Config
}

func newExpiry(t *testing.T) *expiry {
	e := &expiry{dir: filepath.Join(t.TempDir(), "below", "expired"), cut: &cutExport{}}
	e.cut.bad.Store("")
	e.fixture = newFixture(t, func(cfg *Config) {
		e.cut.Databases, cfg.Databases, cfg.ExpiredExport = cfg.Databases, e.cut, e.dir
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(e.ahead.Load())) }
		e.cfg = *cfg
	})
	e.owner = e.token(t, catalog.DefaultUser)
	return e
}

// make makes a database with a row of its own that lives for an hour.
func (e *expiry) make(t *testing.T, name string) {
	t.Helper()
	dump := e.upload(t, e.owner, "CREATE TABLE t(v); INSERT INTO t VALUES('of "+name+"');")
	e.want(t, 200, e.owner, post, "/v1/databases", object{"name": name, "ttl": "1h", "seed": object{"type": "dump", "url": dump}})
}

// files are the exported files by the names of their databases, which must be
// sound.
func (e *expiry) files(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	list, err := os.ReadDir(e.dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, f := range list {
		name := f.Name()
		if len(name) < 41 || strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".db") {
			t.Errorf("there is a file %s", name)
			continue
		}
		files[name[:len(name)-40]] = contents(t, filepath.Join(e.dir, name))
	}
	return files
}

// contents returns the row of a file.
func contents(t *testing.T, path string) string {
	t.Helper()
	c, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	how, err := c.QueryText("PRAGMA integrity_check")
	if err != nil || how != "ok" {
		t.Errorf("%s: %s, %v", path, how, err)
	}
	v, err := c.QueryText("SELECT v FROM t")
	if err != nil {
		t.Error(err)
	}
	return v
}

// TestExpiredExport: what expires is in the directory, complete, before it is
// gone; its name is free then.
func TestExpiredExport(t *testing.T) {
	e := newExpiry(t)
	for _, name := range []string{"a", "b.c"} {
		e.make(t, name)
	}
	e.want(t, 200, e.owner, post, "/v1/databases", object{"name": "stays", "ttl": "3h"})
	if err := e.Expire(t.Context()); err != nil || len(e.files(t)) > 0 {
		t.Fatalf("before its time: %v %v", e.files(t), err)
	}
	e.ahead.Store(int64(2 * time.Hour))
	if err := e.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	files := e.files(t)
	if len(files) != 2 || files["a"] != "of a" || files["b.c"] != "of b.c" {
		t.Errorf("%v", files)
	}
	e.want(t, 404, e.owner, get, "/v1/databases/a", nil)
	e.want(t, 200, e.owner, get, "/v1/databases/stays", nil)
	e.make(t, "a")
	log := e.want(t, 200, e.owner, get, "/v1/audit-logs?page_size=100", nil).body
	if strings.Count(log, "db-expire") != 2 || !strings.Contains(log, `"exported":"b.c-`) {
		t.Errorf("%s", log)
	}
}

// TestExpiredExportFails: a database that can't be exported is kept, though
// nobody may use it, and keeps no other from its end. It is exported as soon as
// that is possible, after a restart too.
func TestExpiredExportFails(t *testing.T) {
	e := newExpiry(t)
	e.make(t, "bad")
	e.make(t, "good")
	e.ahead.Store(int64(2 * time.Hour))
	e.cut.bad.Store("bad")
	for range 2 {
		if err := e.Expire(t.Context()); !errors.Is(err, errDisk) {
			t.Fatalf("no error: %v", err)
		}
		if files := e.files(t); len(files) != 1 || files["good"] != "of good" {
			t.Errorf("%v", files)
		}
		e.want(t, 404, e.owner, get, "/v1/databases/bad", nil)
		e.want(t, 409, e.owner, post, "/v1/databases", object{"name": "bad"})
	}
	e.Close()
	e.cut.bad.Store("")
	again, err := New(t.Context(), e.cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.API = again
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if done, err := filepath.Glob(filepath.Join(e.dir, "bad-*.db")); err != nil || len(done) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not exported after a restart")
		}
	}
	if files := e.files(t); files["bad"] != "of bad" {
		t.Errorf("%v", files)
	}
}

// TestPutOff: who puts the end of a database off in time keeps it.
func TestPutOff(t *testing.T) {
	e := newExpiry(t)
	e.make(t, "a")
	e.ahead.Store(int64(2 * time.Hour))
	e.want(t, 200, e.owner, patch, "/v1/databases/a/configuration", object{"expires_at": ""})
	if err := e.Expire(t.Context()); err != nil || len(e.files(t)) > 0 {
		t.Errorf("%v %v", e.files(t), err)
	}
	e.want(t, 200, e.owner, get, "/v1/databases/a", nil)
}

// TestOnExpiry: a database's own setting goes before what the server does.
func TestOnExpiry(t *testing.T) {
	e := newExpiry(t)
	for name, on := range map[string]string{"dropped": "drop", "kept": "export", "any": ""} {
		e.make(t, name)
		a := e.want(t, 200, e.owner, patch, "/v1/databases/"+name+"/configuration", object{"on_expiry": on})
		if got, _ := a.at("on_expiry").(string); got != on {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	e.want(t, 400, e.owner, patch, "/v1/databases/any/configuration", object{"on_expiry": "archive"})
	e.want(t, 200, e.owner, post, "/v1/databases", object{"name": "brief", "ttl": "1h", "on_expiry": "drop"})
	e.ahead.Store(int64(2 * time.Hour))
	if err := e.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if files := e.files(t); len(files) != 2 || files["kept"] != "of kept" || files["any"] != "of any" {
		t.Errorf("%v", files)
	}
	for _, name := range []string{"dropped", "kept", "any", "brief"} {
		e.want(t, 404, e.owner, get, "/v1/databases/"+name, nil)
	}
}

// TestOnExpiryWithoutDirectory: a server without a directory promises no export,
// and doesn't delete what was promised one.
func TestOnExpiryWithoutDirectory(t *testing.T) {
	e := newExpiry(t)
	e.want(t, 200, e.owner, post, "/v1/databases", object{"name": "a", "ttl": "1h", "on_expiry": "export"})
	e.want(t, 200, e.owner, post, "/v1/databases", object{"name": "b", "ttl": "1h"})
	e.Close()
	e.cfg.ExpiredExport = ""
	again, err := New(t.Context(), e.cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.API = again
	e.want(t, 422, e.owner, post, "/v1/databases", object{"name": "c", "on_expiry": "export"})
	e.ahead.Store(int64(2 * time.Hour))
	if err := e.Expire(t.Context()); err == nil {
		t.Error("no error")
	}
	e.want(t, 409, e.owner, post, "/v1/databases", object{"name": "a"})
	e.want(t, 200, e.owner, post, "/v1/databases", object{"name": "b"})
}
