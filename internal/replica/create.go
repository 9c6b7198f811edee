package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// blank is a synced file that nothing was written to.
type blank struct {
	data []byte
	id   int // where the replica's id is
}

// blanks makes one for each mode, once.
var blanks = [...]func() (*blank, error){
	Full:     sync.OnceValues(func() (*blank, error) { return newBlank(Full) }),
	PullOnly: sync.OnceValues(func() (*blank, error) { return newBlank(PullOnly) }),
	PushOnly: sync.OnceValues(func() (*blank, error) { return newBlank(PushOnly) }),
}

func newBlank(mode Mode) (b *blank, err error) {
	dir, err := os.MkdirTemp("", "agentdb-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "blank.db")
	r := &Replica{cfg: Config{Path: path, Mode: mode, Synchronous: "OFF", Lock: func(context.Context) (func(), error) { return func() {}, nil }}}
	if err := r.prepare(context.Background()); err != nil {
		return nil, err
	}
	c, err := sqlite.Open(path, sqlite.Options{NoCreate: true, Synchronous: "OFF"})
	if err != nil {
		return nil, err
	}
	s, err := readState(c)
	if err = errors.Join(err, c.Close()); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(data, s.replica[:]); n != 1 {
		return nil, fmt.Errorf("a replica's id is %d times in a new file", n)
	}
	return &blank{data: data, id: bytes.Index(data, s.replica[:])}, nil
}

// create puts a new synced file in place at once, if there is none, and reports
// whether it did. SQLite would make it step by step, with a journal and a WAL:
// nine times a file would have to become durable, and here two. If anything
// stands in the way, SQLite has to do it, and finds the error if there is one.
func (r *Replica) create() bool {
	for _, suffix := range []string{"", "-wal", "-journal"} { // those of a file that was deleted would be played back
		if _, err := os.Lstat(r.cfg.Path + suffix); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	b, err := blanks[r.cfg.Mode]()
	if err != nil {
		return false
	}
	data, id := slices.Clone(b.data), newReplicaID()
	copy(data[b.id:], id[:])
	temp := fmt.Sprintf("%s%s%016x", r.cfg.Path, tempInfix, newNonce())
	defer func() { _ = os.Remove(temp) }()
	durable := r.cfg.Synchronous != "OFF"
	if writeFile(temp, data, durable) != nil || os.Link(temp, r.cfg.Path) != nil {
		return false
	}
	if durable {
		syncDir(filepath.Dir(r.cfg.Path))
	}
	return true
}

func writeFile(path string, data []byte, durable bool) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil || !durable {
		return err
	}
	return f.Sync()
}

// syncDir makes a new name in a directory durable where that is possible; as in
// SQLite, an error is none.
func syncDir(path string) {
	d, err := os.Open(path)
	if err != nil {
		return
	}
	_ = d.Sync()
	_ = d.Close()
}
