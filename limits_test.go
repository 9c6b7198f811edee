package agentdb_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/agentdb/agentdb"
)

func TestLargeValues(t *testing.T) {
	size := 100 << 20
	if testing.Short() {
		size = 10 << 20
	}
	ctx := context.Background()
	db := open(t, nil)
	mustExec(t, db, "CREATE TABLE v (b, s)")
	blob := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	blob[size-1] = 0
	mustExec(t, db, "INSERT INTO v (b) VALUES (?)", blob)
	got := mustGet[[]byte](t, db, "SELECT b FROM v")
	if !bytes.Equal(got, blob) {
		t.Errorf("%d bytes came back as %d others", len(blob), len(got))
	}
	text := string(blob)
	if _, err := db.SQL().ExecContext(ctx, "UPDATE v SET b = NULL, s = ?", text); err != nil {
		t.Fatal(err)
	}
	var back string
	if err := db.SQL().QueryRowContext(ctx, "SELECT s FROM v").Scan(&back); err != nil || back != text {
		t.Errorf("%d bytes of text came back as %d others: %v", len(text), len(back), err)
	}
}

func TestOpenCloseLeaksNothing(t *testing.T) {
	cycles := 10_000
	if testing.Short() {
		cycles = 2000
	}
	if raceEnabled {
		cycles = 300
	}
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "a.db")
	cycle := func() {
		db, err := agentdb.Open(ctx, path, &agentdb.Options{Synchronous: "OFF"})
		if err != nil {
			t.Fatal(err)
		}
		if n := mustGet[int](t, db, "SELECT 1"); n != 1 {
			t.Fatal(n)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		cycle()
	}
	goroutines, fds, rss := runtime.NumGoroutine(), openFiles(t), residentKB(t)
	for range cycles {
		cycle()
	}
	if n := runtime.NumGoroutine(); n > goroutines+5 {
		t.Errorf("%d goroutines became %d", goroutines, n)
	}
	if n := openFiles(t); n > fds+5 {
		t.Errorf("%d open files became %d", fds, n)
	}
	if kb := residentKB(t); kb > rss+64<<10 {
		t.Errorf("%d KiB of memory became %d", rss, kb)
	}
}

// openFiles counts the descriptors of this process, where the system tells.
func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Log("the number of open files isn't checked here")
		return 0
	}
	return len(entries)
}

// residentKB is the memory of this process, where the system tells.
func residentKB(t *testing.T) int {
	runtime.GC()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Log("the memory isn't checked here")
		return 0
	}
	_, rest, _ := bytes.Cut(b, []byte("VmRSS:"))
	n := 0
	for _, c := range bytes.TrimLeft(rest, " \t") {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}
