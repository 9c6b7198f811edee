package turso

import (
	"encoding/binary"
	"fmt"
)

// Stamp says which state a file of a client is in, and which it was in before.
//
// Clients count their pulls in their row of MarkTable, and send that count with
// every push: nothing else of a push depends on what was pulled. So the server
// gives that table triggers, which put a stamp in the place of the count. They
// make it of the row without a client, which every answer with pages has anew.
type Stamp struct {
	Seq   uint64 // the revision that was pulled
	Check byte   // the first byte of its hash
	// Back is how many revisions before Seq the oldest of the changes were made
	// that the client ran again after the pull; MaxBack if that is not known.
	Back uint64
	// Again says that these were run again before, so that some may be made
	// later than others.
	Again bool
	// Replayed is how many changes these are, or fewer.
	Replayed uint64
}

// Bounds of a stamp's parts.
const (
	MaxBack     = 1<<12 - 1
	maxReplayed = 1<<12 - 1
	maxSeq      = 1<<30 - 1
)

// Int returns the stamp as the number that the server sends: of the file's part
// nothing is in it. It is false for revisions that are too high for it.
func (s Stamp) Int() (int64, bool) {
	return int64(s.Seq<<33 | uint64(s.Check)<<25), s.Seq > 0 && s.Seq <= maxSeq
}

// ParseStamp returns the stamp that a push's count of pulls is, if it is one.
func ParseStamp(gen uint64) (Stamp, bool) {
	return Stamp{Seq: gen >> 33, Check: byte(gen >> 25), Back: gen >> 12 & MaxBack, Again: gen>>24&1 > 0, Replayed: gen & maxReplayed}, gen>>33 > 0
}

// StampRow is the rowid of the row without a client: it is the first.
const StampRow = "-1"

// StampSchema makes MarkTable, and lets it stamp. The number in the row without
// a client has eight bytes, and means that there is no stamp.
var StampSchema = func() string {
	const (
		stamp  = "(SELECT pull_gen FROM " + MarkTable + " WHERE client_id='')"
		begin  = " WHEN NEW.client_id<>'' AND " + stamp + ">0 BEGIN UPDATE " + MarkTable + " SET pull_gen=(SELECT "
		end    = " FROM " + MarkTable + " AS s WHERE s.client_id='') WHERE client_id=NEW.client_id; END;"
		before = "(NEW.pull_gen-1)"
		since  = "((s.pull_gen>>33)-(" + before + ">>33))"
		older  = "((" + before + ">>12)&4095)" // its way back
		// The client tells how many changes it has run again, but that may be 0
		// if there are deletes among them. Without any, this is the third row
		// that its connection changes.
		count = "max(min(NEW.change_id,4095),total_changes()>3)"
	)
	// What the client ran again before, and has not pushed since, is older than
	// what it had pulled then. A number below 1<<33 is no stamp: of a file that
	// had pulled, it is not known whether it ran something again then.
	fresh := func(pushed string) string {
		return "s.pull_gen|((CASE WHEN " + before + "=0 THEN 4095 WHEN " + before + "<8589934592 OR " + since + "<0 THEN 8191 WHEN (" + before + "&4095)>0 AND NOT " + pushed +
			" THEN 4096+min(4095," + since + "+" + older + ") ELSE min(4095," + since + ") END)<<12)|" + count
	}
	return "CREATE TABLE IF NOT EXISTS " + MarkTable + " (client_id TEXT PRIMARY KEY, pull_gen INTEGER, change_id INTEGER);" +
		"INSERT OR REPLACE INTO " + MarkTable + "(rowid,client_id,pull_gen,change_id) VALUES(" + StampRow + ",'',-(1<<62),0);" +
		"CREATE TRIGGER IF NOT EXISTS turso_sync_stamp_insert AFTER INSERT ON " + MarkTable + begin + fresh("0") + end +
		"CREATE TRIGGER IF NOT EXISTS turso_sync_stamp_update AFTER UPDATE OF change_id ON " + MarkTable + begin +
		"CASE WHEN (OLD.pull_gen>>25)=(s.pull_gen>>25) THEN ((OLD.pull_gen>>12)<<12)|" + count + " ELSE " + fresh("(OLD.pull_gen="+before+")") + " END" + end
}()

// StampAt returns where in the database the number is that stamps are made of,
// as a page and an offset; ok is false if there is none. root is MarkTable's.
func (m *Image) StampAt(root uint32) (page uint32, off int, ok bool, err error) {
	for range maxDepth {
		n, err := m.node(root)
		if err != nil {
			return 0, 0, false, err
		}
		if n.cells == 0 {
			return 0, 0, false, nil
		}
		if !n.leaf {
			if root, err = n.child(0); err != nil {
				return 0, 0, false, err
			}
			continue
		}
		c, err := n.cell(0)
		if err != nil || c.rowid != -1 || len(c.local) < 12 || c.local[1] != 13 || c.local[2] != 6 {
			return 0, 0, false, err
		}
		at := int(binary.BigEndian.Uint16(n.page[n.off+8:]))
		_, k, _ := varint(n.page[at:])
		_, l, _ := varint(n.page[at+k:])
		return root, at + k + l + int(c.local[0]), true, nil
	}
	return 0, 0, false, fmt.Errorf("%w: a tree too deep", ErrCorrupt)
}

// PutStamp replaces the number at an offset of a page.
func PutStamp(page []byte, off int, n int64) { binary.BigEndian.PutUint64(page[off:], uint64(n)) }
