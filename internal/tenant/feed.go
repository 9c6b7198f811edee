package tenant

import (
	"context"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/wire"
)

// feeds tell those who wait for a database's next commit that there may be one.
// They know nothing of open files: a database that is only waited for is not
// open.
type feeds struct {
	mu    sync.Mutex // guards what follows
	names map[string]*feed
}

// feed is there as long as somebody waits.
type feed struct {
	waiting int
	news    chan struct{} // closed and replaced when there may be news
}

func (f *feeds) join(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names == nil {
		f.names = map[string]*feed{}
	}
	if f.names[name] == nil {
		f.names[name] = &feed{news: make(chan struct{})}
	}
	f.names[name].waiting++
}

func (f *feeds) leave(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names[name].waiting--; f.names[name].waiting == 0 {
		delete(f.names, name)
	}
}

// news returns a channel that is closed at the next news. The caller has joined.
func (f *feeds) news(name string) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.names[name].news
}

// wake makes all who wait for a database look.
func (f *feeds) wake(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.names[name]; w != nil {
		close(w.news)
		w.news = make(chan struct{})
	}
}

// polls reports whether a request may be answered without opening the database:
// it only asks for news.
func (m *Manager) polls(name string, req *wire.Request) bool {
	if req.Mode != wire.ModePull || len(req.Changes) > 0 || req.Strict != nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.closed && (req.WaitMS > 0 || m.dbs[name] == nil)
}

// poll returns when there is a commit after the request's base, without an
// answer, or when its time is up or something else is to be said to it. It
// does not open the database.
func (m *Manager) poll(ctx context.Context, name string, req *wire.Request) (*Answer, error) {
	m.feeds.join(name)
	defer m.feeds.leave(name)
	timer := time.NewTimer(min(time.Duration(req.WaitMS)*time.Millisecond, m.cfg.MaxWait))
	defer timer.Stop()
	var resp *wire.Response
	for {
		news := m.feeds.news(name)
		d := newDatabase(m, name) // never opened: it has what the store has
		var err error
		if d.head, err = m.cfg.Store.Head(ctx, d.id()); err != nil {
			return nil, translate(err)
		}
		if d.head.Seq != req.Base.Seq {
			return nil, nil
		}
		if resp == nil {
			var stop bool
			if resp, stop, err = d.recognised(ctx, req); err != nil || stop {
				return &Answer{Response: resp}, err
			}
			m.stats.waiting.Add(1)
			defer m.stats.waiting.Add(-1)
		}
		if req.WaitMS == 0 {
			return &Answer{Response: resp}, nil
		}
		select {
		case <-news:
		case <-timer.C:
			return &Answer{Response: resp}, nil
		case <-m.done:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
