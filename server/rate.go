package server

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
)

// Rate is how many requests may come.
type Rate struct {
	// PerSecond is how many may come in the long run. Zero is no limit.
	PerSecond float64
	// Burst is how many may come at once, after a rest; PerSecond by default, and
	// at least one.
	Burst int
}

// interval returns the time that a request uses up.
func (r Rate) interval() time.Duration { return time.Duration(float64(time.Second) / r.PerSecond) }

// burst returns the time that may be used up at once.
func (r Rate) burst() time.Duration {
	n := float64(r.Burst)
	if r.Burst <= 0 {
		n = r.PerSecond
	}
	return time.Duration(max(n, 1) * float64(r.interval()))
}

// RateLimits bound how often something is asked for. Requests above them are
// answered with status 429, and with how long to wait.
type RateLimits struct {
	// Database is for each database. One that has a limit of its own, by the
	// Platform API, has that.
	Database Rate
	// Token is for each token, of databases and of the Platform API.
	Token Rate
	// Organization is for all databases of each organization together.
	Organization Rate
}

// maxBuckets is how many buckets are kept before those that are full are dropped.
const maxBuckets = 4096

// limiter counts requests by key: a token bucket for each, kept as the time when
// it would be full again.
type limiter struct {
	mu     sync.Mutex
	full   map[string]time.Time // guarded by mu
	dropAt int                  // when there are so many, those that are full are dropped; guarded by mu
}

// take takes a request from the bucket of a key. If there is none left it returns
// how long to wait for one.
func (l *limiter) take(key string, r Rate, now time.Time) (wait time.Duration) {
	if r.PerSecond <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.full[key]
	if at.Before(now) {
		at = now
	}
	at = at.Add(r.interval())
	if over := at.Sub(now) - r.burst(); over > 0 {
		return over
	}
	if l.full == nil {
		l.full, l.dropAt = make(map[string]time.Time), maxBuckets
	}
	if len(l.full) >= l.dropAt {
		l.drop(now)
	}
	l.full[key] = at
	return 0
}

func (l *limiter) drop(now time.Time) {
	for key, at := range l.full {
		if !at.After(now) {
			delete(l.full, key)
		}
	}
	l.dropAt = max(maxBuckets, 2*len(l.full)) // not each time
}

// spend takes a request on a database from all buckets that it belongs to. The
// token comes first, so that a client above its own limit takes nothing from
// others.
func (s *Server) spend(name, token string) error {
	limits := &s.cfg.Limits.Rates
	var p *catalog.Policy
	if s.store != nil {
		p, _ = s.store.Policy(name) // it was read just now
	}
	now := time.Now()
	rate := limits.Database
	if p != nil && p.RateLimit > 0 {
		rate = Rate{PerSecond: float64(p.RateLimit)}
	}
	if limits.Token.PerSecond > 0 && token != "" {
		if wait := s.rates.take(s.tokenKey(token), limits.Token, now); wait > 0 {
			return limited("this token", wait)
		}
	}
	if rate.PerSecond > 0 {
		if wait := s.rates.take("database "+name, rate, now); wait > 0 {
			return limited("this database", wait)
		}
	}
	if p != nil && p.Known && limits.Organization.PerSecond > 0 {
		if wait := s.rates.take("organization "+p.Org, limits.Organization, now); wait > 0 {
			return limited("the databases of this organization", wait)
		}
	}
	return nil
}

// spendAPI is spend for a request of the Platform API.
func (s *Server) spendAPI(r *http.Request) error {
	if s.cfg.Limits.Rates.Token.PerSecond <= 0 {
		return nil
	}
	token, err := bearer(r.Header)
	if err != nil {
		return nil //nolint:nilerr // the API answers that
	}
	if _, err := s.store.APIToken(token); err != nil {
		return nil //nolint:nilerr // the same
	}
	if wait := s.rates.take(s.tokenKey(string(token)), s.cfg.Limits.Rates.Token, time.Now()); wait > 0 {
		return limited("this API token", wait)
	}
	return nil
}

// tokenKey is the key of a token's bucket, which doesn't tell the token.
func (s *Server) tokenKey(token string) string {
	return "token " + strconv.FormatUint(maphash.String(s.seed, token), 36)
}

// pace waits until a client on a WebSocket may send another message.
func (s *Server) pace(ctx context.Context, e *lasting) error {
	for e != nil {
		var p *problem
		if err := s.spend(e.name, e.token); !errors.As(err, &p) {
			return err
		}
		select {
		case <-time.After(p.retry):
		case <-ctx.Done():
			return errors.Join(errGone, ctx.Err())
		}
	}
	return nil
}

func limited(what string, wait time.Duration) error {
	return &problem{code: CodeLimited, retry: wait, message: "too many requests with or for " + what + ": wait as Retry-After says, and send them less often"}
}
