package platform

import (
	"fmt"
	"testing"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
)

func TestClock(t *testing.T) {
	var c Clock
	wall, steady := time.Unix(1e9, 0), time.Unix(0, 0)
	for i, s := range []struct {
		wall, steady  time.Duration // that pass
		trust, jumped bool
	}{
		{0, 0, true, false},
		{10 * time.Second, 10 * time.Second, true, false},
		{20 * time.Second, 10 * time.Second, true, false}, // put right, slowly
		{24 * time.Hour, 10 * time.Second, false, true},
		{time.Minute, time.Minute, false, false},
		{-24 * time.Hour, time.Second, false, false}, // put right
		{10 * time.Minute, 10 * time.Minute, true, false},
		{-time.Hour, time.Second, true, false},
		{time.Hour, time.Second, false, true},
		{8 * time.Hour, 8 * time.Hour, true, false},
	} {
		wall, steady = wall.Add(s.wall), steady.Add(s.steady)
		if trust, jumped := c.Trust(wall, steady); trust != s.trust || jumped != s.jumped {
			t.Errorf("%d: %v, %v", i, trust, jumped)
		}
	}
}

// TestClockJumps: a clock that jumps ahead deletes nothing at once: when it is
// put right, all is there.
func TestClockJumps(t *testing.T) {
	e := newExpiry(t)
	e.make(t, "a")
	e.want(t, 200, e.owner, post, "/v1/databases", object{"name": "idle", "idle_timeout": "30m"})
	var clock Clock
	sweep := func() {
		t.Helper()
		if err := e.expireBy(t.Context(), &clock); err != nil {
			t.Fatal(err)
		}
	}
	sweep()
	e.ahead.Store(int64(10 * 365 * 24 * time.Hour))
	sweep()
	sweep()
	e.ahead.Store(0)
	sweep()
	for _, name := range []string{"a", "idle"} {
		e.want(t, 200, e.owner, get, "/v1/databases/"+name, nil)
	}
	e.ahead.Store(int64(2 * time.Hour))
	if err := e.Expire(t.Context()); err != nil { // as later, if it was right
		t.Fatal(err)
	}
	for _, name := range []string{"a", "idle"} {
		e.want(t, 404, e.owner, get, "/v1/databases/"+name, nil)
	}
}

// TestUsedIsForgotten: nothing is kept in memory of databases that are gone.
func TestUsedIsForgotten(t *testing.T) {
	f := newFixture(t, nil)
	owner := f.token(t, catalog.DefaultUser)
	for i := range 20 {
		name := fmt.Sprint("d", i)
		f.want(t, 200, owner, post, "/v1/databases", object{"name": name, "idle_timeout": "1h"})
		f.Used(name)
		f.want(t, 200, owner, del, "/v1/databases/"+name, nil)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.used)+len(f.claimed)+len(f.orphans) > 0 {
		t.Errorf("%d used, %d claimed, %d orphans", len(f.used), len(f.claimed), len(f.orphans))
	}
}
