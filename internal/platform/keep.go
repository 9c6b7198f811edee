package platform

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"

	"github.com/agentdb/agentdb/internal/catalog"
)

// onExpiry reads what shall become of a database whose time is over.
func (a *API) onExpiry(s string) (string, error) {
	switch {
	case s != "" && s != catalog.ExpiryDrop && s != catalog.ExpiryExport:
		return "", fail(http.StatusBadRequest, "on_expiry %q is not one of export, drop", s)
	case s == catalog.ExpiryExport && a.cfg.ExpiredExport == "":
		return "", fail(http.StatusUnprocessableEntity, "the server exports no expired databases: see 'agentdb serve --expired-export'")
	}
	return s, nil
}

// keeps reports whether an expired database is exported.
func (a *API) keeps(d *catalog.Database) bool {
	return d.OnExpiry == catalog.ExpiryExport || d.OnExpiry == "" && a.cfg.ExpiredExport != ""
}

// exportExpired writes a database into the directory of expired ones, as it is
// when nobody writes to it any more, and returns the file's name. The file is
// whole and on the disk, or not there under its name: doing it again, after a
// crash too, replaces what is there.
func (a *API) exportExpired(ctx context.Context, d *catalog.Database) (string, error) {
	dir := a.cfg.ExpiredExport
	if dir == "" {
		return "", errors.New("export: it is to be exported, and the server was started without --expired-export")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("export: %w", err)
	}
	name := d.Name + "-" + d.ID + ".db"
	partial := filepath.Join(dir, "."+name+".partial")
	for {
		f, err := a.cfg.Databases.Facts(ctx, d.Name)
		if err == nil {
			err = a.writeRevision(ctx, d.Name, f.Revision, partial)
		}
		now := f
		if err == nil {
			now, err = a.cfg.Databases.Facts(ctx, d.Name)
		}
		if err != nil {
			return "", errors.Join(fmt.Errorf("export: %w", err), drop(partial))
		}
		if now.Revision == f.Revision { // else a request was still under way
			break
		}
	}
	err := os.Rename(partial, filepath.Join(dir, name))
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return "", fmt.Errorf("export: %w", err)
	}
	return name, nil
}

// drop removes a file if it is there.
func drop(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// writeRevision writes a revision of a database into a file, down to the disk.
func (a *API) writeRevision(ctx context.Context, name string, revision uint64, path string) (err error) {
	_, parts, err := a.cfg.Databases.ExportAt(ctx, name, revision)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	for b, perr := range parts {
		if err = errors.Join(perr, ctx.Err()); err == nil {
			_, err = w.Write(b)
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil // it can't be opened
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
