// Package historytest has the conformance suite for implementations of
// history.Store, a simple model to compare them with, and a randomized
// comparison. Only tests import it.
package historytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/history"
)

// Test runs the conformance suite. open returns an empty store; the suite closes
// it.
func Test(t *testing.T, open func(t *testing.T) history.Store) {
	for _, c := range []struct {
		name string
		test func(k *kit)
	}{
		{"names", testNames},
		{"append", testAppend},
		{"conflict", testConflict},
		{"invalid", testInvalid},
		{"commits", testCommits},
		{"pages", testPages},
		{"changed pages", testChangedPages},
		{"metadata", testMeta},
		{"time", testTime},
		{"fork", testFork},
		{"fork of fork", testForkOfFork},
		{"fork outlives parent", testForkOutlivesParent},
		{"retain", testRetain},
		{"retain keeps forks", testRetainKeepsForks},
		{"name reuse", testNameReuse},
		{"concurrent writers", testConcurrent},
		{"closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &kit{T: t, Store: open(t), ctx: t.Context()}
			defer func() {
				if err := k.Close(); err != nil {
					t.Error(err)
				}
			}()
			c.test(k)
		})
	}
}

// kit is a store with helpers that fail the test.
type kit struct {
	*testing.T
	history.Store
	ctx context.Context
}

// Image returns a page image that can be told apart by its text.
func Image(text string) []byte {
	return append([]byte(text), make([]byte, history.PageSize-len(text))...)
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *kit) want(err, want error) {
	k.Helper()
	if !errors.Is(err, want) {
		k.Fatalf("got error %v, want %v", err, want)
	}
}

func (k *kit) head(id history.DBID) history.Head {
	k.Helper()
	h, err := k.Head(k.ctx, id)
	k.must(err)
	return h
}

// commit appends a commit that writes text, with the revision added, to pages.
func (k *kit) commit(id history.DBID, text string, size uint32, pages ...uint32) history.Head {
	k.Helper()
	head := k.head(id)
	c := &history.NewCommit{
		Time: time.UnixMilli(int64(1000 * (head.Seq + 1))), Author: "a", DBSize: size,
		Change: []byte(text), Meta: []byte{1},
	}
	if head.Seq == 0 {
		c.Time = head.Time
	}
	for _, no := range pages {
		c.Pages = append(c.Pages, history.Page{No: no, Data: Image(fmt.Sprintf("%s/%d@%d", text, no, head.Seq+1))})
	}
	p, err := k.Append(k.ctx, id, head, c)
	k.must(err)
	k.must(p.Wait(k.ctx))
	return p.Head()
}

// page checks the text of a page; "" means zeros.
func (k *kit) page(id history.DBID, no uint32, at uint64, text string) {
	k.Helper()
	got, err := k.Page(k.ctx, id, no, at)
	k.must(err)
	if !bytes.Equal(got, Image(text)) {
		k.Fatalf("page %d of %s at %d is %q, want %q", no, id, at, bytes.TrimRight(got, "\x00"), text)
	}
}

// dump returns the texts of all pages.
func (k *kit) dump(id history.DBID, at uint64) string {
	k.Helper()
	var out []string
	for p, err := range k.Pages(k.ctx, id, at) {
		k.must(err)
		if int(p.No) != len(out)+1 {
			k.Fatalf("page %d after %d pages", p.No, len(out))
		}
		out = append(out, string(bytes.TrimRight(p.Data, "\x00")))
	}
	return strings.Join(out, " ")
}

func (k *kit) equal(got, want any) {
	k.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		k.Fatalf("got %v, want %v", got, want)
	}
}

// seqs returns the revisions that Commits yields.
func (k *kit) seqs(id history.DBID, after, upto uint64) ([]uint64, error) {
	var out []uint64
	for c, err := range k.Commits(k.ctx, id, after, upto) {
		if err != nil {
			return out, err
		}
		out = append(out, c.Seq)
	}
	return out, nil
}

func testNames(k *kit) {
	for _, id := range []history.DBID{"b", "a", "c.d-e_f"} {
		k.must(k.Create(k.ctx, id))
	}
	k.want(k.Create(k.ctx, "a"), history.ErrExists)
	k.want(k.Create(k.ctx, ""), history.ErrInvalid)
	k.want(k.Create(k.ctx, history.DBID(strings.Repeat("x", 65))), history.ErrInvalid)
	list, err := k.List(k.ctx, "", 10)
	k.must(err)
	k.equal(list, []history.DBID{"a", "b", "c.d-e_f"})
	list, err = k.List(k.ctx, "a", 1)
	k.must(err)
	k.equal(list, []history.DBID{"b"})
	k.must(k.Delete(k.ctx, "b"))
	k.want(k.Delete(k.ctx, "b"), history.ErrNotFound)
	_, err = k.Head(k.ctx, "b")
	k.want(err, history.ErrNotFound)
	_, err = k.Head(k.ctx, "never")
	k.want(err, history.ErrNotFound)
	list, err = k.List(k.ctx, "", 10)
	k.must(err)
	k.equal(list, []history.DBID{"a", "c.d-e_f"})
}

func testAppend(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	zero := k.head("a")
	if zero.Seq != 0 || zero.DBSize != 0 || zero.Hash == (history.Hash{}) {
		k.Fatalf("head of a new database: %+v", zero)
	}
	two := []*history.NewCommit{
		{Author: "x", DBSize: 1, Pages: []history.Page{{No: 1, Data: Image("one")}}},
		{Author: "y", DBSize: 2, Pages: []history.Page{{No: 1, Data: Image("two")}}},
	}
	p, err := k.Append(k.ctx, "a", zero, two...)
	k.must(err)
	if h := k.head("a"); !h.Is(p.Head()) || h.Seq != 2 {
		k.Fatalf("head %+v, want %+v", h, p.Head())
	}
	k.must(p.Wait(k.ctx))
	k.must(p.Wait(k.ctx)) // as often as one likes
	k.must(k.WaitDurable(k.ctx, "a", 2))
	k.want(k.WaitDurable(k.ctx, "a", 3), history.ErrNoRevision)
	durable, err := k.DurableHead(k.ctx, "a")
	k.must(err)
	k.equal(durable, p.Head())
	at1, err := k.At(k.ctx, "a", 1)
	k.must(err)
	k.equal(at1, p.Heads()[0])
	at0, err := k.At(k.ctx, "a", 0)
	k.must(err)
	k.equal(at0.Hash, zero.Hash)
	k.page("a", 1, 1, "one")
	k.page("a", 1, 2, "two")
	k.page("a", 2, 2, "")
}

func testConflict(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	zero := k.head("a")
	k.commit("a", "x", 1, 1)
	_, err := k.Append(k.ctx, "a", zero, &history.NewCommit{})
	k.want(err, history.ErrConflict)
	wrong := k.head("a")
	wrong.Hash[5]++
	_, err = k.Append(k.ctx, "a", wrong, &history.NewCommit{})
	k.want(err, history.ErrConflict)
	_, err = k.Append(k.ctx, "b", zero, &history.NewCommit{})
	k.want(err, history.ErrNotFound)
}

func testInvalid(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	for _, c := range []*history.NewCommit{
		{DBSize: 1, Pages: []history.Page{{No: 0, Data: Image("")}}},
		{DBSize: 1, Pages: []history.Page{{No: 2, Data: Image("")}}},
		{DBSize: 1, Pages: []history.Page{{No: 1, Data: []byte("short")}}},
	} {
		_, err := k.Append(k.ctx, "a", k.head("a"), c)
		k.want(err, history.ErrInvalid)
	}
	_, err := k.Append(k.ctx, "a", k.head("a"))
	k.want(err, history.ErrInvalid)
	k.want(k.PutMeta(k.ctx, "a", "", nil), history.ErrInvalid)
	k.want(k.PutMeta(k.ctx, "a", strings.Repeat("x", 129), nil), history.ErrInvalid)
	k.equal(k.head("a").Seq, 0)
}

func testCommits(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	for i := range 5 {
		k.commit("a", fmt.Sprint("c", i+1), 9, 7, 3)
	}
	prev := history.Hash{}
	for c, err := range k.Commits(k.ctx, "a", 1, history.Latest) {
		k.must(err)
		if c.Seq > 2 && c.Parent != prev {
			k.Fatalf("commit %d does not follow", c.Seq)
		}
		prev = c.Hash
		k.equal(string(c.Change), fmt.Sprint("c", c.Seq))
		k.equal(c.Pages, []uint32{3, 7})
		k.equal([]any{c.Author, c.Meta, c.DBSize}, []any{"a", []byte{1}, 9})
		one, err := k.Commit(k.ctx, "a", c.Seq)
		k.must(err)
		k.equal(*one, *c)
	}
	k.equal(prev, k.head("a").Hash)
	for _, c := range []struct {
		after, upto uint64
		want        []uint64
	}{{0, 2, []uint64{1, 2}}, {2, 4, []uint64{3, 4}}, {4, 99, []uint64{5}}, {5, history.Latest, nil}, {3, 1, nil}} {
		got, err := k.seqs("a", c.after, c.upto)
		k.must(err)
		k.equal(got, c.want)
	}
	_, err := k.seqs("a", 6, history.Latest)
	k.want(err, history.ErrNoRevision)
	_, err = k.seqs("b", 0, history.Latest)
	k.want(err, history.ErrNotFound)
	_, err = k.Commit(k.ctx, "a", 0)
	k.want(err, history.ErrNoRevision)
	_, err = k.Commit(k.ctx, "a", 6)
	k.want(err, history.ErrNoRevision)
	for _, err := range k.Commits(k.ctx, "a", 0, history.Latest) {
		k.must(err)
		break // stopping early is fine
	}
}

func testPages(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	k.equal(k.dump("a", history.Latest), "")
	k.commit("a", "x", 3, 1, 2) // page 3 is a hole
	for range 10 {
		k.commit("a", "y", 3, 2)
	}
	k.commit("a", "z", 2, 1)
	k.equal(k.dump("a", 0), "")
	k.equal(k.dump("a", 1), "x/1@1 x/2@1 ")
	k.equal(k.dump("a", 5), "x/1@1 y/2@5 ")
	k.equal(k.dump("a", 12), "z/1@12 y/2@11")
	k.equal(k.dump("a", history.Latest), "z/1@12 y/2@11")
	_, err := k.Page(k.ctx, "a", 3, 12)
	k.want(err, history.ErrNoPage)
	_, err = k.Page(k.ctx, "a", 0, 12)
	k.want(err, history.ErrNoPage)
	_, err = k.Page(k.ctx, "a", 1, 13)
	k.want(err, history.ErrNoRevision)
	for _, err := range k.Pages(k.ctx, "a", 1) {
		k.must(err)
		break
	}
}

func testChangedPages(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	k.commit("a", "x", 9, 1, 2, 9)
	k.commit("a", "x", 9, 2, 5)
	k.commit("a", "x", 8, 2, 8)
	for _, c := range []struct {
		after, upto uint64
		want        []uint32
	}{{0, 2, []uint32{1, 2, 5, 9}}, {0, history.Latest, []uint32{1, 2, 5, 8}}, {1, 2, []uint32{2, 5}}, {3, 3, nil}} {
		got, err := k.ChangedPages(k.ctx, "a", c.after, c.upto)
		k.must(err)
		k.equal(got, c.want)
	}
}

func testMeta(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	k.must(k.Create(k.ctx, "b"))
	_, err := k.GetMeta(k.ctx, "a", "k")
	k.want(err, history.ErrNoMeta)
	_, err = k.GetMeta(k.ctx, "x", "k")
	k.want(err, history.ErrNotFound)
	k.want(k.PutMeta(k.ctx, "x", "k", []byte("v")), history.ErrNotFound)
	k.must(k.PutMeta(k.ctx, "a", "k", []byte("v")))
	k.must(k.PutMeta(k.ctx, "a", "l/1", []byte{}))
	k.must(k.PutMeta(k.ctx, "b", "k", []byte("other")))
	p, err := k.Append(k.ctx, "a", k.head("a"), &history.NewCommit{
		KV: map[string][]byte{"k": nil, "l/2": []byte("w"), "m": []byte("n")},
	})
	k.must(err)
	v, err := k.GetMeta(k.ctx, "a", "l/2") // waits for the append
	k.must(err)
	k.equal(string(v), "w")
	select {
	case <-p.Done():
	default:
		k.Fatal("metadata was seen before it was durable")
	}
	_, err = k.GetMeta(k.ctx, "a", "k")
	k.want(err, history.ErrNoMeta)
	v, err = k.GetMeta(k.ctx, "a", "l/1")
	k.must(err)
	k.equal(len(v), 0)
	for from, want := range map[string][]string{
		"": {"l/1=", "l/2=w"}, "l/1": {"l/1=", "l/2=w"}, "l/10": {"l/2=w"}, "l/3": nil, "m": nil,
	} {
		var got []string
		for e, err := range k.Metas(k.ctx, "a", "l/", from) {
			k.must(err)
			got = append(got, e.Key+"="+string(e.Value))
		}
		k.equal(got, want)
	}
	v, err = k.GetMeta(k.ctx, "b", "k")
	k.must(err)
	k.equal(string(v), "other")
}

func testTime(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	start := k.head("a").Time.Truncate(time.Millisecond).Add(time.Hour)
	for i, ms := range []int{10, 30, 20, 40} { // the third is raised to 30
		p, err := k.Append(k.ctx, "a", k.head("a"), &history.NewCommit{
			Time: start.Add(time.Duration(ms) * time.Millisecond), Author: fmt.Sprint(i),
		})
		k.must(err)
		k.must(p.Wait(k.ctx))
	}
	for ms, want := range map[int]uint64{0: 0, 10: 1, 29: 1, 30: 3, 39: 3, 40: 4, 1000: 4} {
		h, err := k.AtTime(k.ctx, "a", start.Add(time.Duration(ms)*time.Millisecond))
		k.must(err)
		k.equal(h.Seq, want)
	}
	_, err := k.AtTime(k.ctx, "a", start.Add(-48*time.Hour))
	k.want(err, history.ErrNoRevision)
	k.must(k.Retain(k.ctx, "a", 2))
	_, err = k.AtTime(k.ctx, "a", start.Add(10*time.Millisecond))
	k.want(err, history.ErrHorizon)
}

func testConcurrent(k *kit) {
	const dbs, writers, commits = 3, 4, 20
	for d := range dbs {
		k.must(k.Create(k.ctx, history.DBID(fmt.Sprint(d))))
	}
	var wg sync.WaitGroup
	for w := range dbs * writers {
		wg.Go(func() {
			id := history.DBID(fmt.Sprint(w % dbs))
			if err := write(k.ctx, k.Store, id, fmt.Sprint(w), commits); err != nil {
				k.Error(err)
			}
		})
	}
	wg.Wait()
	for d := range dbs {
		id := history.DBID(fmt.Sprint(d))
		seqs, err := k.seqs(id, 0, history.Latest)
		k.must(err)
		k.equal(len(seqs), writers*commits)
		k.equal(k.head(id).Seq, writers*commits)
	}
}

// write appends n commits, re-reading the head whenever another was faster.
func write(ctx context.Context, s history.Store, id history.DBID, author string, n int) error {
	for done := 0; done < n; {
		head, err := s.Head(ctx, id)
		if err != nil {
			return err
		}
		p, err := s.Append(ctx, id, head, &history.NewCommit{
			Author: author, DBSize: 1, Pages: []history.Page{{No: 1, Data: Image(author)}},
		})
		if errors.Is(err, history.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		if err := p.Wait(ctx); err != nil {
			return err
		}
		done++
	}
	return nil
}

func testClosed(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	head := k.head("a")
	p, err := k.Append(k.ctx, "a", head, &history.NewCommit{})
	k.must(err)
	k.must(k.Close())
	k.must(p.Wait(k.ctx)) // accepted before, so it is durable
	k.must(k.Close())
	_, err = k.Append(k.ctx, "a", p.Head(), &history.NewCommit{})
	k.want(err, history.ErrClosed)
	_, err = k.Head(k.ctx, "a")
	k.want(err, history.ErrClosed)
	k.want(k.Create(k.ctx, "b"), history.ErrClosed)
	k.want(k.Check(k.ctx), history.ErrClosed)
	_, err = k.List(k.ctx, "", 1)
	k.want(err, history.ErrClosed)
	_, err = k.seqs("a", 0, history.Latest)
	k.want(err, history.ErrClosed)
}
