package tenant

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/wire"
)

// stored is a commit as pulls need it.
type stored struct {
	seq    uint64
	hash   [8]byte // of the commit, as the protocol has it
	author string
	meta   commitMeta
	body   []byte // encoded effects
	// still says that the effects delete and move no row: references that
	// pushes with an older base make can't be affected.
	still bool
}

// commitMeta is what a commit says about the changes in it.
type commitMeta struct {
	first, last uint64 // the replica's changes; 0 if there are none
	same        bool   // the effects are those that the replica had
	strict      uint64 // the last events are so many of a strict transaction
	whole       bool   // the commit is pages alone, which took the place of all rows
}

// Bits of commitMeta's last byte.
const (
	metaSame   = 1 << 0
	metaStrict = 1 << 1 // the number of events follows
	metaWhole  = 1 << 2
)

func (m commitMeta) append(b []byte) []byte {
	b = binary.AppendUvarint(b, m.first)
	b = binary.AppendUvarint(b, m.last)
	var f byte
	if m.same {
		f |= metaSame
	}
	if m.whole {
		f |= metaWhole
	}
	if m.strict == 0 {
		return append(b, f)
	}
	return binary.AppendUvarint(append(b, f|metaStrict), m.strict)
}

func decodeMeta(b []byte) (m commitMeta, err error) {
	if len(b) == 0 {
		return m, nil
	}
	r := wire.NewReader(b)
	m.first, m.last = r.Uvarint(), r.Uvarint()
	f := r.Byte()
	m.whole = f&metaWhole != 0
	if m.same = f&metaSame != 0; f&metaStrict != 0 {
		m.strict = r.Uvarint()
	}
	if f&^(metaSame|metaStrict|metaWhole) != 0 || f&metaStrict != 0 && m.strict == 0 {
		r.Fail("bad flags %#x", f)
	}
	return m, r.End()
}

// recentCommits keeps the newest commits in memory, for the pushes and pulls
// of replicas that are nearly up to date.
type recentCommits struct {
	list  []stored
	bytes int
}

// Bounds of recentCommits: of one database, and of all of them together. Those
// that hold more than their share give it up with their next commit.
const (
	maxRecent      = 256
	maxRecentBytes = 256 << 10
	minRecentBytes = 40 << 10
	allRecentBytes = 8 << 20
	storedBytes    = 128 // of a commit, beside its body
)

// recentLimit is how many bytes of commits a database may keep while so many
// are open, and those of all have total bytes.
func recentLimit(total int64, open int) int {
	if total < allRecentBytes {
		return maxRecentBytes
	}
	return max(minRecentBytes, min(maxRecentBytes, allRecentBytes/max(open, 1)))
}

// add adds the newest commit and drops the oldest ones above the limit, in
// bytes. It returns by how much the bytes have changed.
func (r *recentCommits) add(c stored, limit int) int {
	if cap(c.body) > len(c.body)+len(c.body)/8 {
		c.body = append(make([]byte, 0, len(c.body)), c.body...)
	}
	before := r.bytes
	r.bytes += len(c.body) + storedBytes
	drop := 0
	for drop < len(r.list) && (len(r.list)+1-drop > maxRecent || r.bytes > limit) {
		r.bytes -= len(r.list[drop].body) + storedBytes
		drop++
	}
	// Others may still be looking at the array: nothing in it is overwritten.
	if kept := r.list[drop:]; len(kept) == cap(kept) || drop > maxRecent/4 {
		r.list = append(make([]stored, 0, len(kept)+len(kept)/4+8), kept...)
	} else {
		r.list = kept
	}
	r.list = append(r.list, c)
	return r.bytes - before
}

// since returns the commits after seq, if all of them are here. head is the
// newest there is.
func (r *recentCommits) since(seq, head uint64) ([]stored, bool) {
	if seq == head {
		return nil, true
	}
	if len(r.list) == 0 || r.list[0].seq > seq+1 {
		return nil, false
	}
	i := int(seq + 1 - r.list[0].seq)
	if i > len(r.list) {
		return nil, false
	}
	return r.list[i:], true
}

// hash returns the hash of a commit, if it is here.
func (r *recentCommits) hash(seq uint64) ([8]byte, bool) {
	if len(r.list) == 0 || seq < r.list[0].seq || seq > r.list[len(r.list)-1].seq {
		return [8]byte{}, false
	}
	return r.list[seq-r.list[0].seq].hash, true
}

// revision is a head as the protocol names it.
func revision(h history.Head) wire.Revision {
	v := wire.Revision{Seq: h.Seq}
	if h.Seq != 0 {
		copy(v.Hash[:], h.Hash[:8])
	}
	return v
}

// author is a replica as the history names it.
func author(id wire.ReplicaID) string { return hex.EncodeToString(id[:]) }

// fromHistory turns a stored commit into what pulls need.
func fromHistory(c *history.Commit) (stored, error) {
	meta, err := decodeMeta(c.Meta)
	if err != nil {
		return stored{}, fmt.Errorf("tenant: commit %d: %w", c.Seq, err)
	}
	return stored{seq: c.Seq, hash: [8]byte(c.Hash[:]), author: c.Author, meta: meta, body: c.Change}, nil
}
