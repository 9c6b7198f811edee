package replica

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// graft puts the server's content into a file that is smaller: pages beyond the
// file's end are written there at once, where nobody looks before a transaction
// says that the file is longer. That transaction, in the WAL, has only the
// pages that there are already. It also brings the last one, which makes SQLite
// see the new size.
//
// Nobody may cut the file off meanwhile, as a checkpoint does: the WAL has been
// copied as a whole before, and the write lock keeps it from growing.
type graft struct {
	w      *sqlite.Conn
	file   *sqlite.File
	pages  uint32 // of the new content
	kept   uint32 // of the file; these go through the WAL
	size   int64  // of the file, in bytes
	schema uint32 // the file's schema version
	syncer *syncer
	head   [][]byte // the new content of the first pages
	last   []byte
}

// maxKept bounds the pages that go through the WAL: they are kept in memory.
const maxKept = 2048

// newGraft returns nil if a graft is not possible. w is in a transaction that
// has written nothing, and old is another connection to the same file.
func newGraft(w, old *sqlite.Conn, pages uint32, sync bool) (*graft, error) {
	kept, err := old.QueryInt("PRAGMA page_count")
	if err != nil || kept == 0 || kept > maxKept || kept >= int64(pages) {
		return nil, err
	}
	schema, err := old.QueryInt("PRAGMA schema_version")
	if err != nil {
		return nil, err
	}
	frames, copied, err := old.Checkpoint(sqlite.CheckpointPassive)
	if sqlite.IsBusy(err) || err == nil && (frames < 0 || copied != frames) {
		return nil, nil // somebody reads an older state
	}
	if err != nil {
		return nil, err
	}
	g := &graft{w: w, pages: pages, kept: uint32(kept), schema: uint32(schema)}
	if g.file, err = w.File(); err != nil {
		return nil, err
	}
	if g.size, err = g.file.Size(); err != nil {
		return nil, err
	}
	g.file.Reserve(kept*wire.PageSize, int64(pages)*wire.PageSize)
	g.syncer = newSyncer(g.file, sync)
	return g, nil
}

// run puts the content of a snapshot in place. It is durable after end.
func (g *graft) run(from *spool) error {
	g.head = make([][]byte, g.kept)
	if err := from.unpack(patience, g.place); err != nil {
		return err
	}
	g.syncer.finish()
	if err := fitHeader(g.head[0], g.pages, g.schema); err != nil {
		return err
	}
	if err := g.put(); err != nil {
		return err
	}
	return g.forget()
}

// lockPage holds the bytes that SQLite locks: it is never written.
const lockPage = 1<<30/wire.PageSize + 1

// place puts consecutive pages in place; several may be on their way at a time.
func (g *graft) place(first uint32, data []byte) error {
	s := g.syncer
	end := first + uint32(len(data)/wire.PageSize) // the page after
	for no := first; no < end && no <= g.kept; no++ {
		g.head[no-1] = append([]byte(nil), page(data, no-first)...)
	}
	if end == g.pages+1 {
		g.last = append([]byte(nil), page(data, g.pages-first)...)
	}
	if end <= g.kept+1 {
		return nil
	}
	from := max(first, g.kept+1)
	if from <= lockPage && lockPage < end {
		if err := s.write(data[(from-first)*wire.PageSize:(lockPage-first)*wire.PageSize], from); err != nil {
			return err
		}
		from = lockPage + 1
	}
	return s.write(data[(from-first)*wire.PageSize:], from)
}

func page(data []byte, i uint32) []byte {
	return data[i*wire.PageSize:][:wire.PageSize:wire.PageSize]
}

// Where the header of a database has what; see https://www.sqlite.org/fileformat2.html
const (
	headerFormat   = 18 // two bytes: 2 is WAL
	headerReserved = 20 // bytes at the end of each page
	headerCounter  = 24
	headerPages    = 28
	headerSchema   = 40 // the schema's version
	headerVacuum   = 52 // not 0 if the file vacuums itself
	headerEncoding = 56 // of text: 1 is UTF-8
	headerValidFor = 92 // the counter that the number of pages is valid for
)

// fitHeader makes the first page say how many pages there are, and that the
// file has a WAL. The schema's version remains the file's: a connection that
// sees another one reads the schema at once, which is too early.
func fitHeader(b []byte, pages, schema uint32) error {
	if string(b[:16]) != "SQLite format 3\x00" || binary.BigEndian.Uint16(b[16:]) != wire.PageSize || b[headerReserved] != 0 ||
		binary.BigEndian.Uint32(b[headerVacuum:]) != 0 || binary.BigEndian.Uint32(b[headerEncoding:]) > 1 {
		return fmt.Errorf("%w: a snapshot of no database, or of one that is not like a replica's", wire.ErrMalformed)
	}
	b[headerFormat], b[headerFormat+1] = 2, 2
	binary.BigEndian.PutUint32(b[headerPages:], pages)
	binary.BigEndian.PutUint32(b[headerSchema:], schema)
	copy(b[headerValidFor:], b[headerCounter:headerCounter+4])
	return nil
}

// put writes the pages that go through the WAL, the first one last: it says how
// to read the others.
func (g *graft) put() error {
	put, _, err := g.w.Prepare("INSERT INTO sqlite_dbpage(pgno,data) VALUES(?,?)")
	if err != nil {
		return err
	}
	defer put.Finalize()
	if err := putPage(put, int64(g.pages), g.last); err != nil {
		return err
	}
	for i := len(g.head) - 1; i >= 0; i-- {
		if err := putPage(put, int64(i+1), g.head[i]); err != nil {
			return err
		}
	}
	return nil
}

// forget makes the connection forget what it knows of the pages that were
// replaced. SQLite reads a page's structure anew when a rollback restores it:
// so they are written once more, which is rolled back.
func (g *graft) forget() error {
	if err := g.w.Exec("SAVEPOINT agentdb_graft"); err != nil {
		return err
	}
	if err := g.put(); err != nil {
		return err
	}
	if err := g.w.Exec("ROLLBACK TO agentdb_graft; RELEASE agentdb_graft; PRAGMA writable_schema=RESET"); err != nil {
		return err
	}
	n, err := g.w.QueryInt("PRAGMA page_count")
	if err == nil && n != int64(g.pages) {
		err = fmt.Errorf("the file has %d pages after a snapshot of %d", n, g.pages)
	}
	return err
}

// end returns when what was written is durable. Nothing may be written then.
func (g *graft) end() error { return g.syncer.end() }

// undo gives the file its old size, before the transaction is rolled back. Once
// a COMMIT was tried, also in vain, the pages must stay: the WAL may have it.
func (g *graft) undo() error { return g.file.Truncate(g.size) }

// syncer writes to a file and begins early to make that durable.
type syncer struct {
	file  *sqlite.File
	sync  bool
	wake  chan struct{} // there is something to sync
	whole bool          // all is written; then wake is closed
	ended chan error

	mu    sync.Mutex // held by who writes: the system lets one in at a time
	since int        // bytes written since the last wake
}

// Bytes that are written before they are sent to the disk, and, where that can't
// be without waiting, how many times as many before they are synced.
const (
	startEvery = 2 << 20
	syncEvery  = 4
)

func newSyncer(f *sqlite.File, sync bool) *syncer {
	s := &syncer{file: f, sync: sync, wake: make(chan struct{}, 1), ended: make(chan error, 1)}
	go func() { s.ended <- s.run() }()
	return s
}

func (s *syncer) run() (err error) {
	for n := 1; ; n++ {
		if _, more := <-s.wake; !more {
			break
		}
		if err == nil && !s.file.StartSync() && n%syncEvery == 0 {
			err = s.file.Sync()
		}
	}
	if err == nil && s.whole && s.sync {
		err = s.file.Sync()
	}
	return err
}

func (s *syncer) write(data []byte, first uint32) error {
	if len(data) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.file.WriteAt(data, int64(first-1)*wire.PageSize); err != nil {
		return err
	}
	if s.since += len(data); s.since < startEvery || !s.sync {
		return nil
	}
	s.since = 0
	select {
	case s.wake <- struct{}{}:
	default: // that sync is yet to begin
	}
	return nil
}

// finish makes what has been written durable, in the background. Nothing may be
// written then.
func (s *syncer) finish() {
	s.whole = true
	close(s.wake)
}

// end returns when what was written is durable, if it is whole.
func (s *syncer) end() error {
	if !s.whole {
		close(s.wake)
	}
	return <-s.ended
}
