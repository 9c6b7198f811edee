package proof

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/agentdb/agentdb"
)

// TestDiskFull fills a small file system.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	l := newLab(t)
	as := l.full(1)
	mount := filepath.Join(l.dir, "small")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	b := &agent{lab: l, path: filepath.Join(mount, "b.db"), proxy: newProxy(t, l.node)}
	b.opts = agentdb.Options{URL: b.proxy.url(database)}
	t.Cleanup(func() {
		closed(t, b.DB)
		if err := syscall.Unmount(mount, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	b.DB, _ = agentdb.Open(bg(t), b.path, &b.opts)
	as[0].exec(notes)
	as[0].write("1")
	settle(as[0], b)
	b.write("pending")
	as[0].exec("INSERT INTO notes VALUES (hex(zeroblob(1500000)))")
	as[0].sync()
	for range 2 { // a pull that doesn't fit
		if _, err := b.Sync(bg(t)); err == nil {
			t.Error("3 MB fitted into 2 MB")
		}
		want(t, "rows", b.bodies(), "1 pending")
	}
	var e *agentdb.Error
	if _, err := b.Exec(bg(t), "INSERT INTO notes VALUES (hex(zeroblob(1500000)))"); !errors.As(err, &e) || e.Primary() != 13 {
		t.Errorf("a write that doesn't fit: %v", err)
	}
	if err := syscall.Mount("tmpfs", mount, "tmpfs", syscall.MS_REMOUNT, "size=40m"); err != nil {
		t.Fatalf("make room: %v", err)
	}
	settle(as[0], b)
	want(t, "rows", get[int](t, as[0].DB, "SELECT count(*) FROM notes"), 3)
}
