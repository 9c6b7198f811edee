package tenant

import (
	"context"
	"errors"
	"syscall"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// Suspect returns err, unless it is one of reading or writing a file and the
// history can't be written any more: then it returns ErrFailed. A cached file may
// be the first to meet a broken disk, and what is said to its client then should
// not depend on that.
func (m *Manager) Suspect(ctx context.Context, err error) error {
	var no syscall.Errno
	if !sqlite.IsIO(err) && !errors.As(err, &no) {
		return err
	}
	if failed := m.cfg.Store.Check(context.WithoutCancel(ctx)); errors.Is(failed, ErrFailed) {
		return failed
	}
	return err
}
