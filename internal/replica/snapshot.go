package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// install applies an answer with a snapshot: the file's new content is the
// server's, with the pending changes redone.
func (x *exchange) install(ctx context.Context, a *answer) (next outcome, err error) {
	path := x.r.tempPath()
	defer removeTemp(path)
	before := a.count.n
	s := newSpool(a, path)
	defer func() {
		s.end(a)
		x.rep.BytesReceived += a.count.n - before
	}()
	err = errSlow
	if s.soon() {
		err = x.takeOver(ctx, s, a.Response)
	}
	if errors.Is(err, errSlow) {
		if err = s.wait(); err == nil {
			err = x.takeOver(ctx, s, a.Response)
		}
	}
	if err != nil && (ctx.Err() != nil || errors.Is(err, wire.ErrMalformed)) {
		return done, offline(ctx, err)
	}
	if err != nil || x.stale {
		return done, err
	}
	acked, _ := x.acked(a.Response)
	x.rep.Pulled += int(a.Pages)
	x.rep.Revision = a.Head.Seq
	x.count(a.Response, acked)
	return done, nil
}

// tempPath returns a new name for a snapshot's file: several syncs may receive
// one at the same time, in several processes. It removes what a crash left.
func (r *Replica) tempPath() string {
	dir, prefix := filepath.Dir(r.cfg.Path), filepath.Base(r.cfg.Path)+tempInfix
	entries, _ := os.ReadDir(dir) // without a list nothing is removed
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandonedAfter {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return filepath.Join(dir, fmt.Sprintf("%s%016x", prefix, newNonce()))
}

// tempInfix is between a file's path and what tells its temporary files apart.
const tempInfix = "-agentdb-snapshot-"

// abandonedAfter is the age of a snapshot's file that nobody writes any more.
const abandonedAfter = time.Hour

func removeTemp(path string) {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		_ = os.Remove(path + suffix)
	}
}

// copyCacheKB bounds the memory that taking over a snapshot uses, in KiB.
const copyCacheKB = 128 << 10

// takeOver replaces the file's content, in one transaction.
func (x *exchange) takeOver(ctx context.Context, s *spool, resp *wire.Response) error {
	unlock, err := x.r.cfg.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for skip := (skips{}); ; {
		err := x.replace(s, resp, skip)
		if !errors.Is(err, change.ErrRolledBack) {
			return err
		}
	}
}

// replace holds the file's lock all the while, with a connection that nobody
// else uses: what it knows of the content that it replaces is of no use after.
func (x *exchange) replace(s *spool, resp *wire.Response, skip skips) (err error) {
	w, err := sqlite.Open(x.r.cfg.Path, sqlite.Options{
		Synchronous: x.r.cfg.Synchronous, BusyTimeout: 30 * time.Second, NoCheckpoint: true,
		CacheKB: min(int(resp.Pages)*(wire.PageSize/1024)+4096, copyCacheKB), // pages that don't fit are written twice
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return transact(w, func() (err error) {
		old, err := x.look(resp)
		if err != nil || x.stale {
			return err
		}
		defer func() { err = errors.Join(err, old.conn.Close()) }()
		g, err := newGraft(w, old.conn, resp.Pages, x.r.cfg.Synchronous != "OFF")
		if err != nil {
			return err
		}
		if g == nil {
			return x.replaceAside(w, old, s, resp, skip)
		}
		if err = g.run(s); err == nil {
			err = x.complete(w, old, resp, skip)
		}
		if err = errors.Join(err, g.end()); err != nil {
			err = errors.Join(err, g.undo())
		}
		return err
	})
}

// own is what a file has of its own, beside what comes from the server.
type own struct {
	conn *sqlite.Conn // reads the file as it was
	to   state        // the file's next
	rows []pending
}

// look reads it. It sets stale if the file has moved.
func (x *exchange) look(resp *wire.Response) (o *own, err error) {
	c, err := sqlite.Open(x.r.cfg.Path, sqlite.Options{NoCreate: true, BusyTimeout: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil || x.stale {
			err = errors.Join(err, c.Close())
		}
	}()
	cur, err := readState(c)
	if err != nil {
		return nil, err
	}
	noted, err := schemaNoted(c)
	if x.stale = !noted || !cur.same(x.s); x.stale || err != nil {
		return nil, err
	}
	o = &own{conn: c, to: *cur}
	if o.rows, _, err = readPending(c, 0, 0); err != nil {
		return nil, err
	}
	if x.have, err = readChain(c, cur.acked); err != nil {
		return nil, err
	}
	o.to.base, o.to.mode = resp.Head, x.r.cfg.Mode
	o.to.acked, o.to.chain = x.acked(resp)
	return o, nil
}

// complete adds to the server's content what the file has of its own: its
// state, what is pending, redone, and its guards. c is in a transaction.
func (x *exchange) complete(c *sqlite.Conn, old *own, resp *wire.Response, skip skips) error {
	k, err := change.Attach(c, change.Options{Guard: true})
	if err != nil {
		return err
	}
	if err := x.finish(c, k, &old.to, old.rows, resp, skip); err != nil {
		return err
	}
	if err := outdate(c, old.conn); err != nil {
		return err
	}
	return noteSchema(c)
}

// replaceAside builds the new content in a file beside it, and copies that.
func (x *exchange) replaceAside(w *sqlite.Conn, old *own, s *spool, resp *wire.Response, skip skips) error {
	path := x.r.tempPath()
	defer removeTemp(path)
	if err := unpackFile(s, path); err != nil {
		return err
	}
	if err := x.build(path, old, resp, skip); err != nil {
		return err
	}
	return copyPages(path, w)
}

// unpackFile writes the pages of a snapshot into a new file.
func unpackFile(s *spool, path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return s.unpack(patience, func(first uint32, data []byte) error {
		_, err := f.WriteAt(data, int64(first-1)*wire.PageSize)
		return err
	})
}

func (x *exchange) build(path string, old *own, resp *wire.Response, skip skips) (err error) {
	c, err := sqlite.Open(path, sqlite.Options{Synchronous: "OFF"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := transact(c, func() error { return x.complete(c, old, resp, skip) }); err != nil {
		return err
	}
	_, _, err = c.Checkpoint(sqlite.CheckpointTruncate)
	return err
}

// outdate gives the new content a schema version that the file never had, so
// that every open connection reads the schema again.
func outdate(c, old *sqlite.Conn) error {
	was, err := old.QueryInt("PRAGMA schema_version")
	if err != nil {
		return err
	}
	now, err := c.QueryInt("PRAGMA schema_version")
	if err != nil {
		return err
	}
	return c.Exec(fmt.Sprintf("PRAGMA schema_version=%d", max(was, now)+1))
}

// finish is build's transaction on the new file.
func (x *exchange) finish(c *sqlite.Conn, k *change.Capture, to *state, rows []pending, resp *wire.Response, skip skips) error {
	if err := c.Exec("DROP TABLE IF EXISTS agentdb_sync; DROP TABLE IF EXISTS agentdb_pending; DROP TABLE IF EXISTS agentdb_schema;DROP TABLE IF EXISTS " + change.TursoMarks + ";" + fileSchema); err != nil {
		return err
	}
	if err := to.write(c); err != nil {
		return err
	}
	for _, p := range rows {
		if err := p.put(c); err != nil {
			return err
		}
	}
	if err := k.Begin(); err != nil {
		return err
	}
	if err := k.Guard(); err != nil {
		return err
	}
	list, _, err := load(c, x.s.acked)
	if err != nil {
		return err
	}
	x.dropsAny(to.acked)
	e := change.NewExecutor(k)
	if err := x.tell(e, list, resp, to.acked); err != nil {
		return err
	}
	x.seed(e, list, resp, to.acked)
	if err := x.keep(c, e, list, resp, to.acked); err != nil {
		return err
	}
	if err := x.redo(c, k, e, list, to.acked, skip); err != nil {
		return err
	}
	return prune(c, to.acked)
}

// tell tells the executor about the commits that come with a snapshot.
func (x *exchange) tell(e *change.Executor, list []mine, resp *wire.Response, acked uint64) error {
	var dec change.Decoder
	for i := range resp.Commits {
		w := &resp.Commits[i]
		own := w.OwnFirst > x.s.acked && w.OwnLast <= acked
		for id := w.OwnFirst; w.Same && own && id <= w.OwnLast; id++ {
			e.Own(list[id-x.s.acked-1].ch, id)
		}
		if len(w.Body) == 0 {
			continue
		}
		ch, err := dec.Decode(w.Body)
		if err != nil {
			return err
		}
		if own {
			e.Own(ch, w.OwnLast)
		} else {
			e.Foreign(ch)
		}
	}
	return nil
}

// copyPages replaces the content of a database, within the transaction that w
// is in, by that of the file at path. Page 1 goes last: it says how to read the
// others.
func copyPages(path string, w *sqlite.Conn) (err error) {
	c, err := sqlite.Open(path, sqlite.Options{NoCreate: true, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	put, _, err := w.Prepare("INSERT INTO sqlite_dbpage(pgno,data) VALUES(?,?)")
	if err != nil {
		return err
	}
	defer put.Finalize()
	get, _, err := c.Prepare("SELECT pgno, data FROM sqlite_dbpage ORDER BY pgno")
	if err != nil {
		return err
	}
	defer get.Finalize()
	write := func(no int64, data []byte) error { return putPage(put, no, data) }
	var first []byte
	last := int64(0)
	for {
		row, err := get.Step()
		if err != nil {
			return err
		}
		if !row {
			break
		}
		last = get.ColumnInt64(0)
		if last == 1 {
			first = get.ColumnBlob(1)
			continue
		}
		if err := write(last, get.ColumnRaw(1)); err != nil {
			return err
		}
	}
	size, err := w.QueryInt("PRAGMA page_count")
	if err != nil {
		return err
	}
	if size > last {
		if err := write(last+1, nil); err != nil {
			return err
		}
	}
	return write(1, first)
}

// putPage writes a page; nil data cuts the database off before it.
func putPage(put *sqlite.Stmt, no int64, data []byte) error {
	if err := put.Reset(); err != nil {
		return err
	}
	if err := put.BindInt64(1, no); err != nil {
		return err
	}
	err := put.BindNull(2)
	if data != nil {
		err = put.BindBlob(2, data)
	}
	if err != nil {
		return err
	}
	_, err = put.Step()
	return err
}
