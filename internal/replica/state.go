package replica

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// fileSchema is what a synced file holds beside the user's tables.
const fileSchema = `
CREATE TABLE IF NOT EXISTS agentdb_sync(
  id INTEGER PRIMARY KEY CHECK(id=1),
  version INTEGER NOT NULL,
  replica BLOB NOT NULL,
  base INTEGER NOT NULL,
  base_hash BLOB NOT NULL,
  acked INTEGER NOT NULL,
  acked_chain INTEGER NOT NULL,
  mode INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS agentdb_pending(
  id INTEGER PRIMARY KEY,
  nonce INTEGER NOT NULL,
  chain INTEGER NOT NULL,
  change BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS agentdb_schema(
  id INTEGER PRIMARY KEY CHECK(id=1),
  version INTEGER NOT NULL,
  objects TEXT NOT NULL
);
` + change.ConflictsSchema + ";"

// fileVersion is the version of fileSchema.
const fileVersion = 1

// state is the row of agentdb_sync.
type state struct {
	replica wire.ReplicaID
	base    wire.Revision // what the file equals, its pending changes undone
	acked   uint64        // the last change that the server acknowledged
	chain   uint64        // chain hash at acked
	mode    Mode
}

var errNotSynced = errors.New("the file is not a synced one")

// readState reads the file's state.
func readState(c *sqlite.Conn) (*state, error) {
	st, err := c.Cached("SELECT version, replica, base, base_hash, acked, acked_chain, mode FROM agentdb_sync")
	if err != nil {
		return nil, err
	}
	defer st.Done()
	row, err := st.Step()
	if err != nil {
		return nil, err
	}
	if !row {
		return nil, errNotSynced
	}
	if v := st.ColumnInt64(0); v != fileVersion {
		return nil, fmt.Errorf("the file's sync tables have version %d, this program knows %d: use the newer program", v, fileVersion)
	}
	s := &state{acked: uint64(st.ColumnInt64(4)), chain: uint64(st.ColumnInt64(5)), mode: Mode(st.ColumnInt64(6))}
	copy(s.replica[:], st.ColumnRaw(1))
	s.base.Seq = uint64(st.ColumnInt64(2))
	copy(s.base.Hash[:], st.ColumnRaw(3))
	return s, nil
}

// write stores the state.
func (s *state) write(c *sqlite.Conn) error {
	return c.ExecArgs("INSERT OR REPLACE INTO agentdb_sync(id,version,replica,base,base_hash,acked,acked_chain,mode) VALUES(1,?,?,?,?,?,?,?)",
		sqlite.Int(fileVersion), sqlite.Blob(s.replica[:]), sqlite.Int(int64(s.base.Seq)), sqlite.Blob(s.base.Hash[:]),
		sqlite.Int(int64(s.acked)), sqlite.Int(int64(s.chain)), sqlite.Int(int64(s.mode)))
}

// same reports whether nothing has moved the file since o was read.
func (s *state) same(o *state) bool {
	return s.replica == o.replica && s.base == o.base && s.acked == o.acked && s.chain == o.chain
}

func newReplicaID() (id wire.ReplicaID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

func newNonce() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// pending is a row of agentdb_pending.
type pending struct {
	id    uint64
	nonce uint64
	chain uint64
	blob  []byte
}

// readPending returns the changes after an id, up to about limit bytes; 0 is
// no limit. more says that there are others.
func readPending(c *sqlite.Conn, after uint64, limit int) (list []pending, more bool, err error) {
	st, err := c.Cached("SELECT id, nonce, chain, change FROM agentdb_pending WHERE id>? ORDER BY id")
	if err != nil {
		return nil, false, err
	}
	defer st.Done()
	if err := st.BindInt64(1, int64(after)); err != nil {
		return nil, false, err
	}
	size := 0
	for {
		row, err := st.Step()
		if err != nil || !row {
			return list, false, err
		}
		p := pending{
			id: uint64(st.ColumnInt64(0)), nonce: uint64(st.ColumnInt64(1)), chain: uint64(st.ColumnInt64(2)),
			blob: st.ColumnBlob(3),
		}
		if size += len(p.blob); limit > 0 && size > limit && len(list) > 0 {
			return list, true, nil
		}
		list = append(list, p)
	}
}

// readChain returns ids and chain hashes of the changes after an id.
func readChain(c *sqlite.Conn, after uint64) (list []pending, err error) {
	st, err := c.Cached("SELECT id, chain FROM agentdb_pending WHERE id>? ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer st.Done()
	if err := st.BindInt64(1, int64(after)); err != nil {
		return nil, err
	}
	for {
		row, err := st.Step()
		if err != nil || !row {
			return list, err
		}
		list = append(list, pending{id: uint64(st.ColumnInt64(0)), chain: uint64(st.ColumnInt64(1))})
	}
}

const insertPending = "INSERT INTO agentdb_pending(id,nonce,chain,change) VALUES(?,?,?,?)"

// put adds a change to the pending ones as it is.
func (p *pending) put(c *sqlite.Conn) error {
	return c.ExecArgs(insertPending, sqlite.Int(int64(p.id)), sqlite.Int(int64(p.nonce)), sqlite.Int(int64(p.chain)), sqlite.Blob(p.blob))
}

// store appends a captured change to the pending ones, in the transaction that
// made it.
func store(c *sqlite.Conn, ch *change.Change) error {
	last, chain, err := lastPending(c)
	if err != nil {
		return err
	}
	st, err := c.Cached(insertPending)
	if err != nil {
		return err
	}
	defer st.Done()
	nonce := newNonce()
	next := []uint64{last + 1, nonce, wire.ChainNext(chain, nonce)}
	for i, v := range next {
		if err := st.BindInt64(i+1, int64(v)); err != nil {
			return err
		}
	}
	encode := func(b []byte) []byte { return ch.Append(b, change.ViewFull) }
	if err := st.BindAppended(4, ch.Size(), encode); err != nil {
		return err
	}
	_, err = st.Step()
	return err
}

// lastPending returns the id and chain hash of the newest change.
func lastPending(c *sqlite.Conn) (id, chain uint64, err error) {
	st, err := c.Cached("SELECT id, chain FROM agentdb_pending ORDER BY id DESC LIMIT 1")
	if err != nil {
		return 0, 0, err
	}
	row, err := st.Step()
	if err == nil && row {
		id, chain = uint64(st.ColumnInt64(0)), uint64(st.ColumnInt64(1))
	}
	st.Done()
	if err != nil || row {
		return id, chain, err
	}
	s, err := readState(c)
	if err != nil {
		return 0, 0, err
	}
	return s.acked, s.chain, nil
}

// Bounds of the acknowledged changes that a file keeps, to send them again if
// the server loses them.
const (
	keepSent      = 256
	keepSentBytes = 4 << 20
)

// prune deletes acknowledged changes above the bounds, the oldest first.
func prune(c *sqlite.Conn, acked uint64) error {
	if acked <= 1 {
		return nil
	}
	st, err := c.Cached("SELECT id, length(change) FROM agentdb_pending WHERE id<=? ORDER BY id DESC LIMIT ?")
	if err != nil {
		return err
	}
	defer st.Done()
	if err := errors.Join(st.BindInt64(1, int64(acked)), st.BindInt64(2, keepSent+1)); err != nil {
		return err
	}
	n, size := 0, int64(0)
	for {
		row, err := st.Step()
		if err != nil || !row {
			return err
		}
		n++
		if size += st.ColumnInt64(1); n > keepSent || size > keepSentBytes && n > 1 {
			id := st.ColumnInt64(0)
			return c.ExecArgs("DELETE FROM agentdb_pending WHERE id<=?", sqlite.Int(id))
		}
	}
}
