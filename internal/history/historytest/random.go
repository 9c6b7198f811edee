package historytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/history"
)

// Random does the same random operations on a store and on the model and fails
// at the first difference. reopen returns a store with the same content; it is
// called now and then.
func Random(t *testing.T, seed uint64, steps int, s history.Store, reopen func(history.Store) history.Store) {
	t.Helper()
	t.Logf("seed %d", seed)
	r := &random{
		ctx: t.Context(), rng: rand.New(rand.NewPCG(seed, 0)), store: s, model: NewModel(),
		widest: map[history.DBID]uint32{}, clock: time.Now().Add(time.Hour),
	}
	defer func() {
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range steps {
		if r.rng.IntN(100) == 0 {
			r.store = reopen(r.store)
		}
		if what, err := r.step(); err != nil {
			t.Fatalf("seed %d, step %d, %s: %v", seed, i, what, err)
		}
	}
	for _, id := range r.ids() {
		if err := r.compareAll(id); err != nil {
			t.Fatalf("seed %d, at the end, %s: %v", seed, id, err)
		}
	}
}

type random struct {
	ctx    context.Context
	rng    *rand.Rand
	store  history.Store
	model  *Model
	widest map[history.DBID]uint32 // pages that may have images, for what grows again
	clock  time.Time
}

const randomNames = 6

func (r *random) name() history.DBID {
	return history.DBID(fmt.Sprint("db", r.rng.IntN(randomNames)))
}

func (r *random) ids() []history.DBID {
	ids, _ := r.model.List(r.ctx, "", randomNames)
	return ids
}

// seq picks a revision that mostly exists.
func (r *random) seq(id history.DBID) uint64 {
	head, _ := r.model.Head(r.ctx, id)
	switch r.rng.IntN(10) {
	case 0:
		return history.Latest
	case 1:
		return head.Seq + 1
	}
	return r.rng.Uint64N(head.Seq + 1)
}

func (r *random) step() (string, error) {
	id := r.name()
	n := r.rng.IntN(100)
	if n < 28 { // Latest is the durable head, and the model knows no other
		if err := r.settle(id); err != nil {
			return "wait", err
		}
	}
	switch {
	case n < 5:
		return "create", sameErr(r.store.Create(r.ctx, id), r.model.Create(r.ctx, id))
	case n < 8:
		return "delete " + string(id), sameErr(r.store.Delete(r.ctx, id), r.model.Delete(r.ctx, id))
	case n < 16:
		dst, at := r.name(), r.seq(id)
		err := r.model.Fork(r.ctx, id, at, dst)
		if err == nil {
			r.widest[dst] = r.widest[id]
		}
		return fmt.Sprintf("fork %s at %d to %s", id, at, dst), sameErr(r.store.Fork(r.ctx, id, at, dst), err)
	case n < 22:
		at := r.seq(id)
		return fmt.Sprintf("retain %s at %d", id, at), sameErr(r.store.Retain(r.ctx, id, at), r.model.Retain(r.ctx, id, at))
	case n < 28:
		key, val := fmt.Sprint("k", r.rng.IntN(3)), []byte(fmt.Sprint(n))
		return "put", sameErr(r.store.PutMeta(r.ctx, id, key, val), r.model.PutMeta(r.ctx, id, key, val))
	case n < 70:
		return "append " + string(id), r.append(id)
	case n < 74:
		return "compare all of " + string(id), r.compareAll(id)
	}
	at := r.seq(id)
	return fmt.Sprintf("compare %s at %d", id, at), r.compareAt(id, at)
}

// settle waits until all that the store accepted is durable.
func (r *random) settle(id history.DBID) error {
	head, err := r.store.Head(r.ctx, id)
	if err != nil {
		return nil // the operation will find out
	}
	return r.store.WaitDurable(r.ctx, id, head.Seq)
}

func (r *random) append(id history.DBID) error {
	var commits []*history.NewCommit
	head, _ := r.model.Head(r.ctx, id)
	size := head.DBSize
	for range 1 + r.rng.IntN(3) {
		c := r.newCommit(id, size)
		size = c.DBSize
		commits = append(commits, c)
	}
	sHead, sErr := r.store.Head(r.ctx, id)
	mHead, mErr := r.model.Head(r.ctx, id)
	if sErr != nil || mErr != nil {
		return sameErr(sErr, mErr)
	}
	if r.rng.IntN(10) == 0 {
		sHead.Seq++
		mHead.Seq++
	}
	p, err := r.store.Append(r.ctx, id, sHead, commits...)
	if _, merr := r.model.Append(r.ctx, id, mHead, commits...); err != nil || merr != nil {
		return sameErr(err, merr)
	}
	if r.rng.IntN(2) == 0 {
		return p.Wait(r.ctx)
	}
	return nil
}

// newCommit writes some pages, and all that come back after a shrink: what they
// would hold otherwise is unspecified.
func (r *random) newCommit(id history.DBID, size uint32) *history.NewCommit {
	r.clock = r.clock.Add(time.Duration(r.rng.IntN(5)-1) * time.Millisecond)
	c := &history.NewCommit{Time: r.clock, Author: fmt.Sprint(r.rng.IntN(3)), DBSize: uint32(r.rng.IntN(12))}
	c.Change = bytes.Repeat([]byte{'c'}, r.rng.IntN(50))
	for no := uint32(1); no <= c.DBSize; no++ {
		if r.rng.IntN(4) == 0 || no > size && no <= r.widest[id] {
			c.Pages = append(c.Pages, history.Page{No: no, Data: r.image()})
		}
	}
	r.rng.Shuffle(len(c.Pages), func(i, j int) { c.Pages[i], c.Pages[j] = c.Pages[j], c.Pages[i] })
	r.widest[id] = max(r.widest[id], c.DBSize)
	if r.rng.IntN(3) == 0 {
		c.KV = map[string][]byte{"k1": c.Change, "k2": nil}
	}
	return c
}

func (r *random) image() []byte {
	b := make([]byte, history.PageSize)
	for i := range r.rng.IntN(3) * 600 {
		b[i*2] = byte(r.rng.Uint32())
	}
	return b
}

// compareAll compares everything that can be read of a database.
func (r *random) compareAll(id history.DBID) error {
	s, serr := r.store.Stat(r.ctx, id)
	m, merr := r.model.Stat(r.ctx, id)
	if serr != nil || merr != nil {
		return sameErr(serr, merr)
	}
	if err := r.store.WaitDurable(r.ctx, id, s.Head.Seq); err != nil {
		return err
	}
	if s.Horizon != m.Horizon || s.Parent != m.Parent || s.ForkedAt != m.ForkedAt || s.Head.Seq != m.Head.Seq {
		return fmt.Errorf("stat: got %+v, want %+v", s, m)
	}
	for at := uint64(0); at <= m.Head.Seq+1; at++ {
		if err := r.compareAt(id, at); err != nil {
			return fmt.Errorf("at %d: %w", at, err)
		}
	}
	for i := range 3 {
		key := fmt.Sprint("k", i)
		sv, serr := r.store.GetMeta(r.ctx, id, key)
		mv, merr := r.model.GetMeta(r.ctx, id, key)
		if err := sameErr(serr, merr); err != nil {
			return err
		}
		if !bytes.Equal(sv, mv) {
			return fmt.Errorf("metadata %s: got %q, want %q", key, sv, mv)
		}
	}
	return nil
}

// compareAt compares what can be read of a revision.
func (r *random) compareAt(id history.DBID, at uint64) error {
	if err := r.settle(id); err != nil {
		return err
	}
	sh, serr := r.store.At(r.ctx, id, at)
	mh, merr := r.model.At(r.ctx, id, at)
	if err := sameErr(serr, merr); err != nil {
		return fmt.Errorf("at: %w", err)
	}
	if sh.Seq != mh.Seq || sh.DBSize != mh.DBSize {
		return fmt.Errorf("at: got %+v, want %+v", sh, mh)
	}
	sp, serr := collectPages(r.store.Pages(r.ctx, id, at))
	mp, merr := collectPages(r.model.Pages(r.ctx, id, at))
	if err := sameErr(serr, merr); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	if !bytes.Equal(sp, mp) {
		return errors.New("pages differ")
	}
	if err := r.compareSome(id, at); err != nil {
		return fmt.Errorf("some pages: %w", err)
	}
	if no := 1 + uint32(r.rng.IntN(12)); merr == nil {
		sd, serr := r.store.Page(r.ctx, id, no, at)
		md, merr := r.model.Page(r.ctx, id, no, at)
		if err := sameErr(serr, merr); err != nil || !bytes.Equal(sd, md) {
			return fmt.Errorf("page %d differs: %w", no, err)
		}
	}
	return r.compareCommits(id, at)
}

// compareSome compares a few pages of a revision.
func (r *random) compareSome(id history.DBID, at uint64) error {
	var some []uint32
	for no := uint32(1); no < 11; no++ {
		if r.rng.IntN(5) == 0 {
			some = append(some, no)
		}
	}
	sp, serr := collectPages(r.store.Pages(r.ctx, id, at, some...))
	mp, merr := collectPages(r.model.Pages(r.ctx, id, at, some...))
	if err := sameErr(serr, merr); err != nil {
		return err
	}
	if !bytes.Equal(sp, mp) {
		return fmt.Errorf("%v differ", some)
	}
	return nil
}

func (r *random) compareCommits(id history.DBID, after uint64) error {
	upto := r.seq(id)
	sc, serr := collectCommits(r.store.Commits(r.ctx, id, after, upto))
	mc, merr := collectCommits(r.model.Commits(r.ctx, id, after, upto))
	if err := sameErr(serr, merr); err != nil {
		return fmt.Errorf("commits: %w", err)
	}
	if sc != mc {
		return fmt.Errorf("commits: got\n%swant\n%s", sc, mc)
	}
	sp, serr := r.store.ChangedPages(r.ctx, id, after, upto)
	mp, merr := r.model.ChangedPages(r.ctx, id, after, upto)
	if fmt.Sprint(sp) != fmt.Sprint(mp) {
		return fmt.Errorf("changed pages: got %v, want %v", sp, mp)
	}
	if err := sameErr(serr, merr); err != nil {
		return fmt.Errorf("changed pages: %w", err)
	}
	_, serr = r.store.Commit(r.ctx, id, after)
	_, merr = r.model.Commit(r.ctx, id, after)
	return sameErr(serr, merr)
}

func collectPages(pages func(func(history.Page, error) bool)) ([]byte, error) {
	var out []byte
	for p, err := range pages {
		if err != nil {
			return nil, err
		}
		out = append(out, p.Data...)
	}
	return out, nil
}

func collectCommits(commits func(func(*history.Commit, error) bool)) (string, error) {
	var out bytes.Buffer
	for c, err := range commits {
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&out, c.Seq, c.Time.UnixMilli()%1e6, c.Author, string(c.Change), c.Pages, c.DBSize)
	}
	return out.String(), nil
}

// sameErr compares by the kinds that are documented.
func sameErr(got, want error) error {
	for _, kind := range []error{
		nil, history.ErrNotFound, history.ErrExists, history.ErrConflict, history.ErrHorizon,
		history.ErrNoRevision, history.ErrNoPage, history.ErrNoMeta, history.ErrInvalid,
	} {
		if kind == nil && got == nil && want == nil || kind != nil && errors.Is(got, kind) && errors.Is(want, kind) {
			return nil
		}
	}
	return fmt.Errorf("got error %v, want %v", got, want)
}
