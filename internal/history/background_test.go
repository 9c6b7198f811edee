package history

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestFlushFails: tables can't be written for a while. Writes wait, and go on by
// themselves; nothing spins, and the log isn't flooded.
func TestFlushFails(t *testing.T) {
	ctx := t.Context()
	var tries atomic.Int64
	var broken atomic.Bool
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			tries.Add(1)
			return errors.New("no table today")
		}
		return nil
	}))
	var log bytes.Buffer
	p, err := Open(Options{Dir: "db", FS: fs, MemTableBytes: 512 << 10, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	ok(t, err)
	ok(t, p.Create(ctx, "a"))
	head := must[Head](t)(p.Head(ctx, "a"))
	broken.Store(true)
	time.AfterFunc(1500*time.Millisecond, func() { broken.Store(false) })
	for start := time.Now(); time.Since(start) < 2*time.Second; {
		pending := must[*Pending](t)(p.Append(ctx, "a", head, &NewCommit{Change: make([]byte, 64<<10)}))
		ok(t, pending.Wait(ctx))
		head = pending.Head()
	}
	ok(t, p.Close())
	if n := tries.Load(); n == 0 || n > 5 {
		t.Errorf("%d tries", n)
	}
	if n := strings.Count(log.String(), "background error"); n != 1 || strings.Contains(log.String(), "stack trace") {
		t.Errorf("%d errors in the log:\n%.2000s", n, &log)
	}
}

// TestFlushesFailForLong: then the store has failed, unless the disk is full.
func TestFlushesFailForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed []error
		tr := &troubles{failed: func(err error) { failed = append(failed, err) }}
		try := func(err error) {
			tr.flushed(err)
			time.Sleep(flushPatience * 2 / 3)
		}
		broken := errors.New("broken")
		for _, err := range []error{broken, broken, nil, broken, broken, syscall.ENOSPC, syscall.ENOSPC, syscall.ENOSPC, broken, broken} {
			try(err)
		}
		if len(failed) > 0 {
			t.Fatalf("too early: %v", failed)
		}
		if try(broken); len(failed) != 1 || !errors.Is(failed[0], broken) {
			t.Errorf("got %v", failed)
		}
	})
}
