package replica

import (
	"context"
	"errors"

	"github.com/agentdb/agentdb/internal/change"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// prepare makes a file ready: the first time it gives it an identity and
// takes what it holds for a change to be sent.
func (r *Replica) prepare(ctx context.Context) error {
	return r.locked(ctx, func(c *sqlite.Conn, k *change.Capture) error {
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
		return r.adopt(c, k)
	})
}

// changeMode lets a file be opened in another mode. A file that only pushed
// lacks what others did, and starts from a snapshot.
func (r *Replica) changeMode(c *sqlite.Conn, s *state) error {
	if s.mode == PushOnly {
		s.base.Seq = 0
		s.base.Hash = [8]byte{}
	}
	if r.cfg.Mode == PullOnly {
		if last, _, err := lastPending(c); err != nil {
			return err
		} else if last > s.acked {
			return errors.New("the file has changes that were not sent: sync it in full or push mode before opening it in pull mode")
		}
	}
	s.mode = r.cfg.Mode
	return s.write(c)
}

// adopt turns tables that no guard protects, because they were there before
// the file was synced or because another program made them, into a change.
func (r *Replica) adopt(c *sqlite.Conn, k *change.Capture) error {
	if err := k.Begin(); err != nil {
		return err
	}
	ch, err := k.Adopt()
	if err != nil || ch == nil {
		return err
	}
	if r.cfg.Mode == PullOnly {
		return errors.New("the file holds tables that did not come from the server: it can't be opened in pull mode")
	}
	r.cfg.Logger.Info("sync adopts the file's tables", "path", r.cfg.Path, "rows", ch.Rows())
	_, err = store(c, ch, nil)
	return err
}
