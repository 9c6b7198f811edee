package tenant

import (
	"context"

	"github.com/agentdb/agentdb/internal/sqlite"
)

func logic(message string) error {
	return &sqlite.Error{Code: sqlite.CodeError, Message: message, Offset: -1}
}

// control runs a statement that begins or ends a transaction or a savepoint.
func (s *Session) control(ctx context.Context, p *query) error {
	switch p.control {
	case "BEGIN":
		if s.tx {
			return logic("cannot start a transaction within a transaction")
		}
		return s.beginShared(readsOnly(p.st.SQL()))
	case "COMMIT":
		if !s.tx {
			return logic("cannot commit - no transaction is active")
		}
		return s.commit(ctx)
	case "ROLLBACK":
		if !s.tx {
			return logic("cannot rollback - no transaction is active")
		}
		s.rollback()
		return nil
	case "SAVEPOINT":
		return s.save(p)
	case "RELEASE":
		return s.releaseTo(ctx, p)
	default:
		return s.rollbackTo(p)
	}
}

// beginShared begins a transaction that may last: readers shall not have to wait
// for it, nor anybody for one that only reads.
func (s *Session) beginShared(readsOnly bool) error {
	s.d.share()
	if s.d.failed.Load() {
		return ErrBusy
	}
	if readsOnly || !s.cfg.Write {
		return errReader
	}
	if err := s.settings(); err != nil {
		return err
	}
	return s.begin()
}

// savepoint runs the statement itself.
func (s *Session) savepoint(p *query) error {
	_, err := p.st.Step()
	_ = p.st.Reset()
	s.lostBy(err)
	return err
}

func (s *Session) save(p *query) error {
	outer := !s.tx
	if outer {
		if err := s.begin(); err != nil {
			return err
		}
	}
	if err := s.savepoint(p); err != nil {
		if outer && s.tx {
			s.rollback()
		}
		return err
	}
	s.outer = s.outer || outer
	s.marks = append(s.marks, p.name)
	s.d.cap.Savepoint(p.name)
	return nil
}

// releaseTo forgets a savepoint and those inside it. With the last of a
// transaction that a SAVEPOINT began, it commits.
func (s *Session) releaseTo(ctx context.Context, p *query) error {
	i := s.mark(p.name)
	if i == 0 && s.outer {
		return s.commit(ctx)
	}
	if err := s.savepoint(p); err != nil {
		return err
	}
	if i >= 0 {
		s.d.cap.Release(s.marks[i])
		s.marks = s.marks[:i]
	}
	return nil
}

// rollbackTo asks the capture first: what it refuses must not have happened.
func (s *Session) rollbackTo(p *query) error {
	i := s.mark(p.name)
	if i >= 0 {
		if err := s.d.cap.CheckRollbackTo(s.marks[i]); err != nil {
			return err
		}
	}
	if err := s.savepoint(p); err != nil {
		return err
	}
	if i >= 0 {
		s.d.cap.RollbackTo(s.marks[i])
		s.marks = s.marks[:i+1]
	}
	return nil
}
