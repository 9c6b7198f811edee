package history

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// load is what the crash tests do to a store: each database has one writer,
// which appends a few commits at a time, forks, deletes and retains. acked is
// told what the store promised.
type load struct {
	store *Pebble
	acked func(promise)
	stop  <-chan struct{}
}

// promise is one thing that must be true after a crash.
type promise struct {
	id      DBID
	seq     uint64 // the head is not below
	deleted bool
}

func (l *load) run(writer int, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, uint64(writer)))
	ctx := context.Background()
	id := DBID(fmt.Sprint("w", writer))
	if _, err := l.store.Head(ctx, id); errors.Is(err, ErrNotFound) {
		if err := l.store.Create(ctx, id); err != nil {
			return err
		}
	}
	l.acked(promise{id: id})
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return nil
		default:
		}
		head, err := l.burst(ctx, id, rng)
		if err != nil {
			return err
		}
		switch rng.IntN(20) {
		case 0:
			err = l.store.Retain(ctx, id, head.Seq-rng.Uint64N(3))
		case 1:
			fork := DBID(fmt.Sprint(id, "-fork-", head.Seq))
			if err = l.store.Fork(ctx, id, head.Seq, fork); err == nil {
				l.acked(promise{id: fork, seq: head.Seq})
			}
			if err == nil && rng.IntN(2) == 0 {
				if err = l.store.Delete(ctx, fork); err == nil {
					l.acked(promise{id: fork, deleted: true})
				}
			}
		}
		if err != nil {
			return err
		}
	}
}

// burst appends up to four commits that are in flight together.
func (l *load) burst(ctx context.Context, id DBID, rng *rand.Rand) (Head, error) {
	head, err := l.store.Head(ctx, id)
	if err != nil {
		return Head{}, err
	}
	var pending []*Pending
	for range 1 + rng.IntN(4) {
		p, err := l.store.Append(ctx, id, head, crashCommit(id, head.Seq+1, rng))
		if err != nil {
			return Head{}, err
		}
		head = p.Head()
		pending = append(pending, p)
	}
	for _, p := range pending {
		if err := p.Wait(ctx); err != nil {
			return Head{}, err
		}
		l.acked(promise{id: id, seq: p.Head().Seq})
	}
	return head, nil
}

// crashCommit writes page 1, another page, and a metadata value, all of which
// say which revision they are of.
func crashCommit(id DBID, seq uint64, rng *rand.Rand) *NewCommit {
	base := DBID(strings.SplitN(string(id), "-", 2)[0])
	text := fmt.Sprint(base, "@", seq)
	page := func(no uint32) Page {
		b := make([]byte, PageSize)
		for i := range 300 {
			b[PageSize-1-i] = byte(rng.Uint32())
		}
		copy(b, text)
		return Page{no, b}
	}
	return &NewCommit{
		Author: "crash", Change: []byte(text), DBSize: 8, KV: map[string][]byte{"last": []byte(text)},
		Pages: []Page{page(1), page(2 + uint32(seq)%7)},
	}
}

// verify checks everything that must hold after a crash.
func verify(p *Pebble, promises map[DBID]promise) error {
	ctx := context.Background()
	for id, pr := range promises {
		head, err := p.Head(ctx, id)
		gone := errors.Is(err, ErrNotFound)
		mayGo := strings.Contains(string(id), "-fork-") // its deletion may have been under way
		switch {
		case err != nil && !gone, gone && !pr.deleted && !mayGo:
			return err
		case !gone && pr.deleted:
			return fmt.Errorf("%s is back", id)
		case gone:
			continue
		}
		if head.Seq < pr.seq {
			return fmt.Errorf("%s: head %d, but %d was acknowledged", id, head.Seq, pr.seq)
		}
	}
	ids, err := p.List(ctx, "", 1<<20)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := verifyDB(ctx, p, id); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	return nil
}

func verifyDB(ctx context.Context, p *Pebble, id DBID) error {
	info, err := p.Stat(ctx, id)
	if err != nil {
		return err
	}
	base := strings.SplitN(string(id), "-", 2)[0]
	last := info.Horizon
	for c, err := range p.Commits(ctx, id, info.Horizon, Latest) { // verifies the chain up to the head
		if err != nil {
			return err
		}
		last = c.Seq
		img, err := p.Page(ctx, id, 1, c.Seq)
		if err != nil {
			return err
		}
		want := fmt.Sprint(base, "@", c.Seq)
		if string(c.Change) != want || !strings.HasPrefix(string(img), want+"\x00") {
			return fmt.Errorf("commit %d has change %q, page %.20q", c.Seq, c.Change, img)
		}
	}
	if last != info.Head.Seq {
		return fmt.Errorf("commits end at %d, head is %d", last, info.Head.Seq)
	}
	for pg, err := range p.Pages(ctx, id, Latest) {
		if err != nil {
			return err
		}
		seq := newestOf(pg.No, info.Head.Seq)
		if want := fmt.Sprint(base, "@", seq); seq > 0 && !strings.HasPrefix(string(pg.Data), want+"\x00") {
			return fmt.Errorf("page %d is %.20q, want %s", pg.No, pg.Data, want)
		}
	}
	if info.Head.Seq > info.ForkedAt || info.Parent == "" && info.Head.Seq > 0 {
		v, err := p.GetMeta(ctx, id, "last")
		if err != nil || string(v) != fmt.Sprint(base, "@", info.Head.Seq) {
			return fmt.Errorf("metadata says %q, %v; head is %d", v, err, info.Head.Seq)
		}
	}
	return nil
}

// newestOf returns the newest revision ≤ head in which crashCommit wrote a page.
func newestOf(no uint32, head uint64) uint64 {
	for seq := head; seq > 0; seq-- {
		if no == 1 || 2+uint32(seq)%7 == no {
			return seq
		}
	}
	return 0
}

// TestCrash cuts the power at random moments, with any part of the unsynced data
// kept, and checks that the store holds what it promised.
func TestCrash(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range rounds {
		crashRound(t, seed+uint64(i))
	}
}

func crashRound(t *testing.T, seed uint64) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	open := func(fs vfs.FS) *Pebble {
		p, err := Open(Options{Dir: "db", FS: fs, MemTableBytes: 128 << 10, Handles: 2})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var mu sync.Mutex
	promises := map[DBID]promise{}
	stop := make(chan struct{})
	l := &load{store: open(fs), stop: stop, acked: func(p promise) {
		mu.Lock()
		defer mu.Unlock()
		promises[p.id] = p
	}}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			if err := l.run(w, seed); err != nil {
				t.Error(err)
			}
		})
	}
	rng := rand.New(rand.NewPCG(seed, 99))
	for range 3 { // three crashes of the same run
		time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
		mu.Lock()
		now := make(map[DBID]promise, len(promises))
		for id, p := range promises {
			now[id] = p
		}
		mu.Unlock()
		percent := rng.IntN(101)
		crashed := open(fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
		if err := verify(crashed, now); err != nil {
			t.Errorf("seed %d, %d%% of unsynced data kept: %v", seed, percent, err)
		}
		if err := crashed.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	if err := l.store.Close(); err != nil {
		t.Error(err)
	}
}

const killDirEnv = "HISTORY_KILL_DIR"

// TestKill kills a process that writes to a real directory.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDirEnv); dir != "" {
		killChild(t, dir)
		return
	}
	rounds := 4
	if testing.Short() {
		rounds = 1
	}
	dir := t.TempDir()
	promises := map[DBID]promise{}
	for range rounds {
		killRound(t, dir, promises)
		p, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(p, promises); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killRound starts the child, notes what it was promised, and kills it.
func killRound(t *testing.T, dir string, promises map[DBID]promise) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killDirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var kill *time.Timer
	lines := 0
	for sc := bufio.NewScanner(out); sc.Scan(); {
		var p promise
		if n, _ := fmt.Sscanf(sc.Text(), "acked %s %d %t", &p.id, &p.seq, &p.deleted); n != 3 {
			continue
		}
		promises[p.id] = p
		if lines++; kill == nil {
			kill = time.AfterFunc(time.Duration(50+rand.IntN(200))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait()
	if lines < 10 {
		t.Fatalf("the child did only %d writes", lines)
	}
	t.Logf("killed after %d acknowledged writes", lines)
}

func killChild(t *testing.T, dir string) {
	p, err := Open(Options{Dir: dir, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	l := &load{store: p, acked: func(p promise) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("acked %s %d %t\n", p.id, p.seq, p.deleted)
	}}
	for w := range 8 {
		go func() { t.Error(l.run(w, uint64(time.Now().UnixNano()))) }()
	}
	select {} // until killed
}
