package proof

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
)

// runOnce syncs a file once.
func runOnce() error {
	ctx := context.Background()
	db, err := agentdb.Open(ctx, os.Getenv(childPath), &agentdb.Options{URL: os.Getenv(childURL)})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := db.Sync(ctx); err != nil {
		return err
	}
	fmt.Println("synced")
	return db.Close()
}

// TestKillBootstrap kills agents while their files get a snapshot, most of them
// while its pages are put behind the file's end: the file has nothing of it or
// everything, before and after the next sync.
func TestKillBootstrap(t *testing.T) {
	l := newLab(t)
	a := l.agent("a", agentdb.SyncFull)
	a.exec("CREATE TABLE memory (id INTEGER PRIMARY KEY, body TEXT, n INT); CREATE INDEX by_n ON memory (n)")
	rows, kills := 60_000, 4**flagKills
	if testing.Short() {
		rows, kills = 20_000, 2
	}
	a.exec("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?) INSERT INTO memory SELECT i, hex(randomblob(200)), i % 7 FROM c", rows)
	a.sync()
	info, err := os.Stat(a.path)
	if err != nil {
		t.Fatal(err)
	}
	whole := get[string](t, a.DB, "SELECT count(*) || ' ' || sum(n) || ' ' || sum(length(body)) FROM memory")
	rng := rand.New(rand.NewPCG(baseSeed(), 11))
	ends := map[string]int{}
	for i := range kills {
		path := filepath.Join(l.dir, fmt.Sprint("killed", i, ".db"))
		mine := ""
		if i%4 == 3 { // it has something of its own
			mine = fmt.Sprint("mine", i)
			db := opened(t, path, &agentdb.Options{URL: l.node.url(database)})
			exec(t, db, "CREATE TABLE "+mine+" (x)")
			exec(t, db, "INSERT INTO "+mine+" VALUES (1)")
			closed(t, db)
		}
		at := rng.Int64N(info.Size()) * rng.Int64N(5) / 4
		c := spawn(t, "once", childPath+"="+path, childURL+"="+l.node.url(database))
		waitForSize(t, path, at, rng)
		said := c.kill(t)
		end := checkKilled(t, path, whole, mine, strings.Contains(said, "synced"))
		ends[end]++
		b := l.agent(fmt.Sprint("killed", i), agentdb.SyncFull)
		b.sync()
		want(t, "rows after a sync", get[string](t, b.DB, "SELECT count(*) || ' ' || sum(n) || ' ' || sum(length(body)) FROM memory"), whole)
		want(t, "integrity", get[string](t, b.DB, "PRAGMA integrity_check"), "ok")
		closed(t, b.DB)
	}
	t.Logf("%v", ends)
}

// waitForSize returns when a file has a size, or a while after it would have.
func waitForSize(t *testing.T, path string, size int64, rng *rand.Rand) {
	t.Helper()
	end := time.Now().Add(time.Duration(500+rng.IntN(500)) * time.Millisecond)
	for time.Now().Before(end) {
		info, err := os.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err == nil && info.Size() >= size {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// checkKilled looks at a file without agentdb's help, and says what it holds.
func checkKilled(t *testing.T, path, whole, mine string, synced bool) string {
	t.Helper()
	size := int64(0)
	if info, err := os.Stat(path); err == nil {
		size = info.Size()
	}
	db := opened(t, path, nil)
	defer closed(t, db)
	want(t, "integrity", get[string](t, db, "PRAGMA integrity_check"), "ok")
	if mine != "" {
		want(t, "own rows", get[int](t, db, "SELECT count(*) FROM "+mine), 1)
	}
	if get[int](t, db, "SELECT count(*) FROM sqlite_schema WHERE name = 'memory'") == 1 {
		want(t, "rows", get[string](t, db, "SELECT count(*) || ' ' || sum(n) || ' ' || sum(length(body)) FROM memory"), whole)
		return "whole"
	}
	if synced {
		t.Error("a snapshot is gone that was there")
	}
	if size > get[int64](t, db, "SELECT page_count * 4096 FROM pragma_page_count") {
		return "cut off"
	}
	return "empty"
}
