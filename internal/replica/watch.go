package replica

import (
	"sync"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// RowChange is one row's change, for Watch.
type RowChange struct {
	Table    *change.Table
	Op       change.Op
	RowID    int64
	Old, New []sqlite.Value // of Table.Cols; nil where there is none
	OldRowID int64
	Remote   bool
}

// maxQueue bounds the changes that wait for a slow watcher; beyond it the
// watcher's Overflowed is set and it must look at the tables again.
const maxQueue = 100_000

// Watcher receives row changes.
type Watcher struct {
	w *watchers

	mu         sync.Mutex // guards what follows
	queue      []RowChange
	overflowed bool
	closed     bool
	news       chan struct{} // holds one token when there is something
}

type watchers struct {
	mu     sync.Mutex
	set    map[*Watcher]bool
	closed bool
}

func (w *watchers) init() { w.set = map[*Watcher]bool{} }

// any reports whether somebody watches.
func (w *watchers) any() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.set) > 0
}

// Watch returns a watcher of all row changes from now on.
func (r *Replica) Watch() *Watcher {
	x := &Watcher{w: &r.watch, news: make(chan struct{}, 1)}
	r.watch.mu.Lock()
	defer r.watch.mu.Unlock()
	if r.watch.closed {
		x.closed = true
		x.signal()
		return x
	}
	r.watch.set[x] = true
	return x
}

// Close ends the watch.
func (x *Watcher) Close() {
	x.w.mu.Lock()
	delete(x.w.set, x)
	x.w.mu.Unlock()
}

// News holds a token when Take has something to return.
func (x *Watcher) News() <-chan struct{} { return x.news }

// Take returns what has happened since the last call. closed says that nothing
// more will come; overflowed that changes were dropped.
func (x *Watcher) Take() (list []RowChange, closed, overflowed bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	list, overflowed = x.queue, x.overflowed
	x.queue, x.overflowed = nil, false
	return list, x.closed, overflowed
}

func (x *Watcher) signal() {
	select {
	case x.news <- struct{}{}:
	default:
	}
}

func (x *Watcher) add(list []RowChange) {
	x.mu.Lock()
	if len(x.queue)+len(list) > maxQueue {
		x.queue, x.overflowed = nil, true
	} else {
		x.queue = append(x.queue, list...)
	}
	x.mu.Unlock()
	x.signal()
}

func (w *watchers) publish(list []RowChange) {
	if len(list) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for x := range w.set {
		x.add(list)
	}
}

// local publishes a local commit.
func (w *watchers) local(ch *change.Change) {
	if w == nil || !w.any() {
		return
	}
	w.publish(rowChanges(ch.Unpacked(), false))
}

func rowChanges(ch *change.Change, remote bool) []RowChange {
	var list []RowChange
	for i := range ch.Events {
		e := &ch.Events[i]
		if !e.Effect || e.Op > change.OpDelete || e.Shadow() {
			continue
		}
		list = append(list, RowChange{
			Table: e.Table, Op: e.Op, RowID: e.NewRowID, OldRowID: e.RowID, Old: e.Old, New: e.New, Remote: remote,
		})
	}
	return list
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for x := range w.set {
		x.mu.Lock()
		x.closed = true
		x.mu.Unlock()
		x.signal()
	}
}
