package tenant

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/turso"
	"github.com/agentdb/agentdb/internal/wire"
)

// tursoFiles is the metadata of which files of Turso's clients there are, and
// which revision each began with. It outlives the server: a client that has not
// pulled since it made its file doesn't say which one that is.
const tursoFiles = "turso-files"

// filesMu guards the metadata of all databases: files are rarely made.
var filesMu sync.Mutex

// keepFile notes that a file was made, and returns when that is durable.
func (m *Manager) keepFile(ctx context.Context, db string, rev turso.Revision) error {
	filesMu.Lock()
	defer filesMu.Unlock()
	if err := m.loadFiles(ctx, db); err != nil {
		return err
	}
	m.pulls.sent(db, rev, false)
	return translate(m.cfg.Store.PutMeta(ctx, history.DBID(db), tursoFiles, m.pulls.files(db)))
}

// loadFiles reads what a server before this one, or this one before it forgot
// them, has noted.
func (m *Manager) loadFiles(ctx context.Context, db string) error {
	if m.pulls.loaded(db) {
		return nil
	}
	b, err := m.cfg.Store.GetMeta(ctx, history.DBID(db), tursoFiles)
	if err != nil && !errors.Is(err, history.ErrNoMeta) {
		return translate(err)
	}
	if err := m.pulls.load(db, b); err != nil {
		return fmt.Errorf("tenant: %s of %s: %w", tursoFiles, db, err)
	}
	return nil
}

func (p *pulls) loaded(db string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.dbs[db]
	return l != nil && l.loaded
}

// files encodes the files whose pushes may have no stamp.
func (p *pulls) files(db string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.log(db)
	out := binary.AppendUvarint(nil, l.forgot)
	for id, f := range l.lines {
		if !f.stamped && len(f.bases) > 0 {
			out = binary.BigEndian.AppendUint32(out, id)
			out = binary.AppendUvarint(out, f.bases[0].gen+1) // NoGen is 0
			out = binary.AppendUvarint(out, f.bases[0].seq)
		}
	}
	return out
}

// load puts encoded files beside those that are known.
func (p *pulls) load(db string, b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.log(db)
	l.loaded = true
	number := func() (n uint64) {
		n, k := binary.Uvarint(b)
		if k <= 0 {
			b = nil
			return 0
		}
		b = b[k:]
		return n
	}
	if len(b) > 0 {
		l.forget(number())
	}
	for len(b) > 0 {
		if len(b) < 6 {
			return wire.ErrMalformed
		}
		id := binary.BigEndian.Uint32(b)
		b = b[4:]
		first := base{gen: number() - 1, seq: number()}
		if f := l.lines[id]; f != nil {
			f.bases = append([]base{first}, f.bases...)
			continue
		}
		f := p.line(db, id)
		f.bases, f.old = append(f.bases, first), true
	}
	return nil
}
