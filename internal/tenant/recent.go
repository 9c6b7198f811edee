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
	hash   history.Hash
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
}

// Bits of commitMeta's last byte.
const (
	metaSame   = 1 << 0
	metaStrict = 1 << 1 // the number of events follows
)

func (m commitMeta) append(b []byte) []byte {
	b = binary.AppendUvarint(b, m.first)
	b = binary.AppendUvarint(b, m.last)
	var f byte
	if m.same {
		f |= metaSame
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
	if m.same = f&metaSame != 0; f&metaStrict != 0 {
		m.strict = r.Uvarint()
	}
	if f&^(metaSame|metaStrict) != 0 || f&metaStrict != 0 && m.strict == 0 {
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

// Bounds of recentCommits.
const (
	maxRecent      = 256
	maxRecentBytes = 256 << 10
)

func (r *recentCommits) add(c stored) {
	r.list = append(r.list, c)
	r.bytes += len(c.body) + 64
	drop := 0
	for len(r.list)-drop > maxRecent || r.bytes > maxRecentBytes && len(r.list)-drop > 1 {
		r.bytes -= len(r.list[drop].body) + 64
		drop++
	}
	if drop > maxRecent/4 || drop > 0 && r.bytes > maxRecentBytes/2 {
		r.list = append([]stored(nil), r.list[drop:]...)
	} else {
		r.list = r.list[drop:]
	}
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
func (r *recentCommits) hash(seq uint64) (history.Hash, bool) {
	if len(r.list) == 0 || seq < r.list[0].seq || seq > r.list[len(r.list)-1].seq {
		return history.Hash{}, false
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
	return stored{seq: c.Seq, hash: c.Hash, author: c.Author, meta: meta, body: c.Change}, nil
}
