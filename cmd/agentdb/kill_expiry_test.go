package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentdb/agentdb"
	"github.com/agentdb/agentdb/platform"
)

// TestKillExpiry kills the server again and again while it exports and deletes
// databases whose time is over: in the end there is one sound file of each, and
// none of the databases.
func TestKillExpiry(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no kill -9")
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	data, dir := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "expired")
	api := platform.NewClient(platform.Config{BaseURL: "http://" + addr + "/v1/"})
	cmd := startServer(t, addr, data, "--expired-export", dir)
	databases := 40
	if testing.Short() {
		databases = 24
	}
	if _, err := api.Databases.Create(t.Context(), "base", platform.CreateOptions{FromDump: strings.NewReader(dump(dumpRows))}); err != nil {
		t.Fatal(err)
	}
	over := time.Now().Add(time.Second)
	for i := range databases {
		o := platform.CreateOptions{Fork: &platform.Fork{Name: "base"}, TTL: time.Until(over)}
		if _, err := api.Databases.Create(t.Context(), fmt.Sprint("brief-", i), o); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Until(over) + 20*time.Millisecond)
	kills, checked := 0, map[string]bool{}
	for ; ; kills++ {
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		files, err := filepath.Glob(filepath.Join(dir, "*.db"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !checked[f] {
				checkExpired(t, f)
			}
			checked[f] = true
		}
		cmd = startServer(t, addr, data, "--expired-export", dir)
		if len(files) == databases || t.Failed() {
			break
		}
		if kills == 500 {
			t.Fatalf("only %d of %d are exported", len(files), databases)
		}
	}
	t.Logf("%d kills", kills)
	left := func() (n int) {
		for d, err := range api.Databases.List(t.Context(), platform.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if d.Name != "base" {
				n++
			}
		}
		return n
	}
	// What is exported isn't listed any more, and is exported once more after a
	// crash before it was deleted.
	list, err := os.ReadDir(dir)
	partial := func(f os.DirEntry) bool { return strings.HasSuffix(f.Name(), ".partial") }
	for deadline := time.Now().Add(10 * time.Second); (left() > 0 || slices.ContainsFunc(list, partial)) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		list, err = os.ReadDir(dir)
	}
	for _, f := range list {
		checkExpired(t, filepath.Join(dir, f.Name()))
	}
	if err != nil || len(list) != databases || left() != 0 {
		t.Errorf("%d files of %d, %d databases left, %v", len(list), databases, left(), err)
	}
}

// checkExpired fails unless a file is complete.
func checkExpired(t *testing.T, path string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "copy.db") // opening one may write to it
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := agentdb.Open(t.Context(), file, nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer db.Close()
	how, err := agentdb.Get[string](t.Context(), db, "PRAGMA integrity_check")
	rows, err2 := agentdb.Get[int64](t.Context(), db, "SELECT count(*) FROM t")
	if how != "ok" || rows != dumpRows || err != nil || err2 != nil {
		t.Errorf("%s: %s, %d rows, %v, %v", path, how, rows, err, err2)
	}
}
