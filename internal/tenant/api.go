// Package tenant holds the open databases of a server: one writer each, their
// cached files, and the rules of a sync. The history is the truth; whatever
// this package keeps on disk may be deleted while it is not running.
package tenant

import (
	"errors"
	"fmt"
	"iter"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/wire"
)

// Access says what a caller may do with a database.
type Access uint8

// Bits of Access.
const (
	// AccessPull allows receiving commits and snapshots.
	AccessPull Access = 1 << iota
	// AccessPush allows sending changes, and creating the database by it.
	AccessPush

	// AccessFull allows both.
	AccessFull = AccessPull | AccessPush
)

// Has reports whether all of the bits in want are set.
func (a Access) Has(want Access) bool { return a&want == want }

// Answer is what a sync returns.
type Answer struct {
	Response *wire.Response
	// Pages yields the chunks of a snapshot, each an encoded message of
	// wire.AppendPages without its frame; nil when there is no snapshot. A
	// chunk is valid until the next one is asked for. It must be ranged over
	// once and soon: what it reads may be deleted with the database.
	Pages iter.Seq2[[]byte, error]
}

// Stats counts what the open databases have done since the server started.
type Stats struct {
	Open        int    // databases with an open file
	Waiting     int    // long polls waiting for news
	Commits     uint64 // commits appended to the history
	Changes     uint64 // changes received from replicas
	Conflicts   uint64 // operations recorded as conflicts
	Snapshots   uint64 // snapshots started
	Rebuilds    uint64 // cached files rebuilt from the history
	PushedBytes uint64 // bodies of the changes received
	PulledBytes uint64 // bodies of the commits and pages sent
}

// Errors of a database, as kinds; match them with errors.Is.
var (
	// ErrNotFound: there is no database of that name.
	ErrNotFound = errors.New("tenant: no such database")
	// ErrExists: there is a database of that name already.
	ErrExists = errors.New("tenant: database exists")
	// ErrBadName: the name can't be a database's.
	ErrBadName = errors.New("tenant: bad database name")
	// ErrForbidden: the caller's access doesn't allow what it asked for.
	ErrForbidden = errors.New("tenant: forbidden")
	// ErrMalformed: a change in the request can't be decoded.
	ErrMalformed = errors.New("tenant: malformed change")
	// ErrTooLarge: a change, row or database is above a limit.
	ErrTooLarge = errors.New("tenant: too large")
	// ErrTimeout: the changes took longer to execute than is allowed.
	ErrTimeout = errors.New("tenant: took too long")
	// ErrQuota: the database or the server has no room left.
	ErrQuota = errors.New("tenant: quota exceeded")
	// ErrBusy: too much is queued for the database; try again later.
	ErrBusy = errors.New("tenant: busy")
	// ErrDiverged: the replica's and the server's histories contradict one
	// another in a way that the protocol has no answer for.
	ErrDiverged = errors.New("tenant: diverged")
	// ErrFailed: the disk has failed, and all must be opened anew. What was being
	// written may or may not be there then.
	ErrFailed = history.ErrFailed
	// ErrClosed: the server is shutting down.
	ErrClosed = errors.New("tenant: closed")
)

// FailedMessage tells a client of ErrFailed.
const FailedMessage = "the server's disk has failed, and it must be started again: try again when it is back; what was being written may or may not be kept"

// maxName is the longest name of a database, in bytes.
const maxName = 64

// ParseName checks the name of a database: 1 to 64 of a-z, 0-9, '-', '_' and
// '.', starting with a letter or a digit. Such a name is safe as a file name,
// in a URL and as a key of the history.
func ParseName(s string) (string, error) {
	if s == "" || len(s) > maxName {
		return "", fmt.Errorf("%w: %d bytes long, it must have 1 to %d", ErrBadName, len(s), maxName)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '-' || c == '_' || c == '.'):
		default:
			return "", fmt.Errorf("%w: %q, it must be of a-z, 0-9, '-', '_' and '.', and start with a letter or a digit", ErrBadName, s)
		}
	}
	return s, nil
}
