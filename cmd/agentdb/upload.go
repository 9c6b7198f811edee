package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/agentdb/agentdb/internal/sqlite"
)

// watchedFile is a file that is being uploaded.
type watchedFile struct {
	*os.File
	progress *progress
	copied   string // the directory of the copy that it is; "" if it is none
}

// Read implements io.Reader.
func (f *watchedFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	f.progress.add(n)
	return n, err
}

// Len returns how much is left, so that the upload's length is known.
func (f *watchedFile) Len() int { return int(f.progress.total - f.progress.done) }

// Close ends the upload.
func (f *watchedFile) Close() error {
	f.progress.end()
	err := f.File.Close()
	if f.copied != "" {
		err = errors.Join(err, os.RemoveAll(f.copied))
	}
	return err
}

// openWatched opens a file to upload. Close it.
func (c *console) openWatched(path string) (*watchedFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err == nil && !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a file", path)
	case err == nil && info.Size() == 0:
		err = fmt.Errorf("%s is empty", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &watchedFile{File: f, progress: c.progress("uploading", info.Size())}, nil
}

// openDatabase is openWatched for a SQLite file: it opens a copy, of one moment,
// that has what is in the WAL or is to be rolled back, since somebody may have the
// file open, or may have left it so.
func (c *console) openDatabase(path string) (_ *watchedFile, err error) {
	if f, err := c.openWatched(path); err != nil { // with an error about path
		return nil, err
	} else if err := f.Close(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "agentdb-upload-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	to := filepath.Join(dir, "copy.db")
	if err := copyDatabase(path, to); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	f, err := c.openWatched(to)
	if err == nil {
		f.copied = dir
	}
	return f, err
}

func copyDatabase(from, to string) (err error) {
	src, err := sqlite.Open(from, sqlite.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := sqlite.Open(to, sqlite.Options{NoWAL: true, Synchronous: "OFF"})
	if err != nil {
		return err
	}
	return errors.Join(src.BackupTo(dst), dst.Close())
}

// isDatabase reports whether a file begins as a SQLite file does.
func isDatabase(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	magic := []byte("SQLite format 3\x00")
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(f, head); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return bytes.Equal(head, magic), nil
}
