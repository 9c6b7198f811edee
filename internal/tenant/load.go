package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agentdb/agentdb/internal/history"
	"github.com/agentdb/agentdb/internal/sqlite"
)

// ErrNotADatabase says that what was uploaded is no sound SQLite database, or that
// its SQL can't be run.
var ErrNotADatabase = errors.New("tenant: not a database")

// MaxDump is the largest SQL dump that is loaded, in bytes.
const MaxDump = 256 << 20

// LoadFile makes a SQLite file of any kind the first contents of a database. The
// file is read, changed and used up: it is the caller's to delete. What a synced
// file has for itself is left out.
func (m *Manager) LoadFile(ctx context.Context, name, path, author string) (uint64, error) {
	return m.load(ctx, func(ctx context.Context) (uint64, error) { return m.loadFile(ctx, name, path, author) })
}

// load runs fn when few others load, and not for long.
func (m *Manager) load(ctx context.Context, fn func(context.Context) (uint64, error)) (uint64, error) {
	select {
	case m.loads <- struct{}{}:
		defer func() { <-m.loads }()
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-m.done:
		return 0, ErrClosed
	}
	limited, cancel := context.WithTimeout(ctx, m.cfg.LoadTimeout)
	defer cancel()
	seq, err := fn(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: loading took longer than %v", ErrTimeout, m.cfg.LoadTimeout)
	}
	return seq, err
}

func (m *Manager) loadFile(ctx context.Context, name, path, author string) (uint64, error) {
	if err := m.prepareFile(ctx, path); err != nil {
		return 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("tenant: load %s: %w", name, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("tenant: load %s: %w", name, err)
	}
	return m.Load(ctx, name, f, st.Size(), author)
}

// LoadDump makes what a SQL script builds the first contents of a database. The
// script must reach nothing else.
func (m *Manager) LoadDump(ctx context.Context, name string, script io.Reader, author string) (uint64, error) {
	return m.load(ctx, func(ctx context.Context) (uint64, error) { return m.loadDump(ctx, name, script, author) })
}

func (m *Manager) loadDump(ctx context.Context, name string, script io.Reader, author string) (uint64, error) {
	text, err := io.ReadAll(io.LimitReader(script, MaxDump+1))
	if err != nil {
		return 0, fmt.Errorf("tenant: load %s: %w", name, err)
	}
	if len(text) > MaxDump {
		return 0, fmt.Errorf("%w: a dump above %d bytes", ErrTooLarge, MaxDump)
	}
	dir, err := os.MkdirTemp(m.cfg.CacheDir, ".load-")
	if err != nil {
		return 0, fmt.Errorf("tenant: load %s: %w", name, err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "dump.db")
	if err := m.runDump(ctx, path, string(text)); err != nil {
		return 0, err
	}
	if st, err := os.Stat(path); err == nil && st.Size() == 0 {
		return 0, nil // it made nothing, as that of an empty database
	}
	return m.loadFile(ctx, name, path, author)
}

func (m *Manager) runDump(ctx context.Context, path, text string) error {
	return m.scratch(ctx, path, func(c *sqlite.Conn) error {
		var denied string
		c.Authorize(func(a sqlite.Action) sqlite.Verdict {
			if denied = loadDenies(a); denied != "" {
				return sqlite.Deny
			}
			return sqlite.Allow
		})
		if err := c.Exec("PRAGMA foreign_keys=OFF"); err != nil {
			return err
		}
		err := c.Exec(text)
		if err == nil && !c.AutoCommit() {
			err = errors.New("the script ends within a transaction")
		}
		if err != nil && denied != "" {
			err = fmt.Errorf("%s: %w", denied, err)
		}
		return err
	})
}

// loadPragmas are the settings that dumps make besides those of guests.
var loadPragmas = []string{"foreign_keys", "encoding", "legacy_alter_table"}

// loadDenies says why a script may not do something, or nothing.
func loadDenies(a sqlite.Action) string {
	if makesTemporary(a) {
		return "temporary tables, views and triggers are not possible on this server"
	}
	switch a.Code {
	case sqlite.ActAttach, sqlite.ActDetach:
		return noAttach
	case sqlite.ActFunction:
		if slices.Contains(deniedFunctions, strings.ToLower(a.Arg2)) {
			return "the function " + a.Arg2 + " is not possible on this server"
		}
	case sqlite.ActPragma:
		p := strings.ToLower(a.Arg1)
		makes, known := guestPragmas[p]
		if !(makes || known && a.Arg2 == "") && !slices.Contains(ignoredPragmas, p) && !slices.Contains(loadPragmas, p) {
			return "PRAGMA " + p + " is not possible on this server"
		}
	}
	return ""
}

// scratch runs fn on a file that is not a database's yet. What goes wrong is the
// file's fault.
func (m *Manager) scratch(ctx context.Context, path string, fn func(*sqlite.Conn) error) error {
	c, err := sqlite.Open(path, sqlite.Options{NoWAL: true, Synchronous: "OFF", NoForeignKeys: true, BusyTimeout: -1, Temp: m.tempSpace()})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotADatabase, cmp.Or(errors.Unwrap(err), err)) // without the path
	}
	stop := context.AfterFunc(ctx, c.Interrupt)
	defer stop()
	c.Limit(sqlite.LimitLength, maxValue)
	if err = errors.Join(c.DBConfig(sqlite.ConfigDefensive, true), m.limitLoad(c)); err == nil {
		err = fn(c)
	}
	if err = errors.Join(err, c.Close()); ctx.Err() != nil {
		return ctx.Err()
	}
	if sqlite.IsFull(err) {
		return fmt.Errorf("%w: %w", ErrQuota, err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotADatabase, err)
	}
	return nil
}

// prepareFile checks a file and brings it into the form of the history: pages of
// its size, no WAL, and none of the tables that clients keep for themselves.
func (m *Manager) prepareFile(ctx context.Context, path string) error {
	return m.scratch(ctx, path, func(c *sqlite.Conn) error {
		if how, err := c.QueryText("PRAGMA quick_check(1)"); err != nil || how != "ok" {
			return errors.Join(fmt.Errorf("damaged: %s", how), err)
		}
		if _, err := c.QueryText("PRAGMA journal_mode=DELETE"); err != nil { // takes in a WAL
			return err
		}
		own, err := ownObjects(c)
		if err != nil {
			return err
		}
		if err := c.DBConfig(sqlite.ConfigDefensive, false); err != nil {
			return err
		}
		for _, drop := range own {
			if err := c.Exec(drop); err != nil {
				return err
			}
		}
		size, err := c.QueryInt("PRAGMA page_size")
		if err != nil || size == history.PageSize {
			return err
		}
		return c.Exec(fmt.Sprintf("PRAGMA page_size=%d; PRAGMA max_page_count=%d; VACUUM", history.PageSize, m.cfg.MaxLoad/history.PageSize))
	})
}

// limitLoad keeps a file from growing above the limit, whatever its pages' size.
func (m *Manager) limitLoad(c *sqlite.Conn) error {
	size, err := c.QueryInt("PRAGMA page_size")
	if err != nil {
		return err
	}
	return c.Exec(fmt.Sprintf("PRAGMA max_page_count=%d", max(m.cfg.MaxLoad/size, 1)))
}

// ownObjects returns the statements that drop what a synced file has for itself,
// also one of Turso's clients: its triggers first. The conflicts are everybody's.
func ownObjects(c *sqlite.Conn) (drops []string, err error) {
	st, _, err := c.Prepare(`SELECT format('DROP %s "%w"', type, name) FROM sqlite_schema
		WHERE type IN ('trigger', 'table', 'view') AND (name LIKE 'agentdb\_%' ESCAPE '\' AND NOT (type = 'table' AND name = 'agentdb_conflicts') OR name LIKE 'turso\_sync\_%' ESCAPE '\')
		ORDER BY type = 'trigger' DESC, name`)
	if err != nil {
		return nil, err
	}
	defer st.Finalize()
	for {
		more, err := st.Step()
		if err != nil || !more {
			return drops, err
		}
		drops = append(drops, st.ColumnText(0))
	}
}
