package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/agentdb/agentdb/internal/catalog"
	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// backupDir is the folder of the data directory in which backups are made.
const backupDir = "backups"

// partialBackup is how the names of those begin that are not complete.
const partialBackup = ".partial-"

// keyFile is the signing key in the data directory.
const keyFile = "key.pem"

// Backup writes a copy of all databases as they are now into a new folder below
// the data directory, and returns its path. It takes the room of what changes
// from then on, since files are shared by hard links: copy it elsewhere, or
// delete it. A server can be started on a copy, see CheckBackup. It holds the
// signing key.
func (s *Server) Backup(ctx context.Context) (string, error) {
	d, ok := s.dbs.(*stored)
	if !ok {
		return "", errors.New("server: backup: there is no data directory")
	}
	return d.backup(ctx, s.cfg.DataDir, time.Now())
}

func (d *stored) backup(ctx context.Context, dataDir string, now time.Time) (_ string, err error) {
	parent := filepath.Join(dataDir, backupDir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", fmt.Errorf("server: backup: %w", err)
	}
	partial, err := os.MkdirTemp(parent, partialBackup)
	if err != nil {
		return "", fmt.Errorf("server: backup: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(partial)
		}
	}()
	// Both of one moment: a database that had gone from the catalog in between
	// would be nobody's, and join the server's own organisation. Nothing is made,
	// finished or forgotten without a write to the catalog.
	err = d.catalog.Still(ctx, func() error {
		return errors.Join(d.history.Checkpoint(filepath.Join(partial, historyDir)), d.catalog.Backup(partial))
	})
	if err != nil {
		return "", fmt.Errorf("server: backup: %w", err)
	}
	key, err := os.ReadFile(filepath.Join(dataDir, keyFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(partial, keyFile), key, 0o600)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // dev mode has none
		return "", fmt.Errorf("server: backup: %w", err)
	}
	if err := os.WriteFile(filepath.Join(partial, restoredFile), nil, 0o600); err != nil {
		return "", fmt.Errorf("server: backup: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	dir := filepath.Join(parent, now.UTC().Format("20060102T150405.000Z"))
	if err := os.Rename(partial, dir); err != nil {
		return "", fmt.Errorf("server: backup: %w", err)
	}
	return dir, nil
}

// dropHalfBackups removes what crashes have left of backups. It would keep files
// of the history from being freed.
func dropHalfBackups(dataDir string) error {
	parent := filepath.Join(dataDir, backupDir)
	all, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range all {
		if strings.HasPrefix(e.Name(), partialBackup) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(parent, e.Name())))
		}
	}
	return err
}

// BackupReport is what CheckBackup found.
type BackupReport struct {
	Databases int
	Commits   uint64
	Bytes     int64 // of all databases' files
}

// CheckBackup reads all of a data directory that no server uses, such as a copy
// of a backup: the hash chain of every database, and its file, which SQLite
// checks. progress is told of each database; it may be nil.
func CheckBackup(ctx context.Context, dataDir string, progress func(name string)) (rep BackupReport, err error) {
	if _, err := os.Stat(filepath.Join(dataDir, historyDir)); err != nil {
		return rep, fmt.Errorf("server: check backup: %s is no data directory: %w", dataDir, err)
	}
	store, err := history.Open(history.Options{Dir: filepath.Join(dataDir, historyDir)})
	if err != nil {
		return rep, fmt.Errorf("server: check backup: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	cat, err := catalog.OpenStore(dataDir, nil)
	if err != nil {
		return rep, fmt.Errorf("server: check backup: %w", err)
	}
	defer func() { err = errors.Join(err, cat.Close()) }()
	scratch, err := os.MkdirTemp("", "agentdb-check-")
	if err != nil {
		return rep, fmt.Errorf("server: check backup: %w", err)
	}
	defer os.RemoveAll(scratch)
	after := history.DBID("")
	for {
		names, err := store.List(ctx, after, 256)
		if err != nil || len(names) == 0 {
			return rep, err
		}
		for _, name := range names {
			if progress != nil {
				progress(string(name))
			}
			if err := rep.check(ctx, store, name, filepath.Join(scratch, "check.db")); err != nil {
				return rep, fmt.Errorf("server: check backup: %s: %w", name, err)
			}
		}
		after = names[len(names)-1]
	}
}

// check reads one database.
func (rep *BackupReport) check(ctx context.Context, store history.Store, name history.DBID, file string) error {
	info, err := store.Stat(ctx, name)
	if err != nil {
		return err
	}
	for _, err := range store.Commits(ctx, name, info.Horizon, info.Durable.Seq) {
		if err != nil {
			return err
		}
		rep.Commits++
	}
	rep.Databases++
	if info.Durable.DBSize == 0 {
		return nil
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	for p, err := range store.Pages(ctx, name, info.Durable.Seq) {
		if err == nil {
			var n int
			n, err = f.Write(p.Data)
			rep.Bytes += int64(n)
		}
		if err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return checkFile(file)
}

// checkFile lets SQLite look at a file, and removes it.
func checkFile(file string) error {
	c, err := sqlite.Open(file, sqlite.Options{Synchronous: "OFF", Exclusive: true})
	if err != nil {
		return err
	}
	how, err := c.QueryText("PRAGMA quick_check(1)")
	if err == nil && how != "ok" {
		err = errors.New(how)
	}
	err = errors.Join(err, c.Close())
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(file + suffix)
	}
	return err
}
