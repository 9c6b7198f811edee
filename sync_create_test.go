package agentdb_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// TestCreateOverLeftovers: the WAL of a file that is gone is not played back
// into the new one.
func TestCreateOverLeftovers(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old.db")
	c, err := sqlite.Open(old, sqlite.Options{NoCheckpoint: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Exec("CREATE TABLE leftover(x); INSERT INTO leftover VALUES(1)"); err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(old + "-wal") // closing a WAL drops no locks
	if err != nil || len(wal) == 0 {
		t.Fatalf("%d bytes of WAL, %v", len(wal), err)
	}
	path := filepath.Join(dir, "a.db")
	if err := os.WriteFile(path+"-wal", wal, 0o600); err != nil {
		t.Fatal(err)
	}
	db := openAt(t, path, &agentdb.Options{URL: nowhere})
	runSQL(t, db, "CREATE TABLE t(v); INSERT INTO t VALUES(1)")
	want(t, db, "SELECT name FROM sqlite_schema WHERE name IN ('leftover','t')", "[[t]]")
	want(t, db, "PRAGMA integrity_check", "[[ok]]")
}

// TestCreateAtOnce: a file that many open before it is there gets one identity,
// and keeps what each of them writes.
func TestCreateAtOnce(t *testing.T) {
	const openers = 8
	path := filepath.Join(t.TempDir(), "a.db")
	var wg sync.WaitGroup
	for range openers {
		wg.Go(func() {
			db, err := agentdb.Open(t.Context(), path, &agentdb.Options{URL: nowhere})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := db.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS t(v); INSERT INTO t VALUES(1)"); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	db := openAt(t, path, &agentdb.Options{URL: nowhere})
	want(t, db, "SELECT count(*) FROM t", "[[8]]")
	want(t, db, "SELECT count(*) FROM agentdb_sync", "[[1]]")
	if left, err := filepath.Glob(path + "-agentdb-*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestCreateEach: every new file is a replica of its own, in the mode asked for.
func TestCreateEach(t *testing.T) {
	seen := map[string]bool{}
	for _, mode := range []agentdb.SyncMode{agentdb.SyncFull, agentdb.SyncPull, agentdb.SyncPush, agentdb.SyncFull} {
		db := openAt(t, filepath.Join(t.TempDir(), "a.db"), &agentdb.Options{URL: nowhere, Sync: mode})
		id, err := agentdb.Get[string](t.Context(), db, "SELECT hex(replica)||mode FROM agentdb_sync")
		if err != nil || seen[id[:32]] || id[32:] != string('0'+rune(mode)) {
			t.Errorf("mode %v: %s, %v", mode, id, err)
		}
		seen[id[:32]] = true
	}
}
