package history

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func openTest(t *testing.T, o Options) *Pebble {
	t.Helper()
	p, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got error %v, want %v", err, kind)
	}
}

func textPage(no uint32, text string) Page {
	return Page{no, append([]byte(text), make([]byte, PageSize-len(text))...)}
}

// add appends one commit and waits for it.
func add(t *testing.T, p *Pebble, id DBID, text string, size uint32, pages ...uint32) Head {
	t.Helper()
	c := &NewCommit{Change: []byte(text), DBSize: size}
	for _, no := range pages {
		c.Pages = append(c.Pages, textPage(no, text))
	}
	pending := must[*Pending](t)(p.Append(t.Context(), id, must[Head](t)(p.Head(t.Context(), id)), c))
	ok(t, pending.Wait(t.Context()))
	return pending.Head()
}

// TestAbort makes the committer refuse a group in the middle of a queue: all
// that was accepted after it falls, the other databases stand.
func TestAbort(t *testing.T) {
	ctx := t.Context()
	p := openTest(t, Options{})
	ok(t, p.Create(ctx, "a"))
	ok(t, p.Create(ctx, "b"))
	base := add(t, p, "a", "kept", 1, 1)
	hold, refuse := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	p.commit.mu.Lock() // the committer reads admit only after it took work
	p.commit.admit = func() error {
		switch calls.Add(1) {
		case 1:
			<-hold
		case 2:
			<-refuse
			return errors.New("refused")
		}
		return nil
	}
	p.commit.mu.Unlock()
	head := base
	var pending []*Pending
	for i := range 4 {
		next := must[*Pending](t)(p.Append(ctx, "a", head, &NewCommit{DBSize: 1, Pages: []Page{textPage(1, fmt.Sprint(i))}}))
		pending = append(pending, next)
		head = next.Head()
		if i == 0 {
			waitFor(t, func() bool { return calls.Load() == 1 })
		}
		if i == 1 {
			close(hold)
			waitFor(t, func() bool { return calls.Load() == 2 })
		}
	}
	waiter := make(chan error, 1)
	go func() { waiter <- p.WaitDurable(ctx, "a", head.Seq) }()
	other := must[*Pending](t)(p.Append(ctx, "b", must[Head](t)(p.Head(ctx, "b")), &NewCommit{}))
	time.Sleep(10 * time.Millisecond) // let the waiter wait
	close(refuse)
	ok(t, pending[0].Wait(ctx))
	for _, lost := range pending[1:] {
		want(t, lost.Wait(ctx), ErrAborted)
	}
	want(t, <-waiter, ErrAborted)
	ok(t, other.Wait(ctx))
	if got := must[Head](t)(p.Head(ctx, "a")); !got.Is(pending[0].Head()) {
		t.Fatalf("head is %d, want %d", got.Seq, pending[0].Head().Seq)
	}
	_, err := p.Append(ctx, "a", head, &NewCommit{})
	want(t, err, ErrConflict)
	add(t, p, "a", "after", 1, 1)
	ok(t, verifyChain(ctx, p, "a", 0))
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for range 5000 {
		if cond() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("timed out")
}

func verifyChain(ctx context.Context, p *Pebble, id DBID, after uint64) error {
	for _, err := range p.Commits(ctx, id, after, Latest) {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestEngineFailure breaks the disk under the log: nothing hangs, everything in
// flight fails, and so does all that follows, and after reopening all that was
// acknowledged is there.
func TestEngineFailure(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileWrite} {
		mem := vfs.NewCrashableMem()
		var broken atomic.Bool
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			bad := op.Kind == kind || kind == errorfs.OpFileSync && op.Kind == errorfs.OpFileSyncData
			if broken.Load() && bad && strings.HasSuffix(op.Path, ".log") {
				return errors.New("the disk is on fire")
			}
			return nil
		}))
		p := openTest(t, Options{Dir: "db", FS: fs})
		ok(t, p.Create(t.Context(), "a"))
		head := add(t, p, "a", "one", 1, 1)
		broken.Store(true)
		pending, err := p.Append(t.Context(), "a", head, &NewCommit{})
		ok(t, err)
		want(t, pending.Wait(t.Context()), ErrFailed)
		_, err = p.Append(t.Context(), "a", head, &NewCommit{})
		want(t, err, ErrFailed)
		want(t, p.Create(t.Context(), "b"), ErrFailed)
		want(t, p.Delete(t.Context(), "a"), ErrFailed)
		want(t, p.PutMeta(t.Context(), "a", "k", nil), ErrFailed)
		_, err = p.Page(t.Context(), "a", 1, head.Seq)
		want(t, err, ErrFailed)
		if !p.Metrics().Failed {
			t.Error("metrics don't say failed")
		}
		want(t, p.Close(), ErrFailed)
		broken.Store(false)
		crashed := openTest(t, Options{Dir: "db", FS: mem.CrashClone(vfs.CrashCloneCfg{})})
		ok(t, verifyChain(t.Context(), crashed, "a", 0))
		if got := must[Head](t)(crashed.Head(t.Context(), "a")); got.Seq < head.Seq {
			t.Fatalf("head is %d, want %d", got.Seq, head.Seq)
		}
	}
}

// smallDisk says how much room is left.
type smallDisk struct {
	vfs.FS
	free atomic.Uint64
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free.Load()}, nil
}

func TestDiskFull(t *testing.T) {
	ctx := t.Context()
	disk := &smallDisk{FS: vfs.NewMem()}
	disk.free.Store(1 << 30)
	p := openTest(t, Options{Dir: "db", FS: disk, ReserveBytes: 1 << 20})
	ok(t, p.Create(ctx, "a"))
	ok(t, p.Create(ctx, "b"))
	head := add(t, p, "a", "x", 1, 1)
	disk.free.Store(1000)
	p.checkSpace()
	_, err := p.Append(ctx, "a", head, &NewCommit{})
	want(t, err, ErrFull)
	want(t, p.PutMeta(ctx, "a", "k", nil), ErrFull)
	want(t, p.Create(ctx, "c"), ErrFull)
	must[[]byte](t)(p.Page(ctx, "a", 1, Latest))
	ok(t, p.Retain(ctx, "a", Latest)) // what frees space goes through
	ok(t, p.Delete(ctx, "b"))
	disk.free.Store(1 << 30)
	p.checkSpace()
	add(t, p, "a", "y", 1, 1)
}

// overwrite changes a stored record behind the store's back.
func overwrite(t *testing.T, p *Pebble, key []byte, change func([]byte) []byte) {
	t.Helper()
	rec := must[[]byte](t)(p.mustGet(key))
	ok(t, p.db.Set(key, change(rec), pebble.Sync))
}

func TestCorruption(t *testing.T) {
	ctx := t.Context()
	p := openTest(t, Options{})
	ok(t, p.Create(ctx, "a"))
	for i := range 5 {
		add(t, p, "a", strings.Repeat(fmt.Sprint(i), 500), 3, 1, 2)
	}
	h := must[*handle](t)(p.acquire(ctx, "a"))
	defer p.table.release(h)
	flip := func(rec []byte) []byte { rec[len(rec)/2] ^= 1; return rec }

	overwrite(t, p, pageKey(h.id, 2, 3), flip)
	_, err := p.Page(ctx, "a", 2, 4)
	ok(t, err)
	_, err = p.Page(ctx, "a", 2, 3)
	want(t, err, ErrCorrupt)
	var last error
	for _, err := range p.Pages(ctx, "a", 3) {
		last = err
	}
	want(t, last, ErrCorrupt)

	good := must[[]byte](t)(p.mustGet(commitKey(h.id, 3)))
	restore := func([]byte) []byte { return good }
	overwrite(t, p, commitKey(h.id, 3), flip)
	_, err = p.Commit(ctx, "a", 3)
	want(t, err, ErrCorrupt)
	want(t, verifyChain(ctx, p, "a", 0), ErrCorrupt)
	ok(t, verifyChain(ctx, p, "a", 4))

	// A commit that is valid in itself, but another one.
	overwrite(t, p, commitKey(h.id, 3), func([]byte) []byte {
		c, sums, err := decodeCommit(good)
		ok(t, err)
		c.Author = "somebody else"
		rec, _ := appendCommit(nil, c, sums)
		return rec
	})
	want(t, verifyChain(ctx, p, "a", 0), ErrCorrupt)
	want(t, verifyChain(ctx, p, "a", 3), ErrCorrupt)
	ok(t, p.db.Delete(commitKey(h.id, 3), pebble.Sync))
	want(t, verifyChain(ctx, p, "a", 0), ErrCorrupt)
	ok(t, p.db.Set(commitKey(h.id, 3), nil, pebble.Sync))
	overwrite(t, p, commitKey(h.id, 3), restore)
	ok(t, verifyChain(ctx, p, "a", 0))

	// The last commit must be the head.
	overwrite(t, p, commitKey(h.id, 5), func(rec []byte) []byte {
		c, sums, err := decodeCommit(rec)
		ok(t, err)
		c.Author = "somebody else"
		rec, _ = appendCommit(nil, c, sums)
		return rec
	})
	want(t, verifyChain(ctx, p, "a", 0), ErrCorrupt)
}
