package sqlite

import (
	"os"
	"runtime"
	"testing"
	"time"

	"modernc.org/libc"
)

// TestCollectsMeanwhile: while a system call of SQLite's waits in the kernel, as
// an fsync does for long, a garbage collection need not wait for it.
func TestCollectsMeanwhile(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	fd, entered, left := int32(r.Fd()), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		tls := libc.NewTLS()
		defer tls.Close()
		buf := malloc(tls, 1)
		defer free(tls, buf)
		close(entered)
		libc.Xread(tls, fd, buf, 1)
	}()
	<-entered
	time.Sleep(10 * time.Millisecond)
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		runtime.GC()
	}()
	select {
	case <-collected:
	case <-time.After(20 * time.Second):
		t.Error("a collection waits for a system call")
	}
	_ = w.Close() // ends the call
	<-left
	<-collected
}
