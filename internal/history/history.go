package history

import (
	"context"
	"encoding/hex"
	"errors"
	"iter"
	"math"
	"time"
)

// PageSize is the size of every page image in bytes.
const PageSize = 4096

// Latest as the revision of a read means the durable head.
const Latest = math.MaxUint64

// Errors to branch on; they come wrapped, use errors.Is.
var (
	// ErrNotFound: there is no database of that name.
	ErrNotFound = errors.New("database not found")
	// ErrExists: the name is taken.
	ErrExists = errors.New("database exists")
	// ErrConflict: the expected head of an Append is not the head.
	ErrConflict = errors.New("head has moved")
	// ErrHorizon: retention dropped what was asked for; send a snapshot instead.
	ErrHorizon = errors.New("below the retention horizon")
	// ErrNoRevision: the revision is beyond the head.
	ErrNoRevision = errors.New("no such revision")
	// ErrNoPage: the page is beyond the size of the database at that revision.
	ErrNoPage = errors.New("no such page")
	// ErrNoMeta: the metadata key has no value.
	ErrNoMeta = errors.New("no such metadata")
	// ErrAborted: an accepted write will never become durable. The head has
	// fallen back to the durable head: re-read it and drop what was derived from
	// the lost commits.
	ErrAborted = errors.New("commit aborted")
	// ErrCorrupt: stored data does not match its checksum or its hash.
	ErrCorrupt = errors.New("corrupt")
	// ErrInvalid: an argument breaks a documented limit.
	ErrInvalid = errors.New("invalid argument")
	// ErrFull: the disk has less room left than the reserve; reads still work.
	ErrFull = errors.New("disk full")
	// ErrFailed: the storage engine failed and the store must be reopened. Writes
	// that were in flight may or may not be there then; until then nothing is read.
	ErrFailed = errors.New("store failed")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("store closed")
)

// DBID names a database: 1 to 64 bytes, validated further by the caller.
type DBID string

// Hash identifies a revision and everything before it.
type Hash [32]byte

// String returns the hash in lower-case hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Head is a revision of a database. Comparisons use Seq and Hash.
type Head struct {
	Seq    uint64
	Hash   Hash
	DBSize uint32    // pages of PageSize bytes
	Time   time.Time // of the commit, in milliseconds, UTC
}

// Is reports whether both name the same revision.
func (h Head) Is(o Head) bool { return h.Seq == o.Seq && h.Hash == o.Hash }

// Page is one page image. Page numbers start at 1.
type Page struct {
	No   uint32
	Data []byte
}

// NewCommit is a commit to be appended. Append encodes it before it returns, so
// all its memory may be reused then.
type NewCommit struct {
	Time   time.Time // raised to the predecessor's time if below it
	Author string    // who made it, at most 255 bytes
	Change []byte    // opaque
	Meta   []byte    // opaque, for the commit's record
	Pages  []Page    // changed pages, in any order, each at most once
	DBSize uint32    // pages of the database after the commit

	// KV is written to the database's metadata with the commit, all or nothing;
	// nil values delete. The keys follow the rules of PutMeta.
	KV map[string][]byte
}

// Commit is one stored commit.
type Commit struct {
	Seq    uint64
	Time   time.Time
	Parent Hash
	Hash   Hash
	Author string
	Change []byte
	Meta   []byte
	Pages  []uint32 // numbers of the changed pages, ascending
	DBSize uint32
}

// Head returns the revision that the commit made.
func (c *Commit) Head() Head {
	return Head{Seq: c.Seq, Hash: c.Hash, DBSize: c.DBSize, Time: c.Time}
}

// Info is what Stat tells about a database.
type Info struct {
	Head      Head // last accepted
	Durable   Head // last durable
	Horizon   uint64
	Created   time.Time
	Parent    DBID   // name of the parent at the time of the fork, or ""
	ForkedAt  uint64 // revision of the parent
	InFlight  int    // accepted writes that are not durable yet
	MemoryHot bool   // whether the head was in memory
}

// Store keeps the histories of many databases. It is safe for concurrent use.
// The conformance suite is in historytest.
type Store interface {
	// Create makes an empty database at revision 0 and returns when that is
	// durable.
	Create(ctx context.Context, id DBID) error
	// Fork makes dst, which shares the history of src up to and including the
	// revision at (or Latest) and then goes its own way. It copies no pages and
	// no metadata. It can read at most what src can.
	Fork(ctx context.Context, src DBID, at uint64, dst DBID) error
	// Delete removes the database and its name. Later calls find nothing, and
	// the name is free. Storage is reclaimed in the background, but never what
	// a fork can still read.
	Delete(ctx context.Context, id DBID) error
	// List returns up to n names greater than after, ascending.
	List(ctx context.Context, after DBID, n int) ([]DBID, error)
	// Stat returns facts about a database.
	Stat(ctx context.Context, id DBID) (Info, error)

	// Head returns the last accepted revision: what the next Append must expect.
	Head(ctx context.Context, id DBID) (Head, error)
	// DurableHead returns the last durable revision.
	DurableHead(ctx context.Context, id DBID) (Head, error)
	// At returns the durable revision seq, for comparing hashes.
	At(ctx context.Context, id DBID, seq uint64) (Head, error)
	// AtTime returns the newest durable revision whose time is not after t;
	// ErrHorizon when that one is no longer kept.
	AtTime(ctx context.Context, id DBID, t time.Time) (Head, error)
	// WaitDurable returns when the accepted revision seq is durable. It fails
	// with ErrNoRevision when seq is beyond the head and with ErrAborted when
	// the head fell back while it waited.
	WaitDurable(ctx context.Context, id DBID, seq uint64) error

	// Append puts commits after the head expect (ErrConflict if it is not the
	// head). It returns as soon as they have their place; see Pending. When a
	// commit can't be made durable, it and all accepted after it are aborted.
	Append(ctx context.Context, id DBID, expect Head, commits ...*NewCommit) (*Pending, error)

	// Commits yields the durable commits with after < Seq <= upto, ascending,
	// and verifies their chain. ErrHorizon if after is below the horizon,
	// ErrNoRevision if it is beyond the durable head. A yielded commit is the
	// caller's.
	Commits(ctx context.Context, id DBID, after, upto uint64) iter.Seq2[*Commit, error]
	// Commit returns one durable commit; ErrHorizon unless it is above the
	// horizon.
	Commit(ctx context.Context, id DBID, seq uint64) (*Commit, error)
	// Page returns the image of page no at revision at. A page within the size
	// of the database that no commit wrote is all zeros; one that came back
	// after the database had shrunk, and was not written since, is unspecified.
	Page(ctx context.Context, id DBID, no uint32, at uint64) ([]byte, error)
	// Pages yields pages at revision at: those in only, which must ascend, or
	// with none given every page from 1 to the size of the database. Data is
	// valid until the next iteration.
	Pages(ctx context.Context, id DBID, at uint64, only ...uint32) iter.Seq2[Page, error]
	// ChangedPages returns the pages that the commits with after < Seq <= upto
	// wrote and that exist at upto, ascending.
	ChangedPages(ctx context.Context, id DBID, after, upto uint64) ([]uint32, error)

	// PutMeta sets a small value of the database and returns when it is
	// durable; nil deletes. Keys have 1 to 128 bytes. Metadata is not versioned.
	PutMeta(ctx context.Context, id DBID, key string, val []byte) error
	// GetMeta returns a value or ErrNoMeta. It sees all writes accepted before
	// the call, and waits until they are durable.
	GetMeta(ctx context.Context, id DBID, key string) ([]byte, error)
	// Metas yields the keys with a prefix that are not below from, and their
	// values, ascending, like GetMeta. Key and value are the caller's.
	Metas(ctx context.Context, id DBID, prefix, from string) iter.Seq2[Meta, error]

	// Retain drops what only revisions below horizon need. Those are refused
	// with ErrHorizon from then on. A horizon below the present one does
	// nothing; the present one again finishes what was interrupted and reclaims
	// what deleted forks needed. Forks keep the revision they were made from.
	Retain(ctx context.Context, id DBID, horizon uint64) error

	// Check makes a write that changes nothing, and returns when it is durable, or
	// nil if one was a moment ago. It finds out whether the disk has failed.
	Check(ctx context.Context) error

	// Close makes accepted commits durable, stops all goroutines and releases
	// the storage. It is safe to call twice.
	Close() error
}

// Meta is one metadata entry.
type Meta struct {
	Key   string
	Value []byte
}
