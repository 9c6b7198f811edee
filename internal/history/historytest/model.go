package historytest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/history"
)

// Model is a Store so simple that it is evidently right: each revision is a
// complete map of pages, a fork is a copy. Commits are durable at once.
type Model struct {
	mu     sync.Mutex
	dbs    map[history.DBID]*modelDB
	closed bool
}

// modelDB stays reachable for its forks after it is deleted.
type modelDB struct {
	info    history.Info
	base    uint64
	horizon uint64 // own
	parent  *modelDB
	states  []modelState // of revision 0, 1, ...
	kv      map[string][]byte
}

type modelState struct {
	commit *history.Commit // nil for revision 0
	head   history.Head
	pages  map[uint32][]byte
}

// NewModel returns an empty model.
func NewModel() *Model { return &Model{dbs: map[history.DBID]*modelDB{}} }

var _ history.Store = (*Model)(nil)

func (m *Model) get(id history.DBID) (*modelDB, error) {
	if m.closed {
		return nil, history.ErrClosed
	}
	if db := m.dbs[id]; db != nil {
		return db, nil
	}
	return nil, history.ErrNotFound
}

func (db *modelDB) head() history.Head { return db.states[len(db.states)-1].head }

// floor is the oldest readable revision: a fork reads what its parent keeps, and
// the revision it was made from in any case.
func (db *modelDB) floor() uint64 {
	if db.parent == nil {
		return db.horizon
	}
	return max(db.horizon, min(db.parent.floor(), db.base))
}

// at returns the state of a revision.
func (db *modelDB) at(seq uint64) (modelState, error) {
	if seq == history.Latest {
		seq = db.head().Seq
	}
	switch {
	case seq > db.head().Seq:
		return modelState{}, history.ErrNoRevision
	case seq < db.floor():
		return modelState{}, history.ErrHorizon
	}
	return db.states[seq], nil
}

func (m *Model) claim(id history.DBID) error {
	switch {
	case m.closed:
		return history.ErrClosed
	case len(id) == 0 || len(id) > 64:
		return history.ErrInvalid
	case m.dbs[id] != nil:
		return history.ErrExists
	}
	return nil
}

// Create implements history.Store.
func (m *Model) Create(_ context.Context, id history.DBID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.claim(id); err != nil {
		return err
	}
	var head history.Head
	_, _ = rand.Read(head.Hash[:])
	head.Time = time.Now()
	m.dbs[id] = &modelDB{
		info: history.Info{Created: head.Time}, kv: map[string][]byte{},
		states: []modelState{{head: head}},
	}
	return nil
}

// Fork implements history.Store.
func (m *Model) Fork(_ context.Context, src history.DBID, at uint64, dst history.DBID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	db, err := m.get(src)
	if err != nil {
		return err
	}
	s, err := db.at(at)
	if err != nil {
		return err
	}
	if err := m.claim(dst); err != nil {
		return err
	}
	at = s.head.Seq
	owner := db
	for owner.parent != nil && at <= owner.base {
		owner = owner.parent
	}
	m.dbs[dst] = &modelDB{
		info: history.Info{Created: time.Now(), Parent: src, ForkedAt: at},
		base: at, horizon: db.floor(), parent: owner,
		states: slices.Clone(db.states[:at+1]), kv: map[string][]byte{},
	}
	return nil
}

// Delete implements history.Store.
func (m *Model) Delete(_ context.Context, id history.DBID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.get(id)
	delete(m.dbs, id)
	return err
}

// List implements history.Store.
func (m *Model) List(_ context.Context, after history.DBID, n int) ([]history.DBID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, history.ErrClosed
	}
	var ids []history.DBID
	for _, id := range slices.Sorted(maps.Keys(m.dbs)) {
		if id > after && len(ids) < n {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Stat implements history.Store.
func (m *Model) Stat(_ context.Context, id history.DBID) (history.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	db, err := m.get(id)
	if err != nil {
		return history.Info{}, err
	}
	info := db.info
	info.Head, info.Durable, info.Horizon = db.head(), db.head(), db.floor()
	return info, nil
}

// Head implements history.Store.
func (m *Model) Head(ctx context.Context, id history.DBID) (history.Head, error) {
	return m.At(ctx, id, history.Latest)
}

// DurableHead implements history.Store.
func (m *Model) DurableHead(ctx context.Context, id history.DBID) (history.Head, error) {
	return m.At(ctx, id, history.Latest)
}

// At implements history.Store.
func (m *Model) At(_ context.Context, id history.DBID, seq uint64) (history.Head, error) {
	s, err := m.state(id, seq)
	return s.head, err
}

func (m *Model) state(id history.DBID, seq uint64) (modelState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	db, err := m.get(id)
	if err != nil {
		return modelState{}, err
	}
	return db.at(seq)
}

// AtTime implements history.Store.
func (m *Model) AtTime(_ context.Context, id history.DBID, t time.Time) (history.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	db, err := m.get(id)
	if err != nil {
		return history.Head{}, err
	}
	floor := db.floor()
	kept := db.states[floor:]
	n := sort.Search(len(kept), func(i int) bool { return kept[i].head.Time.After(t) })
	switch {
	case n > 0:
		return kept[n-1].head, nil
	case floor > 0:
		return history.Head{}, history.ErrHorizon
	}
	return history.Head{}, history.ErrNoRevision
}

// WaitDurable implements history.Store.
func (m *Model) WaitDurable(_ context.Context, id history.DBID, seq uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	db, err := m.get(id)
	if err == nil && seq > db.head().Seq {
		err = history.ErrNoRevision
	}
	return err
}

// Append implements history.Store.
func (m *Model) Append(_ context.Context, id history.DBID, expect history.Head, commits ...*history.NewCommit) (*history.Pending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	db, err := m.get(id)
	if err != nil {
		return nil, err
	}
	if !db.head().Is(expect) {
		return nil, history.ErrConflict
	}
	if len(commits) == 0 {
		return nil, history.ErrInvalid
	}
	for _, c := range commits {
		for _, pg := range c.Pages {
			if pg.No == 0 || pg.No > c.DBSize || len(pg.Data) != history.PageSize {
				return nil, history.ErrInvalid
			}
		}
	}
	heads := make([]history.Head, len(commits))
	for i, c := range commits {
		heads[i] = db.append(c)
	}
	p, resolve := history.NewPending(heads)
	resolve(nil)
	return p, nil
}

func (db *modelDB) append(c *history.NewCommit) history.Head {
	prev := db.states[len(db.states)-1]
	out := &history.Commit{
		Seq: prev.head.Seq + 1, Time: time.UnixMilli(c.Time.UnixMilli()).UTC(), Parent: prev.head.Hash,
		Author: c.Author, DBSize: c.DBSize,
		Change: append([]byte(nil), c.Change...), Meta: append([]byte(nil), c.Meta...),
	}
	if out.Time.Before(prev.head.Time) {
		out.Time = prev.head.Time
	}
	pages := maps.Clone(prev.pages)
	if pages == nil {
		pages = map[uint32][]byte{}
	}
	for _, pg := range c.Pages {
		pages[pg.No] = slices.Clone(pg.Data)
		out.Pages = append(out.Pages, pg.No)
	}
	slices.Sort(out.Pages)
	text, _ := json.Marshal([]any{out, c.Pages})
	out.Hash = sha256.Sum256(text)
	for k, v := range c.KV {
		db.put(k, v)
	}
	db.states = append(db.states, modelState{out, out.Head(), pages})
	return out.Head()
}

// Commits implements history.Store.
func (m *Model) Commits(_ context.Context, id history.DBID, after, upto uint64) iter.Seq2[*history.Commit, error] {
	return func(yield func(*history.Commit, error) bool) {
		commits, err := m.commits(id, after, upto)
		for _, c := range commits {
			cp := *c
			if !yield(&cp, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

func (m *Model) commits(id history.DBID, after, upto uint64) ([]*history.Commit, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	db, err := m.get(id)
	if err == nil && after == history.Latest {
		err = history.ErrNoRevision
	}
	if err == nil {
		_, err = db.at(after)
	}
	if err != nil {
		return nil, err
	}
	var out []*history.Commit
	for seq := after + 1; seq <= min(upto, db.head().Seq); seq++ {
		out = append(out, db.states[seq].commit)
	}
	return out, nil
}

// Commit implements history.Store.
func (m *Model) Commit(_ context.Context, id history.DBID, seq uint64) (*history.Commit, error) {
	s, err := m.state(id, seq)
	if seq == 0 && !errors.Is(err, history.ErrNotFound) || err == nil && s.commit == nil {
		return nil, history.ErrNoRevision
	}
	if err != nil {
		return nil, err
	}
	if _, err := m.state(id, s.head.Seq-1); err != nil {
		return nil, err
	}
	return s.commit, nil
}

// Page implements history.Store.
func (m *Model) Page(_ context.Context, id history.DBID, no uint32, at uint64) ([]byte, error) {
	s, err := m.state(id, at)
	if err != nil {
		return nil, err
	}
	if no == 0 || no > s.head.DBSize {
		return nil, history.ErrNoPage
	}
	return s.page(no), nil
}

func (s modelState) page(no uint32) []byte {
	if p := s.pages[no]; p != nil {
		return slices.Clone(p)
	}
	return make([]byte, history.PageSize)
}

// Pages implements history.Store.
func (m *Model) Pages(_ context.Context, id history.DBID, at uint64, only ...uint32) iter.Seq2[history.Page, error] {
	return func(yield func(history.Page, error) bool) {
		s, err := m.state(id, at)
		if err != nil {
			yield(history.Page{}, err)
			return
		}
		nos := only
		for no := uint32(1); no <= s.head.DBSize && len(only) == 0; no++ {
			nos = append(nos, no)
		}
		for i, no := range nos {
			if no == 0 || no > s.head.DBSize {
				yield(history.Page{}, history.ErrNoPage)
				return
			}
			if i > 0 && no <= nos[i-1] {
				yield(history.Page{}, history.ErrInvalid)
				return
			}
		}
		for _, no := range nos {
			if !yield(history.Page{No: no, Data: s.page(no)}, nil) {
				return
			}
		}
	}
}

// ChangedPages implements history.Store.
func (m *Model) ChangedPages(_ context.Context, id history.DBID, after, upto uint64) ([]uint32, error) {
	commits, err := m.commits(id, after, upto)
	var pages []uint32
	for _, c := range commits {
		pages = append(pages, c.Pages...)
	}
	slices.Sort(pages)
	pages = slices.Compact(pages)
	pages = slices.DeleteFunc(pages, func(no uint32) bool { return no > commits[len(commits)-1].DBSize })
	return pages, err
}

func (db *modelDB) put(key string, val []byte) {
	if val == nil {
		delete(db.kv, key)
		return
	}
	db.kv[key] = append([]byte{}, val...)
}

// PutMeta implements history.Store.
func (m *Model) PutMeta(_ context.Context, id history.DBID, key string, val []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(key) == 0 || len(key) > 128 {
		return history.ErrInvalid
	}
	db, err := m.get(id)
	if err == nil {
		db.put(key, val)
	}
	return err
}

// GetMeta implements history.Store.
func (m *Model) GetMeta(_ context.Context, id history.DBID, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	db, err := m.get(id)
	if err != nil {
		return nil, err
	}
	if v, ok := db.kv[key]; ok {
		return slices.Clone(v), nil
	}
	return nil, history.ErrNoMeta
}

// Metas implements history.Store.
func (m *Model) Metas(_ context.Context, id history.DBID, prefix, from string) iter.Seq2[history.Meta, error] {
	return func(yield func(history.Meta, error) bool) {
		m.mu.Lock()
		db, err := m.get(id)
		var kv map[string][]byte
		if err == nil {
			kv = maps.Clone(db.kv)
		}
		m.mu.Unlock()
		for _, k := range slices.Sorted(maps.Keys(kv)) {
			if strings.HasPrefix(k, prefix) && k >= from && !yield(history.Meta{Key: k, Value: kv[k]}, nil) {
				return
			}
		}
		if err != nil {
			yield(history.Meta{}, err)
		}
	}
}

// Retain implements history.Store.
func (m *Model) Retain(_ context.Context, id history.DBID, horizon uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	db, err := m.get(id)
	if err != nil {
		return err
	}
	if horizon == history.Latest {
		horizon = db.head().Seq
	}
	if horizon > db.head().Seq {
		return history.ErrNoRevision
	}
	db.horizon = max(db.horizon, horizon)
	return nil
}

// Check implements history.Store.
func (m *Model) Check(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return history.ErrClosed
	}
	return nil
}

// Close implements history.Store.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
