package catalog

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// AnyDatabase in Claims.Database is every database.
const AnyDatabase = "*"

// Errors of Verify.
var (
	// ErrToken: the token is not one of this server's.
	ErrToken = errors.New("catalog: invalid token")
	// ErrExpired: the token was one, its time is over.
	ErrExpired = errors.New("catalog: token expired")
	// ErrLong: the token would be longer than Verify takes.
	ErrLong = errors.New("catalog: the token would be too long")
	// ErrVoid: the token was one, until it was voided.
	ErrVoid = errors.New("catalog: token voided")
	// ErrOther: the token is for something else.
	ErrOther = errors.New("catalog: token for another database")
)

// Token is a signed token. Printing it doesn't reveal it; string(t) does.
type Token string

// String hides the token.
func (Token) String() string { return "[token]" }

// GoString hides the token.
func (Token) GoString() string { return "[token]" }

// Claims is what a token says.
type Claims struct {
	ID       string // random, of Sign's making if empty
	Subject  string // whom the token is for, if anybody said so
	Database string // a database's name, or AnyDatabase; "" if it is for a group
	Org      string // of the group
	Group    string // all of its databases
	Epoch    int64  // of the database or group when it was made; 0: made without the catalog
	Access   Access
	Tables   string    // permissions for tables, separated by newlines; "": all tables
	Issued   time.Time // Sign's time if zero
	Expires  time.Time // never if zero
}

// Permissions returns the permissions for tables; none stand for all tables.
func (c Claims) Permissions() []string {
	if c.Tables == "" {
		return nil
	}
	return strings.Split(c.Tables, "\n")
}

// For returns nil if the token is for that database: ErrOther or ErrVoid if not.
// p is what the catalog knows of the database, nil if there is no catalog.
func (c Claims) For(database string, p *Policy) error {
	if p == nil {
		p = &Policy{}
	}
	epoch, rotated := p.Epoch, p.Rotated
	switch {
	case c.Group != "" && (!p.Known || c.Org != p.Org || c.Group != p.Group):
		return ErrOther
	case c.Group != "":
		epoch, rotated = p.GroupEpoch, p.GroupRotated
	case c.Database != database && c.Database != AnyDatabase:
		return ErrOther
	}
	if c.Epoch == 0 { // made without the catalog
		if !rotated.IsZero() && !c.Issued.After(rotated) {
			return ErrVoid
		}
		return nil
	}
	if c.Epoch != epoch {
		return ErrVoid
	}
	return nil
}

// payload is the claims in their encoded form; names are short since every
// request carries them.
type payload struct {
	Database string `json:"db,omitempty"`
	Org      string `json:"o,omitempty"`
	Group    string `json:"g,omitempty"`
	Epoch    int64  `json:"v,omitempty"`
	Access   string `json:"a"`
	// Tables are permissions, such as "tasks:data_read,data_add".
	Tables []string `json:"t,omitempty"`
	jwt.RegisteredClaims
	// Instead of the registered one, which has whole seconds: a token must not
	// seem to be older than the rotation before it.
	Issued *instant `json:"iat,omitempty"`
}

// instant is a time as seconds since 1970, with or without a fraction.
type instant struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (t instant) MarshalJSON() ([]byte, error) {
	ms := t.UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(nil, ms/1000, 10), nil
	}
	return strconv.AppendFloat(nil, float64(ms)/1000, 'f', 3, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *instant) UnmarshalJSON(b []byte) error {
	s, err := strconv.ParseFloat(string(b), 64)
	if err != nil || !(math.Abs(s) < 1<<40) {
		return fmt.Errorf("%s is no time", b)
	}
	t.Time = time.UnixMilli(int64(math.Round(s * 1000)))
	return nil
}

// Sign makes a token.
func (k *Key) Sign(c Claims) (Token, error) {
	if (c.Database == "") == (c.Group == "") || c.Access == 0 {
		return "", errors.New("catalog: a token needs a database or a group, and an access")
	}
	if c.ID == "" {
		var id [6]byte
		if _, err := rand.Read(id[:]); err != nil {
			return "", fmt.Errorf("catalog: sign token: %w", err)
		}
		c.ID = base64.RawURLEncoding.EncodeToString(id[:])
	}
	if c.Issued.IsZero() {
		c.Issued = time.Now()
	}
	p := &payload{Database: c.Database, Org: c.Org, Group: c.Group, Epoch: c.Epoch, Access: c.Access.String(), Tables: c.Permissions()}
	p.ID, p.Subject, p.Issued = c.ID, c.Subject, &instant{c.Issued}
	if c.Epoch != 0 { // its time matters to nobody, and every request carries it
		p.Issued.Time = c.Issued.Truncate(time.Second)
	}
	if !c.Expires.IsZero() {
		p.ExpiresAt = jwt.NewNumericDate(c.Expires)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, p)
	delete(t.Header, "typ") // optional, and every request carries it
	s, err := t.SignedString(k.private)
	if err != nil {
		return "", fmt.Errorf("catalog: sign token: %w", err)
	}
	if len(s) > maxToken { // nobody would take it
		return "", fmt.Errorf("%w: %d bytes, and %d are the most", ErrLong, len(s), maxToken)
	}
	return Token(s), nil
}

func (p *payload) claims() (Claims, error) {
	a, err := ParseAccess(p.Access)
	if err != nil || (p.Database == "") == (p.Group == "") {
		return Claims{}, fmt.Errorf("%w: no database or no access in it", ErrToken)
	}
	c := Claims{ID: p.ID, Subject: p.Subject, Database: p.Database, Org: p.Org, Group: p.Group, Epoch: p.Epoch, Access: a, Tables: strings.Join(p.Tables, "\n")}
	if p.Issued != nil {
		c.Issued = p.Issued.Time
	}
	if p.ExpiresAt != nil {
		c.Expires = p.ExpiresAt.Time
	}
	return c, nil
}
