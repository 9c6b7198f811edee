package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Files in the data directory that tell a server started on a copy of a backup
// from the one that the backup was made of: replicas that can't tell themselves
// are refused then.
const (
	// restoredFile is in every backup, until a server is started on it.
	restoredFile = "restored"
	// lineageFile holds the number that is drawn then.
	lineageFile = "lineage"
)

// lineage returns the number of the data directory's lineage, 0 if it was never
// restored.
func lineage(dataDir string) (uint32, error) {
	file, mark := filepath.Join(dataDir, lineageFile), filepath.Join(dataDir, restoredFile)
	_, err := os.Stat(mark)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, fmt.Errorf("server: lineage: %w", err)
	default:
		if err := draw(file); err != nil {
			return 0, fmt.Errorf("server: lineage: %w", err)
		}
		if err := os.Remove(mark); err != nil {
			return 0, fmt.Errorf("server: lineage: %w", err)
		}
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err == nil && len(b) != 4 {
		err = errors.New("not four bytes")
	}
	if err != nil {
		return 0, fmt.Errorf("server: lineage: %w", err)
	}
	return binary.BigEndian.Uint32(b), nil
}

// draw writes a number into a file, whole or not at all.
func draw(file string) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".lineage-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(binary.BigEndian.AppendUint32(nil, rand.Uint32()))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
