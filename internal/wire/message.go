package wire

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// Version is the protocol version that this package speaks.
const Version = 1

// ContentType is the media type of requests and answers.
const ContentType = "application/x-agentdb-sync"

// Errors of the decoders.
var (
	// ErrMalformed is returned for a message that is cut short, damaged or
	// not of this protocol.
	ErrMalformed = errors.New("wire: malformed message")
	// ErrVersion is returned for a message of another protocol version.
	ErrVersion = errors.New("wire: unsupported protocol version")
	// ErrTooLarge is returned for a message above the reader's limit.
	ErrTooLarge = errors.New("wire: message too large")
)

// ReplicaID names one replica: one file of one database, for as long as the
// file's history of pushes is its own.
type ReplicaID [16]byte

// String returns the id in hexadecimal.
func (id ReplicaID) String() string { return hex.EncodeToString(id[:]) }

// Revision is a point in a database's history on a server: the number of the
// commit and the first eight bytes of its hash. The zero Revision is the
// empty database before the first commit.
type Revision struct {
	Seq  uint64
	Hash [8]byte
}

// Mode says what a request wants besides having its changes applied.
type Mode uint8

// Bits of Mode.
const (
	// ModePull asks for the commits since Base.
	ModePull Mode = 1 << iota
	// ModeSnapshot asks for a snapshot whatever Base is.
	ModeSnapshot
	// ModeMoves asks only for what the commits since Base did to rows that
	// the client may refer to: which were deleted, and which got other ids.
	// The answer's commits have no values.
	ModeMoves
)

// Request is what a client sends: everything it has not had acknowledged, and
// where it stands.
type Request struct {
	Replica ReplicaID
	Mode    Mode
	Base    Revision // what the client's file equals, its pending changes undone
	First   uint64   // id of Changes[0]; ids follow one another from there
	Chain   uint64   // chain hash before First, see ChainNext
	Changes []Change
	Strict  *Strict
	WaitMS  uint32 // how long to wait for news if there are none, milliseconds
}

// Change is one captured transaction of a client.
type Change struct {
	Nonce   uint64 // random, chosen when the change was made
	Effects uint64 // hash of its effects on the client, see the change package
	Body    []byte // encoded intents, see the change package
}

// Strict is a transaction that counts only if it applies unchanged.
type Strict struct {
	Nonce [16]byte // random; a re-sent one is recognised by it
	Body  []byte
}

// Status is the outcome of a request as a whole.
type Status uint8

// The statuses.
const (
	// StatusOK: the changes were applied or recorded, and what follows
	// leads from Base to Head.
	StatusOK Status = iota
	// StatusFork: from change ForkAt on, the server knows other changes
	// under the same ids: the file is a copy. The client goes on from
	// ForkAt under a new replica id.
	StatusFork
	// StatusBehind: the server's history doesn't contain Base, or lacks
	// changes that it once acknowledged (it was restored to the past). Last
	// and LastChain say what it has; the client re-bases on a snapshot.
	StatusBehind
	// StatusSnapshot: a snapshot at Head follows instead of commits.
	StatusSnapshot
)

// Response is what a server answers.
type Response struct {
	Status    Status
	Head      Revision
	Last      uint64 // last change id of this replica that the server has
	LastChain uint64 // chain hash at Last
	ForkAt    uint64
	Results   []Result // of the request's changes that had anything to say
	Strict    StrictResult
	Commits   []Commit
	Pages     uint32 // StatusSnapshot: pages of 4096 bytes in the snapshot
}

// Result says what became of one change.
type Result struct {
	ID  uint64
	Ops []OpResult // only ops whose code is not OpApplied
}

// OpCode is the fate of one operation.
type OpCode uint8

// The operation codes.
const (
	OpApplied  OpCode = iota // as written
	OpNewID                  // an insert whose id was taken: NewID is the row's
	OpMerged                 // applied; a value of somebody else was overwritten and recorded
	OpRejected               // not applied; recorded as a conflict
	OpNoop                   // nothing to do, e.g. a delete of a deleted row
)

// OpResult is the fate of the intent with that index in its change.
type OpResult struct {
	Index uint32
	Code  OpCode
	NewID int64
}

// StrictResult says what became of a strict transaction.
type StrictResult struct {
	Code   StrictCode
	Reason string
}

// StrictCode is the fate of a strict transaction.
type StrictCode uint8

// The strict codes.
const (
	StrictNone     StrictCode = iota // the request had none
	StrictApplied                    // applied, unchanged
	StrictRejected                   // nothing of it was applied
)

// Commit is one commit of the server's history since the request's base.
type Commit struct {
	// OwnFirst and OwnLast, when not zero, say that the commit holds these
	// changes of the asking replica.
	OwnFirst, OwnLast uint64
	// Same says that the commit's effects are exactly those that the client
	// recorded for these changes; Body is then empty.
	Same bool
	// Strict is how many of the last events in Body are not those changes'
	// but the replica's strict transaction's, which was in the same request.
	Strict int
	Body   []byte // encoded effects, see the change package
}

// ChainNext returns the chain hash after a change with that nonce. Two files
// that share a replica id and then lived apart differ from the first change
// that they don't share.
func ChainNext(chain, nonce uint64) uint64 {
	// SplitMix64's finaliser over the running state; collisions need 2^32
	// changes under one id, and the nonce is random.
	z := chain ^ nonce + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// AppendRevision appends a revision: its number, and its hash unless zero.
func AppendRevision(b []byte, r Revision) []byte {
	b = binary.AppendUvarint(b, r.Seq)
	if r.Seq != 0 {
		b = append(b, r.Hash[:]...)
	}
	return b
}

// Revision reads a revision.
func (r *Reader) Revision() (v Revision) {
	if v.Seq = r.Uvarint(); v.Seq != 0 {
		copy(v.Hash[:], r.Raw(8))
	}
	return v
}
