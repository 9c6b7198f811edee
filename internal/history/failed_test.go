package history

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// burning is a file system whose log can't be synced once it is broken.
type burning struct {
	vfs.FS
	mem    *vfs.MemFS
	broken atomic.Bool
}

var errBurning = errors.New("the disk is on fire")

func newBurning() *burning {
	b := &burning{mem: vfs.NewCrashableMem()}
	b.FS = errorfs.Wrap(b.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		syncs := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		if b.broken.Load() && syncs && strings.HasSuffix(op.Path, ".log") {
			return errBurning
		}
		return nil
	}))
	return b
}

// TestFailedShowsNothing: what a failed engine has in memory may not be on the
// disk, so it is shown to nobody. It was, as if it were durable: a replica's state
// said that its changes had been taken, and a head that was loaded again was that
// of the lost commit.
func TestFailedShowsNothing(t *testing.T) {
	ctx := t.Context()
	disk := newBurning()
	p := openTest(t, Options{Dir: "db", FS: disk, Handles: 1})
	for _, id := range []DBID{"a", "b", "c"} {
		ok(t, p.Create(ctx, id))
	}
	head := add(t, p, "a", "one", 1, 1)
	ok(t, p.PutMeta(ctx, "a", "replica", []byte("sent 1")))
	disk.broken.Store(true)
	pending := must[*Pending](t)(p.Append(ctx, "a", head, &NewCommit{DBSize: 1, KV: map[string][]byte{"replica": []byte("sent 2")}}))
	want(t, pending.Wait(ctx), ErrFailed)
	<-p.Failed()
	if err := p.Err(); !errors.Is(err, ErrFailed) || !errors.Is(err, errBurning) {
		t.Errorf("the reason is %v", err)
	}
	for range 2 {
		_, err := p.GetMeta(ctx, "a", "replica")
		want(t, err, ErrFailed)
		for _, err := range p.Metas(ctx, "a", "", "") {
			want(t, err, ErrFailed)
		}
		_, err = p.Head(ctx, "a")
		want(t, err, ErrFailed)
		want(t, p.Check(ctx), ErrFailed)
		_, err = p.List(ctx, "", 10)
		want(t, err, ErrFailed)
		want(t, p.Fork(ctx, "a", Latest, "fork"), ErrFailed)
		want(t, p.Checkpoint("copy"), ErrFailed)
		for _, id := range []DBID{"b", "c"} { // so that a is forgotten
			_, err := p.Stat(ctx, id)
			want(t, err, ErrFailed)
		}
	}
	want(t, p.Close(), ErrFailed)
	again := openTest(t, Options{Dir: "db", FS: disk.mem.CrashClone(vfs.CrashCloneCfg{})})
	if got := must[Head](t)(again.Head(ctx, "a")); !got.Is(head) {
		t.Errorf("head is %d, want %d", got.Seq, head.Seq)
	}
	if got := must[[]byte](t)(again.GetMeta(ctx, "a", "replica")); string(got) != "sent 1" {
		t.Errorf("it says %s", got)
	}
}

// TestCheck finds out that the disk has failed before anybody wants to write.
func TestCheck(t *testing.T) {
	disk := newBurning()
	p := openTest(t, Options{Dir: "db", FS: disk})
	ok(t, p.Check(t.Context()))
	disk.broken.Store(true)
	waitFor(t, func() bool { return p.Check(t.Context()) != nil })
	want(t, p.Check(t.Context()), ErrFailed)
	want(t, p.Err(), ErrFailed)
}

// TestFailedReadsEnd: reads that have begun end with what is durable, or fail.
func TestFailedReadsEnd(t *testing.T) {
	ctx := t.Context()
	disk := newBurning()
	p := openTest(t, Options{Dir: "db", FS: disk})
	ok(t, p.Create(ctx, "a"))
	head := add(t, p, "a", "x", 1, 1)
	for i := range 3 {
		head = add(t, p, "a", fmt.Sprint(i), 1, 1)
	}
	n := 0
	for c, err := range p.Commits(ctx, "a", 0, Latest) {
		if n++; n == 1 {
			disk.broken.Store(true)
			pending := must[*Pending](t)(p.Append(ctx, "a", head, &NewCommit{DBSize: 1}))
			want(t, pending.Wait(ctx), ErrFailed)
		}
		if err != nil {
			want(t, err, ErrFailed)
		} else if c.Seq > head.Seq {
			t.Errorf("commit %d was lost, and is shown", c.Seq)
		}
	}
}
