package history

import "sync"

// keyLocks is a mutex for each key, which costs nothing while nobody holds it.
type keyLocks[K comparable] struct {
	mu   sync.Mutex
	held map[K]*keyLock // guarded by mu
}

type keyLock struct {
	sync.Mutex
	users int // holder and waiters; guarded by keyLocks.mu
}

// lock locks k and returns the function that unlocks it.
func (l *keyLocks[K]) lock(k K) (unlock func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[K]*keyLock{}
	}
	m := l.held[k]
	if m == nil {
		m = &keyLock{}
		l.held[k] = m
	}
	m.users++
	l.mu.Unlock()
	m.Lock()
	return func() {
		m.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if m.users--; m.users == 0 {
			delete(l.held, k)
		}
	}
}
