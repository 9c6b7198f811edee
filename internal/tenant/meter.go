package tenant

import (
	"sync"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Usage is what a database was used for.
type Usage struct {
	// RowsRead are the rows that statements visited, and those that pulls
	// brought in commits.
	RowsRead uint64
	// RowsWritten are the rows that were inserted, updated or deleted, also by
	// triggers and foreign-key actions.
	RowsWritten uint64
	// BytesSynced are those of the changes received, and of the commits and
	// pages sent, before compression.
	BytesSynced uint64
}

// Add adds what o counts.
func (u *Usage) Add(o Usage) {
	u.RowsRead += o.RowsRead
	u.RowsWritten += o.RowsWritten
	u.BytesSynced += o.BytesSynced
}

// meters are what databases were used for since somebody last took it.
type meters struct {
	mu  sync.Mutex
	dbs map[string]Usage // guarded by mu
}

func (m *meters) add(name string, u Usage) {
	if u == (Usage{}) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dbs == nil {
		m.dbs = make(map[string]Usage)
	}
	sum := m.dbs[name]
	sum.Add(u)
	m.dbs[name] = sum
}

// TakeUsage returns what each database was used for since it was called last.
// What isn't kept has to be given back by ReturnUsage.
func (m *Manager) TakeUsage() map[string]Usage {
	m.meters.mu.Lock()
	defer m.meters.mu.Unlock()
	all := m.meters.dbs
	m.meters.dbs = nil
	return all
}

// ReturnUsage gives back what could not be kept.
func (m *Manager) ReturnUsage(all map[string]Usage) {
	for name, u := range all {
		m.meters.add(name, u)
	}
}

// visited returns how many rows a statement has read that returned so many. Its
// loops don't count single rows that are found by their key.
func visited(st *sqlite.Stmt, returned int64) int64 { return max(st.TakeSteps(), returned) }
