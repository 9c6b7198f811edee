package catalog

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// maxToken bounds what is worth looking at, in bytes.
	maxToken = 8 << 10
	// maxVerified bounds the cache of verified tokens; one takes some 300
	// bytes.
	maxVerified = 8192
)

// Verifier checks tokens. It remembers those that it found good, since a
// signature costs some 50 us to check. It is safe for concurrent use.
type Verifier struct {
	parser  *jwt.Parser
	public  any
	now     func() time.Time
	issuers map[string]*issuer

	mu sync.RWMutex
	// verified is keyed by the token's hash, so that neither a memory dump
	// nor the time of a look-up tells anything about a good token. Guarded
	// by mu.
	verified map[[sha256.Size]byte]Claims
}

// Verifier returns a Verifier of the key's tokens, and of those of issuers. now
// is the clock; nil is time.Now.
func (k *Key) Verifier(now func() time.Time, issuers ...Issuer) (*Verifier, error) {
	if now == nil {
		now = time.Now
	}
	v := &Verifier{
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
			jwt.WithStrictDecoding(),
			jwt.WithTimeFunc(now)),
		public:   k.private.Public(),
		now:      now,
		issuers:  make(map[string]*issuer),
		verified: make(map[[sha256.Size]byte]Claims),
	}
	for _, i := range issuers {
		var err error
		if v.issuers[i.URL], err = newIssuer(i, now); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Verify returns what a token says, or ErrToken or ErrExpired.
func (v *Verifier) Verify(t Token) (Claims, error) {
	if t == "" || len(t) > maxToken {
		return Claims{}, fmt.Errorf("%w: %d bytes long", ErrToken, len(t))
	}
	sum := sha256.Sum256([]byte(t))
	v.mu.RLock()
	c, ok := v.verified[sum]
	v.mu.RUnlock()
	if ok {
		return c, c.expired(v.now())
	}
	c, err := v.check(t)
	if err == nil {
		v.remember(sum, c)
	}
	return c, err
}

// Expired returns ErrExpired if the time of claims that Verify returned is over.
func (v *Verifier) Expired(c Claims) error { return c.expired(v.now()) }

// check verifies a token that was not seen before.
func (v *Verifier) check(t Token) (Claims, error) {
	if len(v.issuers) > 0 {
		if i := v.issuers[issuerOf(t)]; i != nil {
			return i.verify(t)
		}
	}
	var p payload
	_, err := v.parser.ParseWithClaims(string(t), &p, func(*jwt.Token) (any, error) { return v.public, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return Claims{}, ErrExpired
	case err != nil:
		return Claims{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return p.claims()
}

func (c Claims) expired(now time.Time) error {
	if !c.Expires.IsZero() && !now.Before(c.Expires) {
		return ErrExpired
	}
	return nil
}

func (v *Verifier) remember(sum [sha256.Size]byte, c Claims) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.verified) >= maxVerified {
		v.evict()
	}
	v.verified[sum] = c
}

// evict drops the expired tokens, and if there are none, any one. The caller
// holds mu.
func (v *Verifier) evict() {
	now, before := v.now(), len(v.verified)
	var last [sha256.Size]byte
	for sum, c := range v.verified {
		last = sum
		if c.expired(now) != nil {
			delete(v.verified, sum)
		}
	}
	if len(v.verified) == before {
		delete(v.verified, last)
	}
}
