package historytest

import (
	"fmt"

	"github.com/agentdb/agentdb/internal/history"
)

func testFork(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	k.commit("a", "a", 3, 1, 2, 3)
	k.commit("a", "a", 3, 2)
	k.commit("a", "a", 3, 3)
	k.must(k.PutMeta(k.ctx, "a", "k", []byte("v")))
	k.want(k.Fork(k.ctx, "a", 4, "f"), history.ErrNoRevision)
	k.want(k.Fork(k.ctx, "x", 0, "f"), history.ErrNotFound)
	k.must(k.Fork(k.ctx, "a", 2, "f"))
	k.want(k.Fork(k.ctx, "a", 2, "f"), history.ErrExists)
	at2, err := k.At(k.ctx, "a", 2)
	k.must(err)
	k.equal(k.head("f"), at2)
	_, err = k.GetMeta(k.ctx, "f", "k")
	k.want(err, history.ErrNoMeta)
	k.equal(k.dump("f", history.Latest), "a/1@1 a/2@2 a/3@1")
	k.commit("f", "f", 4, 1, 4)
	k.commit("a", "a", 3, 1)
	k.equal(k.dump("f", history.Latest), "f/1@3 a/2@2 a/3@1 f/4@3")
	k.equal(k.dump("f", 2), "a/1@1 a/2@2 a/3@1")
	k.equal(k.dump("f", 1), "a/1@1 a/2@1 a/3@1")
	k.equal(k.dump("a", history.Latest), "a/1@4 a/2@2 a/3@3")
	k.page("f", 2, 1, "a/2@1")
	k.page("f", 3, 3, "a/3@1")
	k.page("f", 4, 3, "f/4@3")
	seqs, err := k.seqs("f", 0, history.Latest)
	k.must(err)
	k.equal(seqs, []uint64{1, 2, 3})
	changed, err := k.ChangedPages(k.ctx, "f", 1, history.Latest)
	k.must(err)
	k.equal(changed, []uint32{1, 2, 4})
	info, err := k.Stat(k.ctx, "f")
	k.must(err)
	k.equal([]any{info.Parent, info.ForkedAt, info.Head.Seq}, []any{"a", 2, 3})
}

func testForkOfFork(k *kit) {
	k.must(k.Create(k.ctx, "f0"))
	k.commit("f0", "f0", 9, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	for i := 1; i <= 8; i++ {
		id := history.DBID(fmt.Sprint("f", i))
		k.must(k.Fork(k.ctx, history.DBID(fmt.Sprint("f", i-1)), history.Latest, id))
		k.commit(id, string(id), 9, uint32(i))
	}
	k.equal(k.dump("f8", history.Latest), "f1/1@2 f2/2@3 f3/3@4 f4/4@5 f5/5@6 f6/6@7 f7/7@8 f8/8@9 f0/9@1")
	k.equal(k.dump("f8", 3), "f1/1@2 f2/2@3 f0/3@1 f0/4@1 f0/5@1 f0/6@1 f0/7@1 f0/8@1 f0/9@1")
	k.must(k.Fork(k.ctx, "f8", 2, "g")) // really a fork of f1
	k.equal(k.dump("g", history.Latest), k.dump("f1", history.Latest))
	k.must(k.Fork(k.ctx, "f8", 0, "z"))
	zero, err := k.At(k.ctx, "f0", 0)
	k.must(err)
	k.equal(k.head("z").Hash, zero.Hash)
	seqs, err := k.seqs("f8", 0, history.Latest)
	k.must(err)
	k.equal(len(seqs), 9)
	at, err := k.At(k.ctx, "f8", 0)
	k.must(err)
	k.equal(at.Hash, zero.Hash)
}

func testForkOutlivesParent(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	k.commit("a", "a", 2, 1, 2)
	k.must(k.Fork(k.ctx, "a", history.Latest, "b"))
	k.commit("b", "b", 2, 1)
	k.must(k.Fork(k.ctx, "b", history.Latest, "c"))
	k.must(k.Delete(k.ctx, "a"))
	k.must(k.Delete(k.ctx, "b"))
	k.must(k.Create(k.ctx, "a")) // not to be mistaken for the parent
	k.commit("a", "new", 2, 1, 2)
	k.equal(k.dump("c", history.Latest), "b/1@2 a/2@1")
	k.equal(k.dump("c", 1), "a/1@1 a/2@1")
	k.must(k.Fork(k.ctx, "c", 1, "d"))
	k.must(k.Retain(k.ctx, "c", history.Latest)) // rewrites c
	k.must(k.Delete(k.ctx, "d"))
	k.equal(k.dump("c", history.Latest), "b/1@2 a/2@1")
	_, err := k.Page(k.ctx, "c", 1, 1)
	k.want(err, history.ErrHorizon)
	k.commit("c", "c", 3, 3)
	k.equal(k.dump("c", history.Latest), "b/1@2 a/2@1 c/3@3")
	seqs, err := k.seqs("c", 2, history.Latest)
	k.must(err)
	k.equal(seqs, []uint64{3})
}

func testRetain(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	for i := range 10 {
		k.commit("a", "a", 4, uint32(i%3)+1)
	}
	k.want(k.Retain(k.ctx, "a", 11), history.ErrNoRevision)
	before := k.dump("a", 6)
	k.must(k.Retain(k.ctx, "a", 6))
	k.must(k.Retain(k.ctx, "a", 3)) // does nothing
	k.must(k.Retain(k.ctx, "a", 6))
	k.equal(k.dump("a", 6), before)
	k.page("a", 3, 6, "a/3@6")
	k.page("a", 1, 6, "a/1@4")
	for _, op := range []func() error{
		func() error { _, err := k.seqs("a", 5, history.Latest); return err },
		func() error { _, err := k.Page(k.ctx, "a", 1, 5); return err },
		func() error { _, err := k.At(k.ctx, "a", 5); return err },
		func() error { _, err := k.At(k.ctx, "a", 0); return err },
		func() error { _, err := k.Commit(k.ctx, "a", 6); return err },
		func() error { return k.Fork(k.ctx, "a", 5, "f") },
		func() error { _, err := k.ChangedPages(k.ctx, "a", 2, 9); return err },
	} {
		k.want(op(), history.ErrHorizon)
	}
	seqs, err := k.seqs("a", 6, history.Latest)
	k.must(err)
	k.equal(seqs, []uint64{7, 8, 9, 10})
	info, err := k.Stat(k.ctx, "a")
	k.must(err)
	k.equal(info.Horizon, 6)
	k.must(k.Retain(k.ctx, "a", history.Latest))
	k.equal(k.dump("a", history.Latest), "a/1@10 a/2@8 a/3@9 ")
	k.commit("a", "b", 4, 4)
	k.equal(k.dump("a", history.Latest), "a/1@10 a/2@8 a/3@9 b/4@11")
}

func testRetainKeepsForks(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	k.commit("a", "a", 5, 1, 2, 3, 4, 5)
	for i := range 9 {
		k.commit("a", "a", 2, uint32(i%2)+1) // pages 3 to 5 are cut off
	}
	k.must(k.Fork(k.ctx, "a", 1, "f1"))
	k.must(k.Fork(k.ctx, "a", 5, "f5"))
	f1, f5, a := k.dump("f1", history.Latest), k.dump("f5", history.Latest), k.dump("a", history.Latest)
	k.must(k.Retain(k.ctx, "a", 9))
	k.equal(k.dump("f1", history.Latest), f1)
	k.equal(k.dump("f5", history.Latest), f5)
	k.equal(k.dump("a", history.Latest), a)
	_, err := k.At(k.ctx, "f5", 4) // the parent's history is gone
	k.want(err, history.ErrHorizon)
	k.must(k.Fork(k.ctx, "f5", 5, "g5")) // but the revision itself is kept
	k.must(k.Delete(k.ctx, "f5"))
	k.must(k.Retain(k.ctx, "a", history.Latest))
	k.equal(k.dump("g5", history.Latest), f5)
	k.commit("g5", "g", 2, 1)
	seqs, err := k.seqs("g5", 5, history.Latest)
	k.must(err)
	k.equal(seqs, []uint64{6})
	k.must(k.Delete(k.ctx, "a"))
	k.must(k.Retain(k.ctx, "g5", 5))
	k.equal(k.dump("g5", 5), f5)
	k.equal(k.dump("f1", history.Latest), f1)
}

func testNameReuse(k *kit) {
	k.must(k.Create(k.ctx, "a"))
	k.commit("a", "old", 2, 1, 2)
	old := k.head("a")
	k.must(k.PutMeta(k.ctx, "a", "k", []byte("old")))
	k.must(k.Delete(k.ctx, "a"))
	k.must(k.Create(k.ctx, "a"))
	zero := k.head("a")
	k.equal(zero.Seq, 0)
	_, err := k.GetMeta(k.ctx, "a", "k")
	k.want(err, history.ErrNoMeta)
	_, err = k.Append(k.ctx, "a", old, &history.NewCommit{})
	k.want(err, history.ErrConflict)
	k.commit("a", "new", 2, 1)
	k.equal(k.dump("a", history.Latest), "new/1@1 ")
}
