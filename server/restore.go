package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// RestoreBackup makes a data directory of a backup, or of a copy of one, which
// stays as it is. The directory must not exist, or be empty. All that was copied
// is read, as CheckBackup does, before the directory has its name.
func RestoreBackup(ctx context.Context, backup, dataDir string, progress func(name string)) (rep BackupReport, err error) {
	if left, err := os.ReadDir(dataDir); err == nil && len(left) > 0 {
		return rep, fmt.Errorf("server: restore backup: %s is not empty", dataDir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return rep, fmt.Errorf("server: restore backup: %w", err)
	}
	if _, err := os.Stat(filepath.Join(backup, historyDir)); err != nil {
		return rep, fmt.Errorf("server: restore backup: %s is no backup: %w", backup, err)
	}
	parent := filepath.Dir(filepath.Clean(dataDir))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return rep, fmt.Errorf("server: restore backup: %w", err)
	}
	partial, err := os.MkdirTemp(parent, ".restore-")
	if err != nil {
		return rep, fmt.Errorf("server: restore backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial))
		}
	}()
	if err := copyTree(ctx, backup, partial); err != nil {
		return rep, fmt.Errorf("server: restore backup: %w", err)
	}
	if err := os.WriteFile(filepath.Join(partial, restoredFile), nil, 0o600); err != nil {
		return rep, fmt.Errorf("server: restore backup: %w", err)
	}
	if rep, err = CheckBackup(ctx, partial, progress); err != nil {
		return rep, err
	}
	if err := errors.Join(drop(dataDir), os.Rename(partial, dataDir)); err != nil {
		return rep, fmt.Errorf("server: restore backup: %w", err)
	}
	return rep, nil
}

// drop removes an empty directory, if it is there.
func drop(dir string) error {
	if err := os.Remove(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// copyTree copies the files of a directory, down to the disk.
func copyTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case e.Type().IsRegular():
			return copyFile(path, filepath.Join(to, rel))
		}
		return fmt.Errorf("%s is no file", path)
	})
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}
