package replica

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// lostBase marks a file whose base the server does not have: it goes on from a
// snapshot.
var lostBase = wire.Revision{Seq: math.MaxInt64}

// forked handles the server's word that it knows other changes under the ids
// that the file uses: the file is a copy, or was restored from one. Changes
// before that point are settled first; from there on the file is a replica of
// its own.
func (x *exchange) forked(ctx context.Context, resp *wire.Response) (outcome, error) {
	if resp.ForkAt > x.s.acked+1 {
		x.o.upTo = resp.ForkAt - 1
		return again, nil
	}
	x.r.cfg.Logger.Warn("the file is a copy of another replica's; it gets an identity of its own", "path", x.r.cfg.Path)
	return again, x.move(ctx, func(c *sqlite.Conn, s *state) error { return x.newIdentity(c, s, s.acked) })
}

// move changes the file's state, unless it has moved meanwhile.
func (x *exchange) move(ctx context.Context, fn func(c *sqlite.Conn, s *state) error) error {
	return x.r.locked(ctx, func(c *sqlite.Conn, _ *change.Capture) error {
		s, err := readState(c)
		if err != nil {
			return err
		}
		if x.stale = !s.same(x.s); x.stale {
			return nil
		}
		if err := fn(c, s); err != nil {
			return err
		}
		return s.write(c)
	})
}

// newIdentity gives the file a new replica id, under which the changes after
// the given one are the first.
func (x *exchange) newIdentity(c *sqlite.Conn, s *state, after uint64) error {
	rows, _, err := readPending(c, after, 0)
	if err != nil {
		return err
	}
	if err := c.Exec("DELETE FROM agentdb_pending"); err != nil {
		return err
	}
	s.replica, s.acked, s.chain = newReplicaID(), 0, 0
	chain := uint64(0)
	for i, p := range rows {
		chain = wire.ChainNext(chain, p.nonce)
		p.id, p.chain = uint64(i+1), chain
		if err := p.put(c); err != nil {
			return err
		}
	}
	return nil
}

// behind handles the server's word that it lacks something that the file has
// from it: it was restored from a backup, or is another server. The file goes
// on from what the server has, and sends again what it lost.
func (x *exchange) behind(ctx context.Context, resp *wire.Response) (outcome, error) {
	err := x.move(ctx, func(c *sqlite.Conn, s *state) error {
		if x.o.pull {
			if s.base.Seq > 0 && s.base != lostBase {
				// What the file has of others, and of its own that it can't
				// send again, the server may lack for good.
				if err := x.keepCopy(errors.New("the server lacks what the file has from it")); err != nil {
					return err
				}
			}
			s.base = lostBase
		}
		if resp.Last >= s.acked {
			return nil // the server has all that was acknowledged, and another history
		}
		chain, found, err := chainAt(c, resp.Last)
		if err != nil {
			return err
		}
		first, err := c.QueryInt("SELECT coalesce(min(id),0) FROM agentdb_pending WHERE id>?", sqlite.Int(int64(resp.Last)))
		if err != nil {
			return err
		}
		n, err := c.QueryInt("SELECT count(*) FROM agentdb_pending WHERE id>? AND id<=?", sqlite.Int(int64(resp.Last)), sqlite.Int(int64(s.acked)))
		if err != nil {
			return err
		}
		x.rep.Resent += int(n)
		if lost := int64(s.acked-resp.Last) - n; lost > 0 {
			x.r.cfg.Logger.Error("the server lost transactions that the file does not keep any more", "path", x.r.cfg.Path, "transactions", lost)
		}
		x.r.cfg.Logger.Warn("the server lost transactions that it had acknowledged; they are sent again", "path", x.r.cfg.Path, "transactions", n)
		if err := fix(c, resp.Last, s.acked); err != nil {
			return err
		}
		if found && chain == resp.LastChain && (first == 0 || uint64(first) == resp.Last+1) {
			s.acked, s.chain = resp.Last, chain
			return nil
		}
		return x.newIdentity(c, s, resp.Last)
	})
	return again, err
}

// fix notes of changes that are sent again that they are in the file, though what
// they did to it is not kept.
func fix(c *sqlite.Conn, after, upTo uint64) error {
	list, _, err := load(c, after)
	if err != nil {
		return err
	}
	for _, my := range list {
		if my.id > upTo || !my.ch.Bare() {
			continue
		}
		if err := updatePending(c, my.id, my.ch.Fixed().Append(nil, change.ViewFull)); err != nil {
			return err
		}
	}
	return nil
}

// chainAt returns the chain hash at a change, if the file knows it.
func chainAt(c *sqlite.Conn, id uint64) (chain uint64, found bool, err error) {
	if id == 0 {
		return 0, true, nil
	}
	rows, _, err := readPending(c, id-1, 1)
	if err != nil || len(rows) == 0 || rows[0].id != id {
		return 0, false, err
	}
	return rows[0].chain, true, nil
}

// diverged handles a file that is not what its history says: another program
// wrote to it. A copy is kept, and the file goes on from a snapshot.
func (x *exchange) diverged(ctx context.Context, cause error) (outcome, error) {
	if !x.o.pull {
		return done, fmt.Errorf("%w: %w", ErrDiverged, cause)
	}
	unlock, err := x.r.cfg.Lock(ctx)
	if err != nil {
		return done, err
	}
	defer unlock()
	if err := x.keepCopy(cause); err != nil {
		return done, fmt.Errorf("%w: %w", ErrDiverged, err)
	}
	return snapshot, nil
}

// keepCopy keeps a copy of the file beside it, before it is taken back to the
// server's state. The process's lock is held.
func (x *exchange) keepCopy(cause error) error {
	path, err := x.r.copyFile("diverged")
	if err != nil {
		return fmt.Errorf("%w; and no copy could be made: %w", cause, err)
	}
	x.rep.Diverged = path
	x.r.cfg.Logger.Error("the file goes on from the server's state; a copy of it is kept", "path", x.r.cfg.Path, "copy", path, "err", cause)
	return nil
}

// copyFile copies the file to one beside it, and returns its path. The
// process's lock is held.
func (r *Replica) copyFile(why string) (path string, err error) {
	path = fmt.Sprintf("%s.%s-%s", r.cfg.Path, why, time.Now().UTC().Format("20060102T150405.000"))
	c, err := sqlite.Open(r.cfg.Path, sqlite.Options{NoCreate: true, BusyTimeout: 30 * time.Second})
	if err != nil {
		return "", err
	}
	err = c.ExecArgs("VACUUM INTO ?", sqlite.Text(path))
	if cerr := c.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(path)
		return "", err
	}
	return path, nil
}

// foreignSchema deals with a schema that another program changed: what is new
// is adopted, and a file of which something is gone or different has diverged.
func (x *exchange) foreignSchema(ctx context.Context) error {
	foreign, err := x.r.checkSchema(ctx)
	if err != nil || foreign == nil {
		return err
	}
	next, err := x.diverged(ctx, foreign)
	if err != nil {
		return err
	}
	x.o.snapshot = next == snapshot
	// From here on the schema is what it should be, and a snapshot is due,
	// whenever it can be had.
	return x.r.locked(ctx, func(c *sqlite.Conn, _ *change.Capture) error {
		s, err := readState(c)
		if err != nil {
			return err
		}
		s.base = lostBase
		return errors.Join(s.write(c), noteSchema(c))
	})
}
