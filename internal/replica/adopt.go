package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
	"github.com/agentdb/agentdb/internal/wire"
)

// prepare makes a file ready: the first time it gives it an identity and
// takes what it holds for a change to be sent.
func (r *Replica) prepare(ctx context.Context) error {
	return r.locked(ctx, func(c *sqlite.Conn, k *change.Capture) error {
		if err := checkFormat(c); err != nil {
			return err
		}
		if err := c.Exec(fileSchema); err != nil {
			return err
		}
		s, err := readState(c)
		if errors.Is(err, errNotSynced) {
			s = &state{replica: newReplicaID(), mode: r.cfg.Mode}
			err = s.write(c)
		}
		if err != nil {
			return err
		}
		if s.mode != r.cfg.Mode {
			if err := r.changeMode(c, s); err != nil {
				return err
			}
		}
		err = r.adopt(c, k)
		if errors.Is(err, change.ErrForeign) {
			return nil // the next sync deals with it
		}
		return err
	})
}

// checkFormat refuses files whose pages can't be replaced by those of a server.
func checkFormat(c *sqlite.Conn) error {
	size, err := c.QueryInt("PRAGMA page_size")
	if err != nil {
		return err
	}
	if size != wire.PageSize {
		return fmt.Errorf("the file has pages of %d bytes, sync needs %d: without agentdb, run PRAGMA journal_mode=DELETE; PRAGMA page_size=%d; VACUUM", size, wire.PageSize, wire.PageSize)
	}
	encoding, err := c.QueryText("PRAGMA encoding")
	if err == nil && encoding != "UTF-8" {
		err = fmt.Errorf("the file's text is %s, sync needs UTF-8: copy it into a new file", encoding)
	}
	return err
}

// changeMode lets a file be opened in another mode. A file that only pushed
// lacks what others did, and starts from a snapshot.
func (r *Replica) changeMode(c *sqlite.Conn, s *state) error {
	if r.cfg.Mode == PullOnly {
		if last, _, err := lastPending(c); err != nil {
			return err
		} else if last > s.acked {
			return errors.New("the file has changes that were not sent: sync it in full or push mode before opening it in pull mode")
		}
	}
	if s.mode == PushOnly && (s.acked > 0 || s.base.Seq > 0) {
		return nil // it remains one that only pushed until the snapshot is there
	}
	s.mode = r.cfg.Mode
	return s.write(c)
}
