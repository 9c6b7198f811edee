package history

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// count returns how many keys a database has under a prefix.
func count(t *testing.T, p *Pebble, prefix byte, id uint64) int {
	t.Helper()
	it, err := p.scan(idKey(prefix, id), idKey(prefix, id+1))
	ok(t, err)
	n := 0
	for valid := it.First(); valid; valid = it.Next() {
		n++
	}
	ok(t, closeIter(it, nil))
	return n
}

func internalID(t *testing.T, p *Pebble, id DBID) uint64 {
	t.Helper()
	h, err := p.acquire(t.Context(), id)
	ok(t, err)
	defer p.table.release(h)
	return h.id
}

// left returns how many keys of any kind a deleted database still has.
func left(t *testing.T, p *Pebble, id uint64) int {
	t.Helper()
	n := 0
	for _, prefix := range []byte{prefixDesc, prefixHead, prefixCommit, prefixPage, prefixMeta, prefixChild, prefixDeleted} {
		n += count(t, p, prefix, id)
	}
	return n
}

func TestDeleteReclaims(t *testing.T) {
	ctx := t.Context()
	p := openTest(t, Options{})
	var ids []uint64
	for i := range 5 {
		id := DBID(fmt.Sprint("db", i))
		ok(t, p.Create(ctx, id))
		add(t, p, id, "x", 3, 1, 2, 3)
		ok(t, p.PutMeta(ctx, id, "k", []byte("v")))
		ids = append(ids, internalID(t, p, id))
	}
	for i := range 5 {
		if i != 2 {
			ok(t, p.Delete(ctx, DBID(fmt.Sprint("db", i))))
		}
	}
	for i, id := range ids {
		if i != 2 {
			waitFor(t, func() bool { return left(t, p, id) == 0 })
		}
	}
	if n := left(t, p, ids[2]); n != 2+1+3+1 {
		t.Fatalf("the neighbour has %d keys", n)
	}
	must[[]byte](t)(p.Page(ctx, "db2", 3, Latest))
}

// TestDeletedParents: data goes when the last fork goes, even if that happened
// before a crash.
func TestDeletedParents(t *testing.T) {
	ctx := t.Context()
	fs := vfs.NewCrashableMem()
	p := openTest(t, Options{Dir: "db", FS: fs})
	ok(t, p.Create(ctx, "a"))
	add(t, p, "a", "a", 2, 1, 2)
	ok(t, p.Fork(ctx, "a", Latest, "b"))
	add(t, p, "b", "b", 2, 1)
	ok(t, p.Fork(ctx, "b", Latest, "c"))
	a, b, c := internalID(t, p, "a"), internalID(t, p, "b"), internalID(t, p, "c")
	ok(t, p.Delete(ctx, "a"))
	ok(t, p.Delete(ctx, "b"))
	if left(t, p, a) == 0 || left(t, p, b) == 0 {
		t.Fatal("a fork lost its parents")
	}
	ok(t, p.Delete(ctx, "c"))
	for _, id := range []uint64{a, b, c} {
		waitFor(t, func() bool { return left(t, p, id) == 0 })
	}
	// The power went before anything but the names was reclaimed, or not.
	crashed := openTest(t, Options{Dir: "db", FS: fs.CrashClone(vfs.CrashCloneCfg{})})
	for _, id := range []uint64{a, b, c} {
		waitFor(t, func() bool { return left(t, crashed, id) == 0 })
	}
}

func TestRetainReclaims(t *testing.T) {
	ctx := t.Context()
	p := openTest(t, Options{ImageBytes: -1}) // patches would keep what they patch
	ok(t, p.Create(ctx, "a"))
	for i := range 20 {
		add(t, p, "a", fmt.Sprint(i), 4, uint32(i%4)+1)
	}
	id := internalID(t, p, "a")
	ok(t, p.Fork(ctx, "a", 6, "f"))
	ok(t, p.Retain(ctx, "a", 18))
	// Four pages as of 18, four as of 6, two newer ones; commits 18, 19, 20.
	if pages, commits := count(t, p, prefixPage, id), count(t, p, prefixCommit, id); pages != 10 || commits != 3 {
		t.Fatalf("%d pages, %d commits", pages, commits)
	}
	ok(t, p.Delete(ctx, "f"))
	waitFor(t, func() bool { return count(t, p, prefixChild, id) == 0 })
	ok(t, p.Retain(ctx, "a", 18))
	if pages := count(t, p, prefixPage, id); pages != 6 {
		t.Fatalf("%d pages", pages)
	}
}

func TestRetainFreesDeletedParent(t *testing.T) {
	ctx := t.Context()
	p := openTest(t, Options{})
	ok(t, p.Create(ctx, "a"))
	add(t, p, "a", "a", 3, 1, 2, 3)
	a := internalID(t, p, "a")
	ok(t, p.Fork(ctx, "a", Latest, "b"))
	add(t, p, "b", "b", 3, 1)
	ok(t, p.Fork(ctx, "b", Latest, "c")) // its handle keeps the long chain
	add(t, p, "c", "c", 3, 2)
	ok(t, p.Delete(ctx, "a"))
	ok(t, p.Retain(ctx, "b", 1))
	waitFor(t, func() bool { return left(t, p, a) == 0 })
	for _, c := range []struct {
		id   DBID
		no   uint32
		at   uint64
		text string
	}{{"b", 1, 1, "a"}, {"b", 1, 2, "b"}, {"b", 2, 2, "a"}, {"c", 1, 3, "b"}, {"c", 2, 3, "c"}, {"c", 3, 3, "a"}, {"c", 2, 1, "a"}} {
		img := must[[]byte](t)(p.Page(ctx, c.id, c.no, c.at))
		if !strings.HasPrefix(string(img), c.text+"\x00") {
			t.Errorf("page %d of %s at %d is %.5q, want %s", c.no, c.id, c.at, img, c.text)
		}
	}
}

// TestReadersDuringRetention reads at random revisions while retention, forks and
// deletion are busy: what is returned is right, or it is an error of the
// documented kind.
func TestReadersDuringRetention(t *testing.T) {
	p := openTest(t, Options{MemTableBytes: 128 << 10})
	ctx := t.Context()
	ok(t, p.Create(ctx, "w0"))
	stop := make(chan struct{})
	l := &load{store: p, stop: stop, acked: func(promise) {}}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.run(0, rand.Uint64()); err != nil {
			t.Error(err)
		}
	})
	var readers sync.WaitGroup
	for r := range 3 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), rand.Uint64()))
			for good := 0; good < 200; {
				n, err := readSome(ctx, p, rng)
				switch {
				case err == nil && n > 0:
					good++
				case err != nil && !errors.Is(err, ErrHorizon) && !errors.Is(err, ErrNotFound):
					t.Error(err)
					return
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	wg.Wait()
}

// readSome checks a few pages of a random database at a random revision.
func readSome(ctx context.Context, p *Pebble, rng *rand.Rand) (n int, err error) {
	ids, err := p.List(ctx, "", 100)
	if err != nil {
		return 0, err
	}
	id := ids[rng.IntN(len(ids))]
	info, err := p.Stat(ctx, id)
	if err != nil || info.Durable.Seq == 0 {
		return 0, err
	}
	at := info.Durable.Seq - min(rng.Uint64N(6), info.Durable.Seq-1)
	check := func(no uint32, data []byte) error {
		if seq := newestOf(no, at); seq > 0 && !strings.HasPrefix(string(data), fmt.Sprint("w0@", seq, "\x00")) {
			return fmt.Errorf("page %d of %s at %d is %.20q", no, id, at, data)
		}
		n++
		return nil
	}
	no := 1 + uint32(rng.IntN(8))
	img, err := p.Page(ctx, id, no, at)
	if err == nil {
		err = check(no, img)
	}
	if err != nil {
		return n, err
	}
	for pg, err := range p.Pages(ctx, id, at) {
		if err == nil {
			err = check(pg.No, pg.Data)
		}
		if err != nil {
			return n, err
		}
	}
	return n, verifyChain(ctx, p, id, at)
}

func TestHandlesAreBounded(t *testing.T) {
	ctx := t.Context()
	p := openTest(t, Options{Handles: 10})
	for i := range 100 {
		ok(t, p.Create(ctx, DBID(fmt.Sprint("db", i))))
		add(t, p, DBID(fmt.Sprint("db", i)), "x", 1, 1)
	}
	waitFor(t, func() bool { return p.Metrics().Handles <= 10 })
	for i := range 100 {
		if head := must[Head](t)(p.Head(ctx, DBID(fmt.Sprint("db", i)))); head.Seq != 1 {
			t.Fatalf("head of %d is %d", i, head.Seq)
		}
	}
	if n := p.Metrics().Handles; n != 10 {
		t.Fatalf("%d handles", n)
	}
	_, err := p.Head(ctx, "nobody")
	want(t, err, ErrNotFound)
	if n := p.Metrics().Handles; n != 10 {
		t.Fatalf("%d handles", n)
	}
}

func TestCheckpoint(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	p := openTest(t, Options{Dir: dir + "/db"})
	ok(t, p.Create(ctx, "a"))
	head := add(t, p, "a", "x", 1, 1)
	ok(t, p.Checkpoint(dir+"/copy"))
	add(t, p, "a", "y", 1, 1)
	c := openTest(t, Options{Dir: dir + "/copy"})
	if got := must[Head](t)(c.Head(ctx, "a")); !got.Is(head) {
		t.Fatalf("head is %d, want %d", got.Seq, head.Seq)
	}
	ok(t, verifyChain(ctx, c, "a", 0))
	ok(t, p.db.Flush())
	u := must[Usage](t)(p.Usage(ctx, "a"))
	if u.Logical != PageSize || u.Stored == 0 {
		t.Fatalf("%+v", u)
	}
}

// TestStructureRaces creates, forks, deletes, retains, writes and reads a few
// names from many goroutines. Any documented refusal is fine; damage is not.
func TestStructureRaces(t *testing.T) {
	p := openTest(t, Options{Handles: 1})
	seed := rand.Uint64()
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for range 600 {
				err := raceStep(t.Context(), p, rng)
				refused := false
				for _, kind := range []error{ErrNotFound, ErrExists, ErrConflict, ErrHorizon, ErrNoRevision} {
					refused = refused || errors.Is(err, kind)
				}
				if err != nil && !refused {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func raceStep(ctx context.Context, p *Pebble, rng *rand.Rand) error {
	name := func() DBID { return DBID(fmt.Sprint("s", rng.IntN(6))) }
	id := name()
	head, err := p.DurableHead(ctx, id)
	at := head.Seq - min(head.Seq, rng.Uint64N(4))
	switch n := rng.IntN(20); {
	case n < 2:
		return p.Create(ctx, id)
	case n < 4:
		return p.Delete(ctx, id)
	case err != nil:
		return err
	case n < 7:
		return p.Fork(ctx, id, at, name())
	case n < 10:
		return p.Retain(ctx, id, at)
	case n < 15:
		pending, err := p.Append(ctx, id, head, raceCommit(rng))
		if err == nil {
			err = pending.Wait(ctx)
		}
		return err
	}
	return raceRead(ctx, p, id, at)
}

// raceCommit writes one of three pages, and says so in the change.
func raceCommit(rng *rand.Rand) *NewCommit {
	no, text := 1+uint32(rng.IntN(3)), fmt.Sprint(rng.Uint64())
	return &NewCommit{Change: []byte(text), DBSize: 3, Pages: []Page{textPage(no, text)}}
}

// raceRead checks the page that each commit says it wrote.
func raceRead(ctx context.Context, p *Pebble, id DBID, after uint64) error {
	var wrote []*Commit
	for c, err := range p.Commits(ctx, id, after, Latest) {
		if err != nil {
			return err
		}
		wrote = append(wrote, c)
	}
	for _, c := range wrote {
		// The name may stand for another database by now.
		before, err := p.Stat(ctx, id)
		if err != nil {
			return err
		}
		img, err := p.Page(ctx, id, c.Pages[0], c.Seq)
		if err != nil {
			return err
		}
		after, err := p.Stat(ctx, id)
		if err != nil {
			return err
		}
		at, err := p.At(ctx, id, c.Seq)
		if err != nil {
			return err
		}
		same := before.Created.Equal(after.Created) && at.Hash == c.Hash
		if same && !strings.HasPrefix(string(img), string(c.Change)+"\x00") {
			return fmt.Errorf("page %d of %s at %d is %.20q, want %s", c.Pages[0], id, c.Seq, img, c.Change)
		}
	}
	for _, err := range p.Pages(ctx, id, Latest) {
		if err != nil {
			return err
		}
	}
	return nil
}
