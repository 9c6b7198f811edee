package catalog

import "fmt"

// Access is what a token allows. The zero Access allows nothing.
type Access uint8

// The accesses.
const (
	// AccessFull allows everything: receiving, sending and creating.
	AccessFull Access = iota + 1
	// AccessRead allows reading by any protocol.
	AccessRead
	// AccessPush allows sending changes only.
	AccessPush
	// AccessPull allows receiving by sync only.
	AccessPull
)

// ParseAccess is the inverse of String.
func ParseAccess(s string) (Access, error) {
	for a := AccessFull; a <= AccessPull; a++ {
		if s == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("access %q is not one of full, read, push, pull", s)
}

// String returns the access as it stands in tokens and on command lines.
func (a Access) String() string {
	switch a {
	case AccessFull:
		return "full"
	case AccessRead:
		return "read"
	case AccessPush:
		return "push"
	case AccessPull:
		return "pull"
	default:
		return "none"
	}
}

// Without returns what is left of the access when reads or writes of the database
// are blocked; zero if nothing is.
func (a Access) Without(reads, writes bool) Access {
	pull, push := a.CanPull() && !reads, a.CanPush() && !writes
	switch {
	case pull == a.CanPull() && push == a.CanPush():
		return a
	case pull:
		return AccessRead
	case push:
		return AccessPush
	}
	return 0
}

// CanPull reports whether the access allows receiving by sync.
func (a Access) CanPull() bool { return a == AccessFull || a == AccessRead || a == AccessPull }

// CanPush reports whether the access allows sending changes.
func (a Access) CanPush() bool { return a == AccessFull || a == AccessPush }
