package tenant

import (
	"runtime/debug"
	"time"
)

// sweep closes databases that have been idle for long, and gives back what they
// held, until Close.
func (m *Manager) sweep() {
	defer m.idle.Done()
	tick := time.NewTicker(m.cfg.IdleClose / 4)
	defer tick.Stop()
	closed := 0 // databases, since memory was given back
	for {
		select {
		case <-m.done:
			return
		case now := <-tick.C:
			idle := m.idleSince(now.Add(-m.cfg.IdleClose))
			for _, db := range idle {
				m.evict(db)
			}
			m.mu.Lock()
			m.cold.expire(now.Add(-coldTime), now, m.path)
			m.mu.Unlock()
			if closed += len(idle); closed >= manyClosed && len(idle) == 0 {
				closed = 0
				debug.FreeOSMemory()
			}
		}
	}
}

// manyClosed databases have held memory that is worth giving back to the system
// once no more are being closed.
const manyClosed = 256

func (m *Manager) idleSince(t time.Time) []*database {
	m.mu.Lock()
	defer m.mu.Unlock()
	var idle []*database
	for e := m.lru.Back(); e != nil; e = e.Prev() {
		if db := e.Value.(*database); db.users == 0 && !db.closing && db.lastUse.Before(t) {
			idle = append(idle, db)
		}
	}
	return idle
}
