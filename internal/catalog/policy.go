package catalog

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// maxPolicies bounds the cache of policies; one takes some 300 bytes.
const maxPolicies = 16384

// everything stands for all databases where names are listed.
const everything = "*"

// Policy is what every request on a database has to know.
type Policy struct {
	Database
	GroupEpoch   int64
	GroupRotated time.Time
	Known        bool // false: the catalog has no such database, and all else is zero
}

// policies caches policies by name.
type policies struct {
	mu     sync.RWMutex
	byName map[string]*Policy // guarded by mu
	writes uint64             // how often something was forgotten; guarded by mu
}

func (p *policies) forget(names []string) {
	if len(names) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	if slices.Contains(names, everything) {
		p.byName = nil
		return
	}
	for _, n := range names {
		delete(p.byName, n)
	}
}

// keep remembers a policy that was read when there had been so many writes.
func (p *policies) keep(name string, policy *Policy, writes uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writes != writes {
		return // it may be an old one
	}
	if len(p.byName) >= maxPolicies || p.byName == nil {
		p.byName = make(map[string]*Policy)
	}
	p.byName[name] = policy
}

// Policy returns the policy of a database. It is shared: don't change it.
func (s *Store) Policy(name string) (*Policy, error) {
	s.policies.mu.RLock()
	has, writes := s.policies.byName[name], s.policies.writes
	s.policies.mu.RUnlock()
	if has != nil {
		return has, nil
	}
	p := &Policy{}
	err := s.view(func(c *sqlite.Conn) error {
		d, err := database(c, name)
		if err != nil {
			return err
		}
		g, err := group(c, d.Org, d.Group)
		p.Database, p.GroupEpoch, p.GroupRotated, p.Known = d, g.Epoch, g.Rotated, true
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	s.policies.keep(name, p, writes)
	return p, nil
}

// Expired reports whether the database's time is over.
func (p *Policy) Expired(now time.Time) bool {
	return !p.Expires.IsZero() && !now.Before(p.Expires)
}
