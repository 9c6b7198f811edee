package history

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
)

// benchPage is like a page of rows: part text, part zeros.
func benchPage(rng *rand.Rand) []byte {
	b := make([]byte, PageSize)
	for i := range 1200 {
		b[len(b)-1-i] = "etaoin shrdlu{}\":,0123456789abcd"[rng.IntN(32)]
	}
	return b
}

// BenchmarkAppend measures durable commits: writers on many databases, each
// waiting for its commit before the next one.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { benchAppend(b, writers, 1000) })
	}
}

func benchAppend(b *testing.B, writers, dbs int) {
	ctx := context.Background()
	p, err := Open(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	for i := range dbs {
		if err := p.Create(ctx, DBID(fmt.Sprint("db", i))); err != nil {
			b.Fatal(err)
		}
	}
	before := p.Metrics()
	var left atomic.Int64
	left.Store(int64(b.N))
	errs := make(chan error, writers)
	b.ResetTimer()
	start := time.Now()
	for w := range writers {
		go func() { errs <- benchWriter(ctx, p, w, writers, dbs, &left) }()
	}
	for range writers {
		if err := <-errs; err != nil {
			b.Error(err)
		}
	}
	b.StopTimer()
	m := p.Metrics()
	n := float64(b.N)
	b.ReportMetric(n/time.Since(start).Seconds(), "commits/s")
	b.ReportMetric(float64(m.Engine.WALBytes-before.Engine.WALBytes)/n, "walB/op")
	b.ReportMetric(float64(m.Engine.FlushedBytes+m.Engine.CompactedBytes)/n, "tableB/op")
}

// benchWriter owns the databases whose number is w modulo writers.
func benchWriter(ctx context.Context, p *Pebble, w, writers, dbs int, left *atomic.Int64) error {
	rng := rand.New(rand.NewPCG(uint64(w), 1))
	c := &NewCommit{
		Author: "agent", Change: make([]byte, 300), DBSize: 50,
		Pages: []Page{{1, benchPage(rng)}, {2, benchPage(rng)}},
	}
	for i := range c.Change {
		c.Change[i] = byte('a' + rng.IntN(26))
	}
	heads := map[DBID]Head{}
	for left.Add(-1) >= 0 {
		id := DBID(fmt.Sprint("db", (w+writers*rng.IntN(max(1, dbs/writers)))%dbs))
		head, ok := heads[id]
		if !ok {
			var err error
			if head, err = p.Head(ctx, id); err != nil {
				return err
			}
		}
		c.Pages[1].No = 2 + uint32(rng.IntN(49))
		rng.Uint64()
		c.Pages[1].Data[100] = byte(rng.Uint32())
		pending, err := p.Append(ctx, id, head, c)
		if err != nil {
			return err
		}
		if err := pending.Wait(ctx); err != nil {
			return err
		}
		heads[id] = pending.Head()
	}
	return nil
}

// openWithPages makes a database of n pages, one in ten written again by later
// commits, and flushes and compacts it like an old one.
func openWithPages(b *testing.B, n uint32) *Pebble {
	b.Helper()
	ctx := context.Background()
	p, err := Open(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	if err := p.Create(ctx, "a"); err != nil {
		b.Fatal(err)
	}
	write := func(count uint32, no func(i uint32) uint32) {
		c := &NewCommit{DBSize: n}
		for i := range count {
			c.Pages = append(c.Pages, Page{no(i), benchPage(rng)})
		}
		head, err := p.Head(ctx, "a")
		if err != nil {
			b.Fatal(err)
		}
		pending, err := p.Append(ctx, "a", head, c)
		if err == nil {
			err = pending.Wait(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	write(n, func(i uint32) uint32 { return i + 1 })
	for range n / 10 {
		write(1, func(uint32) uint32 { return 1 + uint32(rng.IntN(int(n))) })
	}
	if err := p.db.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := p.db.Compact(ctx, []byte{0}, []byte{255}, false); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	return p
}

const benchPages = 50 << 20 / PageSize

// BenchmarkPages streams a database of 50 MB.
func BenchmarkPages(b *testing.B) {
	p := openWithPages(b, benchPages)
	defer p.Close()
	for _, at := range []uint64{Latest, 2} {
		b.Run(fmt.Sprint("at=", at), func(b *testing.B) {
			b.SetBytes(50 << 20)
			for range b.N {
				for _, err := range p.Pages(context.Background(), "a", at) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkPage reads one page at a random revision.
func BenchmarkPage(b *testing.B) {
	p := openWithPages(b, benchPages)
	defer p.Close()
	rng := rand.New(rand.NewPCG(3, 4))
	for b.Loop() {
		if _, err := p.Page(context.Background(), "a", 1+uint32(rng.IntN(benchPages)), 1+rng.Uint64N(1000)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChangedPages lists what 100 commits changed.
func BenchmarkChangedPages(b *testing.B) {
	p := openWithPages(b, 5000)
	defer p.Close()
	for b.Loop() {
		if _, err := p.ChangedPages(context.Background(), "a", 100, 200); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkColdHead reads heads that are not in memory.
func BenchmarkColdHead(b *testing.B) {
	p, err := Open(Options{Dir: b.TempDir(), Handles: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	ctx := context.Background()
	for i := range 2000 {
		if err := p.Create(ctx, DBID(fmt.Sprint("db", i))); err != nil {
			b.Fatal(err)
		}
	}
	i := 0
	for b.Loop() {
		if _, err := p.Head(ctx, DBID(fmt.Sprint("db", i*7%2000))); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkForkOfThePast forks a database of large commits at a time.
func BenchmarkForkOfThePast(b *testing.B) {
	p, err := Open(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	ctx := context.Background()
	if err := p.Create(ctx, "a"); err != nil {
		b.Fatal(err)
	}
	rows := make([]byte, 10<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(rows)
	head, err := p.Head(ctx, "a")
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	for i := range 12 {
		pending, err := p.Append(ctx, "a", head, &NewCommit{Time: begin.Add(time.Duration(i) * time.Second), Change: rows})
		if err == nil {
			head, err = pending.Head(), pending.Wait(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	i := 0
	for b.Loop() {
		at, err := p.AtTime(ctx, "a", begin.Add(7*time.Second))
		if err == nil {
			err = p.Fork(ctx, "a", at.Seq, DBID(fmt.Sprint("f", i)))
		}
		if err != nil {
			b.Fatal(err)
		}
		i++
	}
}
